"""stepdown task: change a task's name, or which calls are its own."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import open_home
from stepdown.project.task_changes import TaskChange, merge_tasks, rename_task, split_task


@click.group()
def command() -> None:
    """Rename, merge and split tasks: names never change by themselves."""


@command.command()
@click.argument("name")
@click.argument("new")
@common
def rename(name: str, new: str, home: Path | None, console: Console) -> None:
    """Call the task NAME by the name NEW. Its calls stay its own."""
    changed = rename_task(open_home(home), name, new)
    console.say(f"{name} is {changed.task} now. {_said(changed)}")
    console.result(changed)


@command.command()
@click.argument("name")
@click.argument("into")
@common
def merge(name: str, into: str, home: Path | None, console: Console) -> None:
    """Let the task INTO take the task NAME in: their calls are one task's, and their prompts one template's."""
    changed = merge_tasks(open_home(home), name, into)
    console.say(f"{changed.task} has taken {name} in. {_said(changed)}")
    console.result(changed)


@command.command()
@click.argument("name")
@click.argument("new")
@click.option("--containing", default="", metavar="TEXT", help="The calls whose prompt has this text beside the input.")
@click.option("--workload", default="", metavar="W", help="The calls that clients call so.")
@common
def split(name: str, new: str, containing: str, workload: str, home: Path | None, console: Console) -> None:
    """Make a task NEW of some of the calls of the task NAME."""
    changed = split_task(open_home(home), name, new, containing, workload)
    console.say(f"{changed.task} is a task of its own. {_said(changed)} {changed.other_calls:,} are left to {name}.")
    console.say(f"Next: stepdown scan {changed.task}")
    console.result(changed)


def _said(changed: TaskChange) -> str:
    return f"{changed.calls:,} calls of the incumbent's are its own."
