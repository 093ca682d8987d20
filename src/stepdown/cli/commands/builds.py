"""stepdown builds: the builds of a task, and which one answers."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.figures import moment
from stepdown.project.home import open_home
from stepdown.project.promote import BuildView, list_builds


@click.command()
@click.argument("task")
@common
def command(task: str, home: Path | None, console: Console) -> None:
    """List the builds of TASK, the newest first: what each was certified for, which one answers, and why others do not.

    Another answers after `stepdown promote TASK BUILD`, the one before after `stepdown rollback TASK`.
    """
    found = list_builds(open_home(home), task)
    for one in found:
        console.say(f"{'*' if one.answers else ' '} {one.build}  {_certified(one)}")
        console.say(f"    {_standing(one)}")
        if one.imported:
            console.say(f"    {one.imported}")
    console.result(found)


def _certified(one: BuildView) -> str:
    if not one.verdict:
        return "unknown"
    margin = "" if one.margin is None else f", margin {one.margin:g}"
    offload = f", {one.offload:.1%} without the incumbent" if one.verdict == "certified" else ""
    return f"{moment(one.created_at)}  {one.verdict}{margin} against {one.against}{offload}  {one.certificate[:16]}"


def _standing(one: BuildView) -> str:
    if one.in_force:
        return "in force: it answers"
    if one.answers:
        return f"it is to answer, but is not in force: {one.why_not}"
    return "can be promoted" if one.can_answer else f"not in force: {one.why_not}"
