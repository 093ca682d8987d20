"""stepdown build: train, measure, certify."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from stepdown.build.dry_run import as_json, forecast_build, sentences
from stepdown.build.job import BuildRequest
from stepdown.build.outcome import Outcome, outcome
from stepdown.build.pipeline import build
from stepdown.build.summary import asked_kinds, attempt_sentence, dropped_sentences, not_trained, summary
from stepdown.cli.console import Console
from stepdown.cli.kind_flags import StudentCommand, listed
from stepdown.cli.options import Duration, common
from stepdown.core.record import BuildRecord
from stepdown.core.statement import is_local_only
from stepdown.project.builds import BuildFolder
from stepdown.project.home import open_home
from stepdown.report.table import summary_lines, summary_table

LONGEST_START_S = 5.0
"""So much processor time at most is counted as the start of the command."""


@click.command(
    cls=StudentCommand,
    epilog="Every option of a student kind is a flag too (--encoder-layers 6); `stepdown kinds student` lists them.",
)
@click.argument("task")
@click.option(
    "--budget", "budget_s", type=Duration(), default="6m", show_default=True, help="Time for the whole build."
)
@click.option("--margin", type=click.FloatRange(0, 1, max_open=True), help="Overrides the contract's margin.")
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), help="Overrides the contract's confidence.")
@click.option(
    "--against", type=click.Choice(["gold", "judged", "agreement"]), help="Overrides the contract's kind of evidence."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same build.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads for training; every core when not given.")
@click.option("--kinds", default="", metavar="A,B", help="The kinds of student to try; all that fit when not given.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The record.json of a build: train the same students with the same steps, whatever the clock says.",
)
@click.option("--dry-run", is_flag=True, help="Train, choose and forecast on tune; test and spend nothing.")
@common
def command(home: Path | None, console: Console, threads: int | None, kinds: str, dry_run: bool, **asked: Any) -> int:
    """Train a ladder of small models for TASK, measure them, and certify a cascade or refuse with reasons.

    Ends with 0 when certified and with 1 when refused; either way the record, the report and the result are there.
    """
    # What this process has worked so far, above all imports, is part of the budget; a long-lived one did other things.
    begun = time.monotonic() - min(time.process_time(), LONGEST_START_S)
    request = BuildRequest(threads=threads or os.cpu_count() or 1, kinds=listed(kinds), begun=begun, **asked)
    opened = open_home(home)
    if dry_run:
        with console.progress() as progress:
            tried = forecast_build(opened, request, progress)
        for sentence in sentences(tried):
            console.say(sentence)
        console.result(as_json(tried))
        return 0
    with console.progress() as progress:
        record, folder = build(opened, request, progress)
    show(console, record, folder)
    changed = outcome(opened, record.task, folder)
    if record.certificate.verdict == "certified":
        console.note(f"stepdown: {changed.note}")
    answers = {"build": folder.path.name, "answers": changed.answers, "in_force": changed.in_force}
    console.result({**summary(record), **answers, "report": str(folder.report), "labels": _labels(folder)})
    return exit_code(console, record, changed)


def _labels(folder: BuildFolder) -> str | None:
    """The file of calls to label, where there is one."""
    return str(folder.labels) if folder.labels.exists() else None


def exit_code(console: Console, record: BuildRecord, changed: Outcome) -> int:
    """0 for a certificate; 1 for a refusal, with its reasons as one paragraph on stderr."""
    certificate = record.certificate
    if certificate.verdict == "certified":
        return 0
    reasons = " ".join(certificate.reasons)
    rest = "Nothing steps down." if is_local_only(certificate) else "The incumbent keeps answering."
    rest = changed.note if changed.answers else rest
    console.note(f"stepdown: The build of {record.task!r} ended in a refusal: {reasons} {rest}")
    return 1


def show(console: Console, record: BuildRecord, folder: BuildFolder) -> None:
    """A build for people: the table, the verdict, and where the rest lies."""
    if console.is_terminal:
        console.say(summary_table(record))
    else:
        for line in summary_lines(record):
            console.say(line)
    for sentence in dropped_sentences(not_trained(record), asked_kinds(record)):
        console.say(sentence)
    console.say(attempt_sentence(record.certificate))
    if folder.labels.exists():
        console.say(f"Labels: fill in the column gold of {folder.labels}, then: stepdown import --gold {folder.labels}")
    console.say(f"Report: {folder.report}")
