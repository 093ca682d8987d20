"""stepdown scan: should this task step down? In seconds, before any training."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from stepdown.build.scan import scan_task
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.evaluation.scan.verdict import ScanReport
from stepdown.project.home import open_home


@click.command()
@click.argument("task")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@common
def command(task: str, seed: int, home: Path | None, console: Console) -> None:
    """Say whether TASK should step down, with a figure and a reason for each consideration."""
    with console.progress() as progress:
        report = scan_task(open_home(home), task, seed, progress)
    _show(console, report)
    console.result(report)


def _show(console: Console, report: ScanReport) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("consideration", "figure", "", "why"):
        table.add_column(column, overflow="fold")
    for one in report.dimensions:
        table.add_row(one.name, one.figure, one.rating, one.reason)
    console.say(table)
    console.say()
    console.say(f"{report.task}: {report.verdict}.")
    for reason in report.reasons:
        console.say(f"  {reason}")
    if report.verdict != "stay with the large model":
        console.say(f"Next: stepdown build {report.task}")
