"""The calls to label next: planned in the journal first, then written to a file that shows no answers.

The file has an input and an empty place for the label: a person who sees an answer tends to agree with it. It holds the
drawn calls on which a student differs from the incumbent, in the order of the draw: on all others the excess loss is 0
whatever is right. Hard calls must not be skipped: a call without gold counts as the student's mistake.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.observations import Observations
from stepdown.certificate.planning import LEAST_ROWS, expect, rows_to_test, whole_units_up_to
from stepdown.certificate.refusal import label_share, needed_labels
from stepdown.core.canonical import canonical_json
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset, Example
from stepdown.core.draw import Draw
from stepdown.core.errors import ResourceError
from stepdown.core.store import Store
from stepdown.project.evidence_draws import plan_labels, planned_rows
from stepdown.stats.spending import attempt_error
from stepdown.stats.stages import stage_level

HOPELESS = 1_000
"""So many calls are planned where tune sees no chance: enough to show that there is none."""


@dataclass(frozen=True)
class ToLabel:
    """The calls of a draw that are to be labelled next: of its first `rows`, those without gold on which a student
    differs from the incumbent."""

    rows: int
    examples: tuple[Example, ...]


def first_plan(whole: Evidence, tune: Observations, contract: Contract) -> int:
    """How many calls of a draw, from its first, the first test of a candidate should have, as far as tune tells."""
    if not whole.candidate.points:
        return 0
    error = stage_level(attempt_error(1.0 - contract.confidence, 1))
    wanted = rows_to_test(expect(whole.candidate, tune), contract, error, whole.seen.support == "bounded")
    rows = HOPELESS if wanted is None else max(wanted, LEAST_ROWS)
    return whole_units_up_to(whole.seen.units, rows)


def label_next(certificate: Certificate, whole: Evidence, tested: int) -> int:
    """How many calls of the draw, from its first, labels should cover, tested ones included; 0 for none."""
    if certificate.evidence != "gold" or not certificate.labels_needed:
        return 0
    if certificate.attempt == 0:
        return tested
    return whole_units_up_to(whole.seen.units, tested + round(certificate.labels_needed / label_share(whole)))


def to_label(dataset: Dataset, whole: Evidence, rows: int) -> ToLabel:
    """The calls to label among the first rows of a draw."""
    _, unlabelled = needed_labels(whole)
    wanted = {whole.seen.ids[row] for row in np.flatnonzero(unlabelled[:rows])}
    return ToLabel(rows, tuple(one for one in dataset.split("certify") if one.id in wanted))


def write_next(store: Store, draw: Draw, plan: ToLabel, path: Path, now: float) -> int:
    """Enter the plan, then write the file. Returns how many calls are to be labelled."""
    plan_labels(store, draw, plan.rows, now)
    return write_labels_file(path, plan.examples)


def rows_planned(store: Store, draw: Draw, whole: Evidence, wanted: int) -> int:
    """The number of calls to cover: at least as many as were planned before."""
    return whole_units_up_to(whole.seen.units, max(wanted, planned_rows(store, draw)))


COLUMNS = ("id", "input", "gold")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_labels_file(path: Path, examples: Sequence[Example]) -> int:
    """Write the rows to label in their order, and return how many they are.

    CSV, or JSON lines where the name ends in .jsonl; columns `id,input,gold`, the last one empty. Import it again as
    gold once it is filled in; rows left empty are ignored. Raises ResourceError when the disk does not take it.
    """
    table = [{"id": example.id, "input": example.text, "gold": None} for example in examples]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jsonl":
            path.write_bytes(b"".join(canonical_json(record) + b"\n" for record in table))
        else:
            _write_csv(path, table)
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written: {error.strerror}.", "", "Free some space or name another."
        ) from None
    return len(table)


def _write_csv(path: Path, table: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in table:
            writer.writerow([_cell(record[name]) if name != "id" else record[name] for name in COLUMNS])


def _cell(value: Any) -> str:
    """A value as text. Spreadsheets run what begins like a formula, so traffic that does is quoted."""
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA) else text
