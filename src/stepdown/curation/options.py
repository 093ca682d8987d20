"""The options of a curation, and the sizes of its splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepdown.core.contract import Evidence, Privacy
from stepdown.core.dataset import Answer
from stepdown.core.draw import Draw
from stepdown.core.store import Gold
from stepdown.core.vocabulary import GoldReading
from stepdown.runtime.cascade import MOST_CHARACTERS

OutOfSample = Callable[[list[str], list[str]], NDArray[np.float64]]
"""Texts and their answers → cross-fitted probabilities, float (n, labels), the labels sorted."""

EVIDENCE_SHARE, MOST_SHARE, MOST_EVIDENCE = 0.2, 0.5, 20_000
SMALL_EVIDENCE = 600
SMALL_TUNE = 200


@dataclass
class CallFacts:
    """Facts of each call that parsing collects, by id. unread: why the incumbent's answer could not be used.
    unit_names: what the call says of the unit that it belongs to. escalated: calls that the incumbent got because no
    rung was sure. holdback: calls that it got at random, whatever the cascade would have said. unit: the name of the
    unit, as the step `units` found it."""

    unread: dict[str, str] = field(default_factory=dict)
    unit_names: dict[str, dict[str, str]] = field(default_factory=dict)
    escalated: set[str] = field(default_factory=set)
    holdback: set[str] = field(default_factory=set)
    unit: str = "call"


@dataclass(frozen=True)
class CurationOptions:
    """gold and verdicts by call id (a verdict is a judge's loss for the incumbent's answer, in [0, 1]).

    reading: how the labels of gold are read. against: the kind of evidence the contract asks for. slices: names of
    slots, of metadata fields, or of client_id, model, provider, workload_id, kept per example. permission: what the
    user says about training on the incumbent's outputs. source_hashes: sha256 by file name. near_duplicate: Jaccard
    similarity of character 4-grams.
    flagged_weight: what a likely wrong answer of the incumbent counts for in learning; 1 keeps it as it is.
    certify_rows, tune_rows: None follows the rules of docs/curation.md. max_characters: longer inputs are excluded.
    slice_of: the kind of an answer, by which the spread of answers is looked at; `curate` takes that of the family, and
    the task's name.
    unit: what the contract says is independent; "" infers it. draws: the task's earlier draws of evidence, the oldest
    first. least_evidence: a new draw has at least so many calls, at most half of all. whole_since: calls of before are
    not all kept, so that none is drawn of them.
    seen: what parsing learned of each call and the steps after it need; `curate` fills it in.
    """

    gold: Mapping[str, Gold] = field(default_factory=dict)
    reading: GoldReading = GoldReading()  # noqa: RUF009 (frozen)
    verdicts: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    privacy: Privacy = "any"
    against: Evidence = "gold"
    permission: str = ""
    slices: tuple[str, ...] = ()
    source_hashes: Mapping[str, str] = field(default_factory=dict)
    out_of_sample: OutOfSample | None = None
    near_duplicate: float = 0.8
    flagged_weight: float = 0.5
    certify_rows: int | None = None
    tune_rows: int | None = None
    max_characters: int = MOST_CHARACTERS
    slice_of: Callable[[Answer], str] = str
    task: str = ""
    unit: str = ""
    draws: tuple[Draw, ...] = ()
    least_evidence: int = 0
    whole_since: float = 0.0
    seen: CallFacts = field(default_factory=CallFacts)

    @property
    def unit_names(self) -> Mapping[str, Mapping[str, str]]:
        return self.seen.unit_names

    def rows_to_certify(self, rows: int) -> int:
        """Evidence wanted: a fifth, at most 20,000, more than a fifth where data are few. Only rows on which a student
        differs from the incumbent need a label, so that much evidence costs little."""
        if self.certify_rows is not None:
            return self.certify_rows
        usual = min(MOST_EVIDENCE, max(EVIDENCE_SHARE * rows, min(0.4 * rows, SMALL_EVIDENCE)))
        return int(max(usual, min(self.least_evidence, MOST_SHARE * rows)))

    def rows_to_tune(self, rows: int) -> int:
        """A tenth, at most 1,000, more than a tenth where data are few."""
        if self.tune_rows is not None:
            return self.tune_rows
        return int(min(1_000, max(0.1 * rows, min(0.2 * rows, SMALL_TUNE))))
