"""stepdown sample: draw calls to label, enter them in the journal, and write the file to fill in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from stepdown.build.curate import curate_calls
from stepdown.build.label_plan import ToLabel, write_next
from stepdown.certificate.planning import Expected, rows_for_labels, rows_to_test, whole_units_up_to
from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset, Example
from stepdown.core.draw import Draw
from stepdown.core.errors import NotEnoughData, StepdownError, UsageError
from stepdown.core.store import Store
from stepdown.core.students import Progress
from stepdown.core.tasks import Task
from stepdown.project.builds import Pending, latest
from stepdown.project.discovery import resolve_learnable
from stepdown.project.evidence_draws import drawn_at, keep_draw, planned_rows
from stepdown.project.home import Home
from stepdown.stats.spending import attempt_error
from stepdown.stats.stages import stage_level

LABELS = 500
"""So many calls are drawn where neither a number nor a margin is asked for and nothing is built yet."""


@dataclass(frozen=True)
class SampleRequest:
    """labels: about how many calls people will label. margin: the margin to label for. At most one of them."""

    task: str
    out: Path
    labels: int | None = None
    margin: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn. population: the calls it was drawn from, with their first and last time; drawn: the calls that a
    test will count; to_label: the rows of the file. only_where_they_differ: whether a build told on which calls a
    student differs from the incumbent, so that only those are in the file."""

    task: str
    file: str
    population: int
    first: float
    last: float
    window: str
    unit: str
    drawn: int
    units: int
    to_label: int
    only_where_they_differ: bool
    planned_before: int
    draw: str
    drawn_at: float


def draw_sample(home: Home, request: SampleRequest, progress: Progress) -> Sample:
    """Draw, journal, then write `id,input,gold` with `gold` empty, in the order of the draw.

    Calls that were drawn before stay drawn; a larger number goes on where they end. Raises NotEnoughData where fewer
    calls can be drawn than are asked for or none of them lacks a label, UsageError.
    """
    with home.store() as store:
        progress("reading the calls", 0.0)
        task = resolve_learnable(store, home.settings, request.task, home.clock())
        with home.building(task.name):
            contract = home.settings.task(task.name).contract
            dataset, draw = _drawn(home, store, task, contract, request)
            pending = _pending(home, task.name, draw)
            evidence, before = dataset.split("certify"), planned_rows(store, draw)
            if not _missing(evidence, pending):
                raise _all_labelled(task.name, draw, pending)
            # Where all that was planned is labelled, what is asked for comes on top of it.
            more = before if not _missing(_whole_units(evidence, before), pending) else 0
            rows = _rows(request, contract, draw, pending, more)
            # Not before it is known to be large enough: a request that is refused leaves no draw.
            keep_draw(store, draw, home.clock())
            chosen = _whole_units(evidence, max(rows, before))
            missing = _missing(chosen, pending)
            progress("writing the file", 0.9)
            count = write_next(store, draw, ToLabel(len(chosen), missing), request.out, home.clock())
            return Sample(
                task=task.name,
                file=str(request.out),
                population=draw.calls,
                first=draw.first,
                last=draw.last,
                window=draw.window,
                unit=draw.unit,
                drawn=len(chosen),
                units=len({example.unit for example in chosen}),
                to_label=count,
                only_where_they_differ=pending is not None,
                planned_before=before if before >= len(chosen) else 0,
                draw=draw.digest,
                drawn_at=drawn_at(store, draw),
            )


def _drawn(home: Home, store: Store, task: Task, contract: Contract, request: SampleRequest) -> tuple[Dataset, Draw]:
    """The dataset with its draw: the last draw where it is still valid, else a new one of the size asked for."""
    own = {"against": "gold", "least_evidence": request.labels or 0}
    dataset = curate_calls(home, store, task, contract, own)
    draw = dataset.draw
    if draw is None or not draw.rows:
        raise NotEnoughData(
            f"There is no call of {task.name!r} to draw.",
            "Calls are drawn from those that the incumbent answered as production makes them.",
            "Import more calls, or let the gateway record some.",
        )
    return dataset, draw


def _pending(home: Home, task: str, draw: Draw) -> Pending | None:
    """The newest build's list of calls that need a label, where it used this draw; else None."""
    try:
        pending = latest(home, task).read_pending()
    except StepdownError:
        return None
    return pending if pending is not None and pending.draw == draw.digest else None


def _missing(chosen: list[Example], pending: Pending | None) -> tuple[Example, ...]:
    """The calls that need a label and have none."""
    return tuple(
        example for example in chosen if example.gold is None and (pending is None or example.place in pending.places)
    )


def _all_labelled(task: str, draw: Draw, pending: Pending | None) -> NotEnoughData:
    need = " on which a student differs from the incumbent" if pending is not None else ""
    return NotEnoughData(
        f"There is nothing to label: all drawn calls of {task!r}{need} have gold.",
        f"Drawn are {draw.rows:,} of {draw.calls:,} calls; no file was written.",
        f"Run: stepdown build {task}; or import more calls: a new draw is made once enough have come.",
    )


def _rows(request: SampleRequest, contract: Contract, draw: Draw, pending: Pending | None, more: int) -> int:
    """How many calls of the draw, from its first, are to be tested."""
    if request.labels is not None and request.margin is not None:
        raise UsageError("Both a number of labels and a margin were asked for.", "Expected one of them.", "Drop one.")
    if pending is None:
        wanted = request.labels
        if request.margin is not None:
            wanted = _for_margin(_UNKNOWN, contract, request.margin, graded=False)
        wanted = wanted or LABELS
    elif request.labels is not None:
        wanted = more + rows_for_labels(pending.expected, request.labels)
    else:
        wanted = _for_margin(pending.expected, contract, request.margin or contract.margin, pending.graded)
    if request.labels is None and request.margin is None:
        return min(wanted, draw.rows)
    if wanted > draw.rows:
        raise NotEnoughData(
            f"{wanted:,} calls would have to be drawn; the draw of {request.task!r} holds {draw.rows:,}.",
            f"It was taken from {draw.calls:,} calls, and the rest of them is for training.",
            "Ask for fewer labels or a wider margin, or import more calls: a new draw is made once enough have come.",
        )
    return wanted


_UNKNOWN = Expected(0.2, 0.05, 0.05)
"""Before any student is there: it differs on a fifth of the calls, and where one of the two errs, either does alike."""


def _for_margin(expected: Expected, contract: Contract, margin: float, graded: bool) -> int:
    error = stage_level(attempt_error(1.0 - contract.confidence, 1))
    wanted = rows_to_test(expected, msgspec.structs.replace(contract, margin=margin), error, graded)
    if wanted is None:
        raise NotEnoughData(
            f"No number of labels would show a margin of {margin:g}, by the forecast from the tune split.",
            f"It expects {expected.worse - expected.better:+.3f} more loss than the incumbent's.",
            "Ask for a wider margin, or build with more traffic first.",
        )
    return wanted


def _whole_units(examples: list[Example], rows: int) -> list[Example]:
    return examples[: whole_units_up_to(tuple(example.unit for example in examples), rows)]
