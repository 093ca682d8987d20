from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepdown.certificate.evidence import Evidence, gather
from stepdown.certificate.ledger import ATTEMPTED, Attempt, attempt
from stepdown.core.contract import Contract
from stepdown.core.errors import TamperedError
from stepdown.core.events import Event, next_event

CONTRACT = Contract()


class Journal:
    """A journal in memory, as a store would keep it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, spent: Attempt) -> None:
        last = self.events[-1] if self.events else None
        self.events.append(next_event(last, 0.0, ATTEMPTED, "t", spent.event))

    def spend(self, evidence: Evidence, contract: Contract = CONTRACT) -> Attempt:
        spent = attempt(self.events, evidence, contract)
        self.append(spent)
        return spent


def _of_rows(evidence: Evidence, rows: Iterable[int], student: str = "s") -> Evidence:
    """Evidence on some rows, for a candidate with a student of its own."""
    entrants = tuple(type(each)(kind=each.kind, artefact=student) for each in evidence.candidate.entrants)
    candidate = type(evidence.candidate)(
        task="t",
        entrants=entrants,
        calibrators=evidence.candidate.calibrators,
        points=evidence.candidate.points,
        tune_reference="gold",
        tune_n=1,
    )
    return gather(candidate, replace(evidence.seen.rows(np.array(list(rows))), entrants=entrants))


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
