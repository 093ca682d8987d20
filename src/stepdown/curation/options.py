"""What a curation is given besides the calls, and how big its splits are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepdown.core.contract import Evidence, Privacy
from stepdown.core.dataset import Answer
from stepdown.core.store import Gold

OutOfSample = Callable[[list[str], list[str]], NDArray[np.float64]]
"""Texts and their answers → cross-fitted probabilities, float (n, labels), the labels sorted."""

SMALL_EVIDENCE = 600
SMALL_TUNE = 200


@dataclass(frozen=True)
class CurationOptions:
    """gold and verdicts by call id (a verdict is a judge's loss for the incumbent's answer, in [0, 1]).

    against: the kind of evidence the contract asks for. slices: names of slots, of metadata fields, or of client_id,
    model, provider, workload_id, kept per example. permission: what the user says about training on the incumbent's
    outputs. source_hashes: sha256 by file name. near_duplicate: Jaccard similarity of character 4-grams.
    flagged_weight: what a likely wrong answer of the incumbent counts for in learning; 1 keeps it as it is.
    certify_rows, tune_rows: None follows the rules of docs/curation.md. max_characters: longer inputs are excluded.
    slice_of: the kind of an answer, by which the spread of answers is looked at; `curate` takes that of the family.
    """

    gold: Mapping[str, Gold] = field(default_factory=dict)
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
    max_characters: int = 100_000
    slice_of: Callable[[Answer], str] = str

    def rows_to_certify(self, rows: int, evidence: Evidence) -> int:
        """Evidence wanted: a fifth, at most 2,000 (3,000 without gold), more than a fifth where data are few."""
        if self.certify_rows is not None:
            return self.certify_rows
        most = 3_000 if evidence == "agreement" else 2_000
        return int(min(most, max(0.2 * rows, min(0.4 * rows, SMALL_EVIDENCE))))

    def rows_to_tune(self, rows: int) -> int:
        """A tenth, at most 1,000, more than a tenth where data are few."""
        if self.tune_rows is not None:
            return self.tune_rows
        return int(min(1_000, max(0.1 * rows, min(0.2 * rows, SMALL_TUNE))))
