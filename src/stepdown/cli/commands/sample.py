"""stepdown sample: draw calls to label."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from stepdown.build.sample import Sample, SampleRequest, draw_sample
from stepdown.certificate.planning import LEAST_ROWS
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.errors import UsageError
from stepdown.project.home import open_home


@click.command()
@click.argument("task")
@click.option("--labels", type=click.IntRange(1, 1_000_000), help="About how many calls will be labelled.")
@click.option(
    "--for-margin",
    "margin",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="As many as show this margin.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file: .csv or .jsonl.")
@common
def command(
    task: str, labels: int | None, margin: float | None, out: Path, home: Path | None, console: Console
) -> None:
    """Draw calls of TASK at random and write those to label to a file.

    The draw is entered in the journal first. Fill in the column `gold` from the top and import it again with
    `stepdown import --gold FILE`. The file shows nobody's answer. After a build it holds only the calls on which a
    student differs from the incumbent: on all others no label is needed.
    """
    if out.is_symlink() or (out.exists() and out.stat().st_size):
        raise UsageError(f"{out} is there already.", "Labels that somebody gave could be lost.", "Name another file.")
    with console.progress() as progress:
        found = draw_sample(open_home(home), SampleRequest(task, out, labels, margin), progress)
    _show(console, found)
    console.result(found)


def _show(console: Console, found: Sample) -> None:
    dates = f" of {_day(found.first)} to {_day(found.last)}" if found.last else ""
    window = f" ({found.window})" if found.window else ""
    units = "" if found.unit == "call" else f", {found.units:,} independent units ({found.unit})"
    whole = found.drawn == found.population
    drawn = f"All {found.drawn:,} calls" if whole else f"{found.drawn:,} calls"
    source = ", in an order drawn at random" if whole else f" drawn at random from {found.population:,} calls"
    console.say(f"{drawn}{units}{source}{dates}{window}.")
    if found.units < LEAST_ROWS:
        console.say(
            f"A test of fewer than {LEAST_ROWS} proves little and spends most of what there is to spend: see how many "
            f"it takes (stepdown build {found.task} --dry-run) before you build, and ask for more with --labels."
        )
    if not found.to_label:
        console.say("All that a test would read are labelled: there is nothing to fill in. Ask for more with --labels.")
        return
    if found.only_where_they_differ:
        console.say(f"{found.to_label:,} of them need a label: there a student differs from the incumbent.")
    else:
        console.say(f"{found.to_label:,} of them have no label yet.")
        console.say(
            f"Once a build knows its students, only calls on which they differ need one: stepdown build {found.task}"
        )
    if found.planned_before:
        console.say(f"{found.planned_before:,} calls were planned before, and the file has what is missing of them.")
    console.say(f"Fill in the column gold of {found.file}, then: stepdown import --gold {found.file}")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
