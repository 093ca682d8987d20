"""stepdown certificate: read one, or check it against everything it names."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from stepdown.certificate.describe import describe
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.errors import TamperedError
from stepdown.loop.certificates import show, verify_build
from stepdown.loop.home import open_home


@click.group()
def command() -> None:
    """Show a task's certificate, or verify it by recomputing every bound from the evidence."""


_BUILD = click.option("--build", default="", help="That build of it (stepdown builds TASK); the newest when not given.")


@command.command(name="show")
@click.argument("task")
@_BUILD
@common
def show_one(task: str, build: str, home: Path | None, console: Console) -> None:
    """Print the newest certificate of TASK in plain words, whether it is in force, and what answers where it is not."""
    certificate, own, other = show(open_home(home), task, build)
    console.say(describe(certificate))
    console.say(f"Not in force: {own.why_not}." if own.why_not else "In force.")
    if other is not None:
        state = f"is not in force: {other.why_not}" if other.why_not else "answers, and is in force"
        console.say(f"The build {other.build} {state}.")
    answers = other or own
    console.result(
        {
            **msgspec.to_builtins(certificate),
            "build": own.build,
            "in_force": own.in_force,
            "why_not": own.why_not,
            "answers": {"build": answers.build, "in_force": answers.in_force, "why_not": answers.why_not},
        }
    )


@command.command()
@click.argument("task")
@_BUILD
@common
def verify(task: str, build: str, home: Path | None, console: Console) -> None:
    """Recompute every hash, p-value and bound of the newest certificate of TASK."""
    with console.progress() as progress:
        found = verify_build(open_home(home), task, progress, build)
    for check in found.checks:
        console.say(
            f"{'ok    ' if check.passed else 'FAILED'} {check.name}{f': {check.detail}' if check.detail else ''}"
        )
    console.result({"task": task, "verified": found.passed, "checks": found.checks})
    if not found.passed:
        raise TamperedError(
            f"The certificate of {task!r} does not verify: {', '.join(check.name for check in found.failures)}.",
            "Everything in it must follow from the evidence, the cascade, the data and the contract.",
            f"Do not rely on it. Run: stepdown build {task}",
        )
    console.say(f"{len(found.checks)} checks passed.")
