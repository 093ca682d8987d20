"""stepdown import-build: a build of another project, taken into this one."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import open_home
from stepdown.project.import_build import ImportedBuild, import_build
from stepdown.project.settings import FILE_NAME


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@common
def command(folder: Path, home: Path | None, console: Console) -> None:
    """Take the build in FOLDER into this project, where it then answers its task.

    FOLDER is a copy of .stepdown/builds/TASK/BUILD of the project that made it. Everything in it is checked first:
    every hash, the certificate recomputed from its evidence, the students' answers. Where something does not hold,
    nothing changes. Its contract is written into stepdown.toml where that has none for the task and no build of it is
    here.
    """
    done = import_build(open_home(home), folder)
    console.say(_sentence(done))
    console.say("In force." if done.in_force else f"Not in force: {done.why_not}.")
    console.result(done)


def _sentence(done: ImportedBuild) -> str:
    if not done.changed:
        return f"The build {done.build} of {done.task!r} is here already; nothing was changed."
    before = f" It takes the place of {done.before}." if done.before and done.in_force else ""
    contract = f" Its contract was written into {FILE_NAME}." if done.contract_written else ""
    return f"The build {done.build} of {done.task!r} was imported: {done.imported}.{before}{contract}"
