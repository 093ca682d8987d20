"""stepdown init: a project folder."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import make_folder, open_home, write_whole
from stepdown.project.settings import FILE_NAME, TEMPLATE


@click.command()
@common
def command(home: Path | None, console: Console) -> None:
    """Make a project folder: settings to edit, and an empty store."""
    folder = home or Path.cwd()
    make_folder(folder)
    settings = folder / FILE_NAME
    made = not settings.exists()
    if made:
        write_whole(settings, TEMPLATE)
    with open_home(folder).store():
        pass
    console.say(f"{'Made' if made else 'Kept'} {settings}.")
    console.say("Next: stepdown import FILE…")
    console.result({"home": str(folder), "settings": str(settings), "made": made})
