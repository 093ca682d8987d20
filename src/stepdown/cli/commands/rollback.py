"""stepdown rollback: have the build answer that did before."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import open_home
from stepdown.project.promote import change_sentence, roll_back


@click.command()
@click.argument("task")
@common
def command(task: str, home: Path | None, console: Console) -> None:
    """Take back the last change of what answers TASK: the build before it answers again, in a gateway that runs too.

    That build must still be one that may answer, as for `stepdown promote`; else nothing is changed.
    """
    done = roll_back(open_home(home), task)
    console.say(change_sentence(done))
    console.result(msgspec.to_builtins(done))
