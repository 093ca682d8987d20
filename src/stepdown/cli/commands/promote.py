"""stepdown promote: have another build of a task answer."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import open_home
from stepdown.project.promote import change_sentence, promote


@click.command()
@click.argument("task")
@click.argument("build")
@common
def command(task: str, build: str, home: Path | None, console: Console) -> None:
    """Have BUILD answer TASK from now on, in a gateway that runs too.

    BUILD is the beginning of its name or of its certificate's digest (stepdown builds TASK). It must be certified for
    the contract in stepdown.toml, issued by the journal, whole, and not lapsed; else nothing changes, with the reasons.
    """
    done = promote(open_home(home), task, build)
    console.say(change_sentence(done))
    console.result(msgspec.to_builtins(done))
