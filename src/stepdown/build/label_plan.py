"""What to label next: planned in the journal first, then written to a file that shows nobody's answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.labelling import write_labels_file
from stepdown.certificate.observations import Observations
from stepdown.certificate.planning import LEAST_ROWS, expect, rows_to_test, whole_units_up_to
from stepdown.certificate.refusal import label_share, needed_labels
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset, Example
from stepdown.core.draw import Draw
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


def write_next(store: Store, draw: Draw, found: ToLabel, path: Path, now: float) -> int:
    """Enter the plan, then write the file. Returns how many calls are to be labelled."""
    plan_labels(store, draw, found.rows, now)
    return write_labels_file(path, found.examples)


def rows_planned(store: Store, draw: Draw, whole: Evidence, wanted: int) -> int:
    """The calls to cover: what was planned before where that was more."""
    return whole_units_up_to(whole.seen.units, max(wanted, planned_rows(store, draw)))
