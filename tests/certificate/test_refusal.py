from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepdown.core.contract import Contract

CONTRACT = Contract(against="agreement")


def test_too_little_evidence_says_how_many_more_labels_and_they_suffice(bench: Callable[..., Any]) -> None:
    """As many labels as were asked for certify in about the promised share of draws (0.8)."""
    world = {"worst": (0.02,), "steepness": (1.0,), "incumbent_error": 0.0, "reference": "agreement"}
    few = bench(certify_rows=60, **world)
    refused = few.issue(CONTRACT)
    assert refused.verdict == "refused"
    assert refused.labels_needed is not None
    assert "too little evidence" in refused.reasons[0]
    assert f"About {refused.labels_needed} more labels" in refused.reasons[0]
    passed = 0
    for seed in range(20):
        more = bench(seed, certify_rows=60 + refused.labels_needed, **world)
        passed += more.issue(CONTRACT, evidence=_same_candidate(few, more)).verdict == "certified"
    assert passed >= 12


def _same_candidate(few: Any, more: Any) -> Any:
    from stepdown.certificate.evidence import gather

    return gather(few.candidate(CONTRACT), more.certify_rows)


def test_a_student_that_is_too_bad_is_not_helped_by_labels(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.9,), steepness=(0.05,), incumbent_error=0.0, reference="agreement", certify_rows=1000)
    refused = made.issue(Contract(against="agreement", margin=0.005))
    assert refused.verdict == "refused"
    assert refused.labels_needed is None
    assert "any amount of labels" in refused.reasons[0]
    assert any("tune split" in reason for reason in refused.reasons)
    assert any(made.tune.ids[row] in reason for row in range(made.tune.n) for reason in refused.reasons)


def test_a_few_rows_do_not_say_that_no_labels_would_help(bench: Callable[..., Any]) -> None:
    """30 rows with an estimate above the margin and an interval that reaches below it: nothing is known yet."""
    made = bench(worst=(0.9,), steepness=(0.05,), incumbent_error=0.0, reference="agreement", certify_rows=1000)
    few = made.evidence(CONTRACT)
    several = next(
        part
        for start in range(0, 900, 30)
        if (part := replace(few, seen=few.seen.rows(np.arange(start, start + 30)), keys=(), **_cut(few, start)))
        and made.issue(CONTRACT, evidence=part).claims[0].estimate > 0
    )
    refused = made.issue(CONTRACT, evidence=several)
    assert refused.verdict == "refused"
    assert "any amount of labels" not in refused.reasons[0]
    assert "may show either" in refused.reasons[0]
    assert refused.labels_needed == 30


def _cut(evidence: Any, start: int) -> dict[str, Any]:
    return {"confidences": evidence.confidences[:, start : start + 30]}


def test_thin_slices_are_named_with_the_labels_they_need(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.01,), steepness=(1.0,), incumbent_error=0.0, reference="agreement").with_both(
        lambda seen: replace(seen, slices=tuple({"kind": "rare" if row < 8 else "usual"} for row in range(seen.n)))
    )
    refused = made.issue(Contract(against="agreement", slices=("kind",)))
    assert refused.verdict == "refused"
    assert "kind=rare" in refused.reasons[0]
    assert "kind=usual" not in refused.reasons[0]
    assert refused.labels_needed is not None
    assert refused.labels_needed > 400


def test_the_examples_of_a_refusal_are_of_tune_not_of_the_evidence(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.9, 0.9), steepness=(0.1, 0.1), incumbent_error=0.0, reference="agreement")
    examples = made.candidate(CONTRACT).examples
    assert examples
    assert set(examples) <= set(made.tune.ids)


@pytest.mark.parametrize("support", ["zero_one", "bounded"])
def test_every_support_gets_a_number_of_labels(bench: Callable[..., Any], support: str) -> None:
    made = bench(worst=(0.1,), steepness=(1.0,), incumbent_error=0.08, certify_rows=50, support=support)
    refused = made.issue(Contract(margin=0.03))
    assert refused.verdict == "refused"
    assert refused.labels_needed is None or refused.labels_needed > 0
    assert np.isfinite(refused.claims[0].bound)
