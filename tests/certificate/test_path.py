from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stepdown.certificate.forecast import PathForecast, expected_saving
from stepdown.certificate.observations import CandidateStudent, Observations, outcome
from stepdown.certificate.path import MOST_POINTS, MOST_RUNGS, choose_candidate
from stepdown.core.contract import Contract
from stepdown.core.errors import NotEnoughData

CONTRACT = Contract()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("worst", [(0.5,), (0.9, 0.6, 0.45), (0.3, 0.3)])
def test_a_path_is_short_and_each_point_accepts_all_that_the_one_before_does(
    bench: Callable[..., Any], worst: tuple[float, ...], seed: int
) -> None:
    made = bench(seed, worst=worst, steepness=(2.0,) * len(worst))
    candidate = made.candidate(CONTRACT)
    assert 1 <= len(candidate.points) <= MOST_POINTS
    assert len(candidate.candidate_students) <= MOST_RUNGS
    own = made.evidence(CONTRACT)
    answered = [outcome(own.seen, own.confidences, point.thresholds).rung >= 0 for point in candidate.points]
    for stricter, laxer in pairwise(answered):
        assert (stricter <= laxer).all()
    offloads = [point.tune_offload for point in candidate.points]
    assert offloads == sorted(offloads)


def test_the_same_tune_gives_the_same_candidate(bench: Callable[..., Any]) -> None:
    assert bench(1).candidate(CONTRACT) == bench(1).candidate(CONTRACT)


def test_a_student_that_is_simply_better_is_tested_at_full_offload(bench: Callable[..., Any]) -> None:
    candidate = bench(worst=(0.1,), incumbent_error=0.3).candidate(CONTRACT)
    assert candidate.points[-1].thresholds == (0.0,)
    assert candidate.points[-1].tune_offload == 1.0


def test_points_at_which_little_evidence_can_show_nothing_do_not_stand_in_the_way(bench: Callable[..., Any]) -> None:
    """With 100 rows a margin of 0.02 cannot be shown where nothing differs, but a much better student can show it."""
    made = bench(worst=(0.05,), incumbent_error=0.5, certify_rows=100)
    assert made.candidate(CONTRACT).points[0].tune_offload > 0.1
    assert made.issue(CONTRACT).verdict == "certified"


def _complementary(rows: int, seed: int) -> Observations:
    """Two students, each sure and right on its own half, unsure and wrong on the other."""
    generator = np.random.default_rng(seed)
    half = generator.random(rows) < 0.5
    right = np.stack([half, ~half])
    noise = generator.normal(scale=0.1, size=(2, rows))
    return Observations(
        ids=tuple(f"{seed}-{row}" for row in range(rows)),
        reference="gold",
        references=("",) * rows,
        candidate_students=(CandidateStudent(kind="left", artefact="l"), CandidateStudent(kind="right", artefact="r")),
        signals=tuple((right[student] + noise[student])[:, None] for student in range(2)),
        losses=(~right).astype(float),
        incumbent_loss=np.zeros(rows),
    )


def test_a_second_rung_is_added_where_it_pays_and_the_candidate_says_so() -> None:
    candidate = choose_candidate("t", PathForecast(_complementary(600, 1), CONTRACT, 600, 0.05))
    assert [candidate_student.kind for candidate_student in candidate.candidate_students] == ["left", "right"]
    assert candidate.points[-1].tune_offload > 0.9
    assert "is added because it saves" in candidate.why


def test_a_second_rung_is_left_out_where_it_does_not_pay(bench: Callable[..., Any]) -> None:
    candidate = bench(worst=(0.3, 0.3), steepness=(2.0, 2.0)).candidate(CONTRACT)
    assert len(candidate.candidate_students) == 1
    assert "would not pay" in candidate.why


def test_among_students_that_save_alike_the_clearly_better_one_is_taken_else_the_cheaper(
    bench: Callable[..., Any],
) -> None:
    better = bench(worst=(0.4, 0.05), steepness=(1.0, 1.0), incumbent_error=0.5).candidate(CONTRACT)
    assert [candidate_student.kind for candidate_student in better.candidate_students] == ["student-1"]
    made = bench(worst=(0.1,), steepness=(1.0,), incumbent_error=0.5).tune
    twins = replace(
        made,
        candidate_students=(CandidateStudent(kind="cheap", artefact="1"), CandidateStudent(kind="dear", artefact="2")),
        signals=made.signals * 2,
        losses=np.concatenate([made.losses] * 2),
    )
    alike = choose_candidate("t", PathForecast(twins, CONTRACT, 400, 0.05))
    assert [candidate_student.kind for candidate_student in alike.candidate_students] == ["cheap"]


def test_a_cost_limit_moves_the_start_to_where_it_can_be_kept(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.02)
    seen = replace(made.tune, escalation_cost_usd=np.full(made.tune.n, 0.001))
    free = choose_candidate("t", PathForecast(seen, CONTRACT, 400, 0.05))
    bound = choose_candidate("t", PathForecast(seen, Contract(cost_per_1k=0.3), 400, 0.05))
    assert bound.points[0].tune_offload > max(0.7, free.points[0].tune_offload)


def test_disagreement_on_tune_does_not_cut_the_path_short_where_the_evidence_is_gold(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.5,), incumbent_error=0.0, reference="agreement")
    assert made.candidate(Contract(against="gold")).points[-1].tune_offload == 1.0


def test_four_students_and_no_labelled_row(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.9, 0.7, 0.5, 0.4), steepness=(1.0, 2.0, 2.0, 2.0), tune_rows=2000).tune
    assert choose_candidate("t", PathForecast(made, CONTRACT, 2000, 0.05)).tune_n == 2000
    with pytest.raises(NotEnoughData):
        choose_candidate("t", PathForecast(made.rows(np.array([], dtype=np.int64)), CONTRACT, 2000, 0.05))


def test_a_walk_is_worth_what_its_weakest_points_let_through() -> None:
    assert expected_saving(np.array([0.5, 1.0]), np.array([1.0, 0.5])) == pytest.approx(0.75)
    assert expected_saving(np.array([0.5, 1.0]), np.array([0.5, 1.0])) == pytest.approx(0.5)
    assert expected_saving(np.array([]), np.array([])) == 0.0


def test_students_that_cost_more_than_they_save_still_give_a_candidate(bench: Callable[..., Any]) -> None:
    """One that nearly always abstains saves less than asking it costs; then nothing is worth it, and nothing breaks."""
    made = bench(worst=(0.4, 0.5), steepness=(2.0, 2.0))

    def dear(seen: Observations) -> Observations:
        candidate_students = tuple(
            CandidateStudent(kind=each.kind, artefact=each.artefact, signal_names=("top", "abstains"), cost_usd=10.0)
            for each in seen.candidate_students
        )
        silent = np.arange(seen.n) % 50 != 0
        signals = tuple(np.column_stack([each[:, :1], silent]) for each in seen.signals)
        return replace(
            seen, candidate_students=candidate_students, signals=signals, escalation_cost_usd=np.full(seen.n, 0.001)
        )

    made = made.with_both(dear)
    candidate = made.candidate(CONTRACT)
    assert candidate.points
    assert candidate.points[-1].tune_offload < 0.05
