"""stepdown certificate: read one, or check it against everything it names."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from stepdown.certificate.describe import describe
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.errors import TamperedError
from stepdown.loop.certificates import show_latest, verify_latest
from stepdown.loop.home import open_home


@click.group()
def command() -> None:
    """Show a task's certificate, or verify it by recomputing every bound from the evidence."""


@command.command()
@click.argument("task")
@common
def show(task: str, home: Path | None, console: Console) -> None:
    """Print the newest certificate of TASK in plain words, and whether it is in force."""
    certificate, why_not = show_latest(open_home(home), task)
    console.say(describe(certificate))
    console.say(f"Not in force: {why_not}." if why_not else "In force.")
    console.result({**msgspec.to_builtins(certificate), "in_force": not why_not, "why_not": why_not})


@command.command()
@click.argument("task")
@common
def verify(task: str, home: Path | None, console: Console) -> None:
    """Recompute every hash, p-value and bound of the newest certificate of TASK."""
    with console.progress() as progress:
        found = verify_latest(open_home(home), task, progress)
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
