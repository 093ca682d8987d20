"""stepdown certificate: read one, or check it against everything it names."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from stepdown.certificate.describe import describe
from stepdown.certificate.verify import Verification
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.errors import TamperedError, UsageError
from stepdown.core.figures import moment
from stepdown.project.builds import built_tasks
from stepdown.project.certificates import show, verify_build
from stepdown.project.certified_folders import is_certified_folder, verify_folder
from stepdown.project.home import open_home


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
    if own.imported:
        console.say(f"It was {own.imported}.")
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
            "imported": own.imported,
            "answers": {"build": answers.build, "in_force": answers.in_force, "why_not": answers.why_not},
        }
    )


@command.command(name="verify")
@click.argument("task", metavar="TASK|FOLDER")
@_BUILD
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Of a FOLDER: the evidence to recompute its certificate from.",
)
@common
def verify_one(task: str, build: str, evidence: Path | None, home: Path | None, console: Console) -> None:
    """Recompute every hash, p-value and bound of the newest certificate of TASK, or check an exported or copied FOLDER.

    A FOLDER is checked by what lies in it, wherever it is; nothing is written.
    """
    if _is_folder(task, home):
        _verify_folder(Path(task), evidence, build, console)
        return
    if evidence is not None:
        raise UsageError("--evidence goes with a FOLDER.", "The evidence of a TASK lies in its build.", "Leave it out.")
    with console.progress() as progress:
        found = verify_build(open_home(home), task, progress, build)
    _say(console, found)
    console.result({"task": task, "verified": found.passed, "checks": found.checks})
    if not found.passed:
        raise _failed(f"The certificate of {task!r} does", found, f"Do not rely on it. Run: stepdown build {task}")
    console.say(f"{len(found.checks)} checks passed.")


def _is_folder(name: str, home: Path | None) -> bool:
    """A path that begins with a dot or a slash is one; any other name is a task where one of that name was built."""
    path = Path(name)
    if name.startswith((".", "/")):
        return path.is_dir()
    there = path.is_dir() if "/" in name else is_certified_folder(path) or (path / ".stepdown").is_dir()
    return there and name not in built_tasks(open_home(home))


def _verify_folder(folder: Path, evidence: Path | None, build: str, console: Console) -> None:
    if build:
        raise UsageError("--build goes with a TASK.", "A FOLDER is one build or export.", "Leave it out.")
    found = verify_folder(folder, evidence)
    certificate = found.certificate
    lapsed = certificate is not None and time.time() >= certificate.expires_at
    _say(console, found.verification)
    for one in found.left_out:
        console.say(f"not checked: {one}")
    console.result(
        {
            "folder": str(folder),
            "kind": found.kind,
            "task": certificate.task if certificate else "",
            "certificate": certificate.digest if certificate else "",
            "verdict": certificate.verdict if certificate else "",
            "lapsed": lapsed,
            "verified": found.verification.passed,
            "recomputed": found.recomputed,
            "not_checked": found.left_out,
            "checks": found.verification.checks,
        }
    )
    if certificate is None or not found.verification.passed:
        raise _failed(f"{folder} does", found.verification, "Do not rely on it. Copy it again, or export it again.")
    until = f"{'it lapsed on' if lapsed else 'it lapses on'} {moment(certificate.expires_at)}"
    how = "recomputed from the evidence" if found.recomputed else "nothing recomputed: the evidence is not here"
    console.say(f"{len(found.verification.checks)} checks passed ({how}). {certificate.verdict.capitalize()}; {until}.")


def _say(console: Console, found: Verification) -> None:
    for check in found.checks:
        console.say(
            f"{'ok    ' if check.passed else 'FAILED'} {check.name}{f': {check.detail}' if check.detail else ''}"
        )


def _failed(what: str, found: Verification, advice: str) -> TamperedError:
    return TamperedError(
        f"{what} not verify: {', '.join(check.name for check in found.failures)}.",
        "Everything in it must follow from the evidence, the cascade, the data and the contract.",
        advice,
    )
