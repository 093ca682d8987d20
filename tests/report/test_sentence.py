"""The verdict in one sentence."""

from __future__ import annotations

from types import ModuleType

import msgspec
import pytest

from stepdown.core.certificate import Claim
from stepdown.report.sentence import claim_in_words, next_steps, verdict_sentence


def said(record: object) -> str:
    return verdict_sentence(record).replace("\N{NO-BREAK SPACE}", " ")  # type: ignore[arg-type]


def claim(estimate: float, bound: float, holds: bool = True) -> Claim:
    return Claim(
        name="excess-loss", estimate=estimate, bound=bound, limit=0.02, p_value=0.01, holds=holds, n=9, method="m"
    )


def test_certified(records: ModuleType) -> None:
    assert said(records.certified()) == (
        "A 14 MB model on your own CPU can answer 96.7 to 98.1 % of banking-intent calls like those of the evidence in "
        "place of Qwen3-30B-A3B, with at most 1.3 points more error at 95 % confidence; "
        "$0.037 per thousand instead of $1.42."
    )
    assert next_steps(records.certified()) == []


@pytest.mark.parametrize(
    ("saving", "said_of_it"),
    [
        ((-160.0, -210.0, -90.0), " But it does not pay at 1,200,000 calls a month: all in all it would cost $160"),
        ((-160.0, -410.0, 20.0), " But it probably does not pay at 1,200,000 calls a month: all in all"),
    ],
)
def test_a_cascade_that_costs_more_than_it_saves_is_said_not_to_pay(
    records: ModuleType, saving: tuple[float, float, float], said_of_it: str
) -> None:
    record = records.certified()
    value, low, high = saving
    costs = msgspec.structs.replace(record.roi.saving_per_month, value=value, low=low, high=high)
    record = msgspec.structs.replace(record, roi=msgspec.structs.replace(record.roi, saving_per_month=costs))
    assert said_of_it in said(record)
    assert "not pay" not in said(records.certified())


def test_refused_for_want_of_evidence_says_how_many_labels(records: ModuleType) -> None:
    record = records.refused_for_want_of_evidence()
    assert "140 labelled examples are too few to prove the contract; about 620 more are needed." in said(record)
    assert "(measured: 1.1 points less), but that is not yet proof" in said(record)
    assert "Label about" in next_steps(record)[0]


def test_refused_for_quality_says_how_far_off(records: ModuleType) -> None:
    record = records.refused_for_quality()
    assert said(record).endswith("makes 7.1 points more error where the contract allows 2 points.")
    assert "nothing changes in production: Qwen3-30B-A3B" in next_steps(record)[-1]


def test_agreement_speaks_of_differing_answers(records: ModuleType) -> None:
    assert "with answers unlike the incumbent's on at most 1.8 % of calls" in said(records.agreement())


def test_several_rungs_are_several_models(records: ModuleType) -> None:
    record = records.certified()
    rungs = {"rungs": [{"kind": "linear"}, {"kind": "encoder"}]}
    two = msgspec.structs.replace(record, certificate=msgspec.structs.replace(record.certificate, cascade=rungs))
    assert said(two).startswith("2 small models (14 MB together) on your own CPU")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (claim(-0.03, -0.01), "at least 1 point less error at 95 % confidence"),
        (claim(0.001, 0.0), "no more error at 95 % confidence"),
        # The test rejected at the limit; a looser bound's method does not take that back.
        (claim(0.004, 0.025), "at most 2 points more error at 95 % confidence"),
        (claim(0.004, 0.05, holds=False), "at most 5 points more error at 95 % confidence"),
        (claim(0.0, float("inf"), holds=False), "an unknown amount of error more"),
    ],
)
def test_claims_in_words(given: Claim, expected: str) -> None:
    assert claim_in_words(given, 0.95, "gold").replace("\N{NO-BREAK SPACE}", " ") == expected
