"""stepdown report: the newest build as a page."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.builds import find_build, latest
from stepdown.project.home import open_home, write_whole
from stepdown.project.in_force import standing
from stepdown.project.journal import note_report, read_journal
from stepdown.report.render import render


@click.command()
@click.argument("task")
@click.option("--build", default="", help="That build (stepdown builds TASK); the newest when not given.")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it instead.")
@common
def command(task: str, build: str, to: Path | None, home: Path | None, console: Console) -> None:
    """Write the newest build's report: one HTML file that needs no network. Says whether that build is in force."""
    opened = open_home(home)
    folder = find_build(opened, task, build) if build else latest(opened, task)
    target = to or folder.report
    with opened.store() as store:
        stands = standing(opened, read_journal(opened, store), folder, task)
    page = render(folder.read_record(), f"The build was {stands.imported}." if stands.imported else "")
    write_whole(target, page)
    if to is None:
        note_report(opened, folder, page)
    console.say(f"Report: {target}")
    console.say(f"Not in force: {stands.why_not}." if stands.why_not else "In force.")
    if stands.imported:
        console.say(f"The build was {stands.imported}.")
    said = {"build": stands.build, "in_force": stands.in_force, "why_not": stands.why_not, "imported": stands.imported}
    console.result({"task": task, "report": str(target), **said})
