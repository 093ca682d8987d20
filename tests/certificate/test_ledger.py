from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.certificate.evidence import Basis, Evidence, gather
from stepdown.certificate.ledger import Attempt, attempt, looks
from stepdown.certificate.observations import JudgedLosses
from stepdown.core.certificate import Population
from stepdown.core.contract import Contract
from stepdown.core.draw import ATTEMPTED, LOOKED
from stepdown.core.errors import TamperedError
from stepdown.core.events import Event, next_event

CONTRACT = Contract()


class Journal:
    """A journal in memory, as a store would keep it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, data: dict[str, Any], task: str = "t") -> None:
        last = self.events[-1] if self.events else None
        self.events.append(next_event(last, 0.0, ATTEMPTED, task, data))

    def spend(self, evidence: Evidence, contract: Contract = CONTRACT, task: str = "t") -> Attempt:
        spent = attempt(self.events, evidence, contract)
        self.append(spent.event, task)
        return spent

    def number(self, evidence: Evidence, contract: Contract = CONTRACT) -> int:
        return attempt(self.events, evidence, contract).number


def _of_rows(evidence: Evidence, rows: Iterable[int], student: str = "s") -> Evidence:
    """Evidence on some rows, for a candidate with a student of its own."""
    candidate_students = tuple(
        type(each)(kind=each.kind, artefact=student) for each in evidence.candidate.candidate_students
    )
    candidate = type(evidence.candidate)(
        task="t",
        candidate_students=candidate_students,
        calibrators=evidence.candidate.calibrators,
        points=evidence.candidate.points,
        tune_reference="gold",
        tune_n=1,
    )
    return gather(candidate, replace(evidence.seen.rows(np.array(list(rows))), candidate_students=candidate_students))


@pytest.fixture
def evidence(bench: Callable[..., Any]) -> Evidence:
    made: Evidence = bench().evidence(CONTRACT)
    return made


def test_the_first_attempt_gets_the_most_and_all_of_them_together_no_more_than_the_budget(evidence: Evidence) -> None:
    journal = Journal()
    shares = [journal.spend(_of_rows(evidence, range(50), str(student))).error_share for student in range(60)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(0.75 * 0.05)
    assert sum(shares) < 0.05


def test_issuing_the_same_again_is_no_new_attempt(evidence: Evidence) -> None:
    journal = Journal()
    first = journal.spend(evidence)
    assert journal.spend(_of_rows(evidence, range(50))).number == 2
    assert attempt(journal.events, evidence, CONTRACT) == first
    assert journal.spend(evidence) == first
    assert attempt(journal.events, _of_rows(evidence, range(50), "another"), CONTRACT).number == 3


def test_another_contract_is_a_new_attempt(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(evidence)
    assert journal.spend(evidence, Contract(margin=0.01)).number == 2


def test_adding_labels_continues_the_count_and_fresh_rows_start_anew(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_of_rows(evidence, range(100)))
    assert attempt(journal.events, _of_rows(evidence, range(130)), CONTRACT).number == 2
    assert attempt(journal.events, _of_rows(evidence, range(99, 200)), CONTRACT).number == 2
    assert attempt(journal.events, _of_rows(evidence, range(100, 200)), CONTRACT).number == 1


def test_attempts_are_linked_through_one_another(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_of_rows(evidence, range(50)))
    journal.spend(_of_rows(evidence, range(100, 150)))
    assert attempt(journal.events, _of_rows(evidence, range(100, 160)), CONTRACT).number == 2
    journal.spend(_of_rows(evidence, range(40, 110)))
    assert attempt(journal.events, _of_rows(evidence, range(140, 160)), CONTRACT).number == 4


def test_other_events_do_not_count_and_one_that_cannot_be_read_stops_everything(evidence: Evidence) -> None:
    other = next_event(None, 0.0, "built", "t", {})
    assert attempt([other], evidence, CONTRACT).number == 1
    broken = next_event(other, 0.0, ATTEMPTED, "t", {"candidate": "x"})
    with pytest.raises(TamperedError, match="Event 2"):
        attempt([other, broken], evidence, CONTRACT)


# Rows are known by their content


def _drawn(evidence: Evidence, rows: Iterable[int], student: str = "s", draw: str = "d", **changes: Any) -> Evidence:
    """Evidence of rows known by their content, from a draw. changes: of the terms, or of the population."""
    chosen = list(rows)
    made = _of_rows(evidence, chosen, student)
    population = Population(draw=draw, replaces=changes.pop("replaces", ""))
    terms = replace(made.terms, basis=Basis(population=population), **changes)
    return replace(made, terms=terms, keys=tuple(f"content {row}" for row in chosen))


def _renamed(evidence: Evidence, prefix: str) -> Evidence:
    return replace(evidence, seen=replace(evidence.seen, ids=tuple(prefix + each for each in evidence.seen.ids)))


def test_another_task_over_the_same_rows_counts(evidence: Evidence) -> None:
    """Naming a task anew must not gain it a fresh start."""
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), "one", "d1"), task="tickets")
    assert journal.number(_drawn(evidence, range(50), "two", "d2")) == 2


def test_rows_that_were_imported_again_under_other_ids_count(evidence: Evidence) -> None:
    journal = Journal()
    first = _drawn(evidence, range(50), "one", "d1")
    journal.spend(first)
    assert journal.number(_renamed(_drawn(evidence, range(50), "two", "d2"), "again-")) == 2
    assert journal.number(_renamed(first, "again-")) == 1  # the very same question


def test_other_rows_under_known_ids_are_other_rows(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), "one", "d1"))
    other = replace(_drawn(evidence, range(50), "two", "d2"), keys=tuple(f"new {row}" for row in range(50)))
    assert journal.number(other) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: replace(seen, references=("another", *seen.references[1:])),
        lambda seen: replace(seen, incumbent_loss=1.0 - seen.incumbent_loss),
        lambda seen: replace(seen, escalation_cost_usd=np.full(seen.n, 0.001)),
        lambda seen: replace(seen, latency_s=np.full(seen.losses.shape, 0.001)),
        lambda seen: replace(
            seen,
            reference="judged",
            judged=JudgedLosses(np.zeros_like(seen.losses), np.zeros(seen.n)),
            support="bounded",
        ),
    ],
)
def test_other_labels_verdicts_prices_and_timings_are_another_question(
    evidence: Evidence, change: Callable[[Any], Any]
) -> None:
    """What is measured anew until it fits is an attempt each time."""
    journal = Journal()
    first = _drawn(evidence, range(50))
    journal.spend(first)
    assert journal.number(first) == 1
    assert journal.number(replace(first, seen=change(first.seen))) == 2


def test_another_ceiling_on_the_price_is_another_question(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), cost_ceiling_usd=0.1))
    assert journal.number(_drawn(evidence, range(50), cost_ceiling_usd=0.2)) == 2


def test_other_verdicts_are_another_question(evidence: Evidence) -> None:
    def judged(loss: float) -> Evidence:
        first = _drawn(evidence, range(50))
        verdicts = JudgedLosses(np.full_like(first.seen.losses, loss), np.zeros(50))
        return replace(first, seen=replace(first.seen, reference="judged", judged=verdicts, support="bounded"))

    journal = Journal()
    journal.spend(judged(0.0))
    assert journal.number(judged(0.0)) == 1
    assert journal.number(judged(0.5)) == 2


def test_a_draw_that_replaces_one_counts_on(evidence: Evidence) -> None:
    """Although no row is left of the draw before: its calls were deleted."""
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), "one", "d1"))
    journal.spend(_drawn(evidence, range(50), "two", "d1"))
    assert journal.number(_drawn(evidence, range(60, 90), "two", "d2")) == 1
    replaced = _drawn(evidence, range(60, 90), "two", "d2", replaces="d1")
    assert journal.spend(replaced).number == 3
    assert journal.number(_drawn(evidence, range(100, 130), "two", "d3", replaces="d2")) == 4
    assert journal.number(_drawn(evidence, range(100, 130), "two", "d3")) == 1


def test_a_journal_of_before_rows_were_known_by_content_links_by_their_ids(evidence: Evidence) -> None:
    journal = Journal()
    plain = _of_rows(evidence, range(50), "one")
    data = attempt((), plain, CONTRACT).event
    assert not {"content", "draw", "stages", "looked"} & set(data)  # as it was written
    journal.append(data)
    assert journal.number(_drawn(evidence, range(40, 90), "two")) == 2
    assert journal.number(_drawn(evidence, range(50, 90), "two")) == 1
    journal.spend(_drawn(evidence, range(40, 90), "two"))
    assert journal.number(_drawn(evidence, range(80, 120), "three", "d2")) == 3  # through the one in between


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 9)), min_size=1, max_size=12))
def test_attempts_count_that_are_joined_by_rows(evidence: Evidence, spans: list[tuple[int, int]]) -> None:
    journal = Journal()
    parts: list[tuple[set[int], int]] = []
    for number, (start, size) in enumerate(spans):
        rows = set(range(start, start + size))
        joined = [part for part in parts if part[0] & rows]
        expected = 1 + sum(count for _, count in joined)
        parts = [part for part in parts if not part[0] & rows]
        parts.append((rows.union(*(part[0] for part in joined)), expected))
        spent = journal.spend(_drawn(evidence, sorted(rows), str(number), f"draw {number}"))
        assert spent.number == expected


# A further look at the same candidate


def test_a_further_look_with_more_rows_of_the_draw_is_no_new_attempt(evidence: Evidence) -> None:
    journal = Journal()
    first = journal.spend(_drawn(evidence, range(50), stages=(50,), final=False))
    assert looks(journal.events, _candidate(evidence), CONTRACT, "d") == (50,)
    second = journal.spend(_drawn(evidence, range(90), stages=(50, 90), final=False))
    third = journal.spend(_drawn(evidence, range(120), stages=(50, 90, 120), final=True))
    assert (first.number, second.number, third.number) == (1, 1, 1)
    assert first.error_share == second.error_share == third.error_share
    assert looks(journal.events, _candidate(evidence), CONTRACT, "d") == ()  # the final look has spent it all
    assert journal.number(_drawn(evidence, range(130), stages=(130,))) == 4


def _candidate(evidence: Evidence) -> str:
    return _drawn(evidence, range(1)).candidate.digest


def test_looks_are_those_of_one_candidate_contract_and_draw(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), stages=(50,), final=False))
    other = _drawn(evidence, range(1), "another").candidate.digest
    assert looks(journal.events, other, CONTRACT, "d") == ()
    assert looks(journal.events, _candidate(evidence), Contract(margin=0.5), "d") == ()
    assert looks(journal.events, _candidate(evidence), CONTRACT, "e") == ()
    assert looks(journal.events, _candidate(evidence), CONTRACT, "") == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: replace(seen, references=("changed", *seen.references[1:])),
        lambda seen: replace(
            seen, incumbent_loss=np.concatenate([1.0 - seen.incumbent_loss[:1], seen.incumbent_loss[1:]])
        ),
        lambda seen: replace(seen, units=("other", *seen.units[1:])),
    ],
)
def test_a_further_look_at_rows_that_say_something_else_by_now_is_a_new_attempt(
    evidence: Evidence, change: Callable[[Any], Any]
) -> None:
    """A label corrected after the first look would be tested with that look's level."""
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), stages=(50,), final=False))
    more = _drawn(evidence, range(90), stages=(50, 90), final=False)
    assert journal.number(more) == 1
    assert journal.number(replace(more, seen=change(more.seen))) == 2


def test_a_change_in_rows_that_nobody_has_looked_at_is_none(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), stages=(50,), final=False))
    more = _drawn(evidence, range(90), stages=(50, 90), final=False)
    changed = replace(more.seen, references=(*more.seen.references[:-1], "corrected"))
    assert journal.number(replace(more, seen=changed)) == 1


@pytest.mark.parametrize(
    ("stages", "changes"),
    [
        ((90,), {}),  # the first look is forgotten
        ((40, 90), {}),  # it had other rows
        ((50, 90), {"student": "another"}),
        ((50, 90), {"draw": "e"}),
    ],
)
def test_what_is_no_further_look_is_a_new_attempt(
    evidence: Evidence, stages: tuple[int, ...], changes: dict[str, Any]
) -> None:
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), stages=(50,), final=False))
    assert journal.number(_drawn(evidence, range(90), stages=stages, **changes)) == 2


def test_a_look_after_a_final_one_is_a_new_attempt(evidence: Evidence) -> None:
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), stages=(50,), final=True))
    assert journal.number(_drawn(evidence, range(90), stages=(50, 90))) == 2


def test_looks_of_another_candidate_count_each(evidence: Evidence) -> None:
    """All of them have seen the rows."""
    journal = Journal()
    journal.spend(_drawn(evidence, range(50), "one", stages=(50,), final=False))
    journal.spend(_drawn(evidence, range(90), "one", stages=(50, 90), final=False))
    assert journal.number(_drawn(evidence, range(90), "two", stages=(90,))) == 3


def test_builds_that_waited_for_labels_were_looks_at_what_a_test_of_agreement_reads(evidence: Evidence) -> None:
    """They say how often their student differs from the incumbent on the evidence; the best of many is no first try."""
    journal = Journal()
    for seed in range(3):
        data = {"candidate": f"student {seed}", "draw": "d"}
        journal.events.append(next_event(journal.events[-1] if journal.events else None, 0.0, LOOKED, "t", data))
    by_gold = _drawn(evidence, range(50))
    seen = replace(by_gold.seen, reference="agreement", incumbent_loss=np.zeros(by_gold.seen.n), agrees=None)
    by_agreement = replace(by_gold, seen=seen)
    assert journal.number(by_gold) == 1
    assert journal.number(by_agreement) == 4
    elsewhere = _drawn(evidence, range(50), draw="another")
    assert journal.number(replace(elsewhere, seen=seen)) == 1
