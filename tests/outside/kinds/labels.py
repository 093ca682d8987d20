"""labels: the labels that a task's calls were answered with, counted. A command, in one file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import open_home


@click.command()
@click.option("--least", type=int, default=1, help="Leave out what is rarer.")
@common
def command(home: Path | None, console: Console, least: int) -> None:
    """Count the answers of all calls."""
    with open_home(home).store() as store:
        counted = Counter(call.content for call in store.calls())
    for answer, number in counted.most_common():
        if number >= least:
            console.say(f"{answer}: {number}")
    console.result({answer: number for answer, number in counted.items() if number >= least})
