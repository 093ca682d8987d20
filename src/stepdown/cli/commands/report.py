"""stepdown report: the newest build as a page."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.loop.home import open_home, write_whole
from stepdown.loop.journal import note_report
from stepdown.loop.records import latest
from stepdown.report.render import render


@click.command()
@click.argument("task")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it instead.")
@common
def command(task: str, to: Path | None, home: Path | None, console: Console) -> None:
    """Write the newest build's report: one HTML file that needs no network."""
    opened = open_home(home)
    folder = latest(opened, task)
    target = to or folder.report
    page = render(folder.read_record())
    write_whole(target, page)
    if to is None:
        note_report(opened, folder, page)
    console.say(f"Report: {target}")
    console.result({"task": task, "report": str(target)})
