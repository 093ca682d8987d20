"""The guarantee by simulation, through the whole room: calibrate, path on tune, walk on certify. Fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from stepdown.certificate.certify import Issue, issue_certificate
from stepdown.certificate.evidence import gather
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.ledger import attempt
from stepdown.certificate.observations import CandidateStudent, Observations
from stepdown.certificate.path import choose_candidate
from stepdown.core.contract import Contract
from stepdown.core.draw import ATTEMPTED
from stepdown.core.events import Event, next_event
from stepdown.stats.binomial import probability_at_least

pytestmark = pytest.mark.slow

SEEDS = 100


@pytest.mark.parametrize("name", ["agreement only", "graded losses (betting)"])
def test_false_certificates_stay_within_the_budget(validity: ModuleType, name: str) -> None:
    """Refuted only by a count that a rate of 5 % would reach less than once in a thousand."""
    world = next(each for each in validity.WORLDS if each.name == name)
    world = replace(world, tune_rows=min(150, world.tune_rows), certify_rows=min(300, world.certify_rows))
    row = validity.run(world, SEEDS)
    assert probability_at_least(round(row.violations * SEEDS), SEEDS, row.budget) > 0.001
    assert probability_at_least(round(row.bounds_broken * SEEDS), SEEDS, row.budget) > 0.001


def test_certificates_are_found_and_near_the_boundary(validity: ModuleType) -> None:
    """The simulation would show nothing if certificates were rare or far from the margin."""
    world = next(each for each in validity.WORLDS if each.name == "agreement only")
    row = validity.run(world, 40)
    assert row.certified > 0.9
    assert row.offload > 0.75 * row.oracle


def _bad_student(rows: int, error: float, generator: np.random.Generator, prefix: str) -> Observations:
    """A student that disagrees on a share of inputs, wherever it is sure."""
    return Observations(
        ids=tuple(f"{prefix}{row}" for row in range(rows)),
        reference="agreement",
        references=("",) * rows,
        candidate_students=(CandidateStudent(kind="s", artefact="a"),),
        signals=(generator.random((rows, 1)),),
        losses=(generator.random((1, rows)) < error).astype(float),
        incumbent_loss=np.zeros(rows),
    )


def test_trying_many_candidates_on_the_same_evidence_does_not_wear_the_guarantee_out() -> None:
    """Twenty useless students in turn on the same rows: every certificate would be false (0.105 > 0.1)."""
    contract = Contract(against="agreement", margin=0.1)
    generator = np.random.default_rng(5)
    tried = choose_candidate("t", PathForecast(_bad_student(60, 0.01, generator, "t"), contract, 100, 0.0375))
    everything = (msgspec.structs.replace(tried.points[-1], thresholds=(0.0,)),)
    families, broken, naive = 80, 0, 0
    for _ in range(families):
        events: list[Event] = []
        false = unguarded = False
        for number in range(20):
            candidate_students = (CandidateStudent(kind="s", artefact=str(number)),)
            candidate = msgspec.structs.replace(tried, candidate_students=candidate_students, points=everything)
            evidence = gather(
                candidate, replace(_bad_student(100, 0.105, generator, "c"), candidate_students=candidate_students)
            )
            spent = attempt(events, evidence, contract)
            events.append(next_event(events[-1] if events else None, 0.0, ATTEMPTED, "t", spent.event))
            certificate = issue_certificate(evidence, contract, spent, "0" * 64, Issue(0.0))
            false = false or certificate.verdict == "certified"
            unguarded = unguarded or certificate.claims[0].p_value <= 0.05
        broken += false
        naive += unguarded
    assert probability_at_least(broken, families, 0.05) > 0.001
    assert naive > 4 * max(1, broken)


def test_another_order_of_rows_is_another_attempt(bench: Callable[..., Any]) -> None:
    """Betting wealth depends on order: good rows first would pay. The draw fixes it, and another one is counted."""
    made = bench(worst=(0.5,), support="bounded", certify_rows=300)
    contract = Contract()
    candidate = made.candidate(contract)
    seen = made.certify_rows
    drawn = gather(candidate, seen, keys=seen.ids)
    spent = attempt((), drawn, contract)
    events = [next_event(None, 0.0, ATTEMPTED, "t", spent.event)]
    good_first = seen.rows(np.argsort(seen.losses[0], kind="stable"))
    assert attempt(events, gather(candidate, good_first, keys=good_first.ids), contract).number == 2
