"""Deciding one by one and deciding a whole table at once are the same rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.inputs import Input, Passage
from stepdown.core.served import INCUMBENT
from stepdown.core.students import Predictions
from stepdown.runtime.cascade import Cascade, CascadeSpec, OpenRung, Rung, choose_rungs


@dataclass
class Sure:
    """A student that is as sure as the text's number for it says."""

    kind: str
    place: int
    signal_names: tuple[str, ...] = ("top",)

    def answer(self, input: Input) -> tuple[str, tuple[float, ...]]:
        return self.kind, (float(input.text.split()[self.place]),)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        answers = [self.answer(input) for input in inputs]
        return Predictions([answer for answer, _ in answers], np.array([signals for _, signals in answers]))


shares = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=20), shares, shares)
def test_the_first_sure_rung_answers(rows: list[tuple[float, float]], first: float, second: float) -> None:
    cascade = Cascade(
        rungs=tuple(
            OpenRung(student=Sure(name, place), confidence=lambda signals: signals[0], threshold=threshold)
            for place, (name, threshold) in enumerate([("a", first), ("b", second)])
        )
    )
    chosen = choose_rungs(np.array(rows).T, [first, second])
    for row, rung in zip(rows, chosen, strict=True):
        decision = cascade.decide(Input(f"{row[0]!r} {row[1]!r}"))
        assert decision.rung == (INCUMBENT if rung < 0 else "ab"[rung])
        assert (decision.answer is None) == (rung < 0)


def test_no_rungs_escalate_everything() -> None:
    assert Cascade(rungs=()).decide(Input("x")).rung == INCUMBENT
    assert choose_rungs(np.zeros((0, 3)), []).tolist() == [-1, -1, -1]


def test_a_cascades_hash_moves_with_its_thresholds() -> None:
    def spec(threshold: float) -> CascadeSpec:
        return CascadeSpec(task="t", rungs=(Rung(kind="a", artefact="h", calibrator={}, threshold=threshold),))

    assert spec(0.5).digest == spec(0.5).digest != spec(0.51).digest


@given(shares)
def test_a_student_that_says_it_has_no_answer_is_never_accepted(other: float) -> None:
    """Confidence 0 says so, whatever the threshold: the last one of every path is 0."""
    cascade = Cascade(
        rungs=tuple(
            OpenRung(student=Sure(name, place), confidence=lambda signals: signals[0], threshold=0.0)
            for place, name in enumerate("ab")
        )
    )
    text = Input(f"0.0 {other!r}")
    expected = "b" if other > 0.0 else INCUMBENT
    assert cascade.decide(text).rung == cascade.decide_many([text, text])[1].rung == expected
    assert cascade.insist(text).rung == expected
    assert choose_rungs(np.array([[0.0], [other]]), [0.0, 0.0]).tolist() == [1 if other > 0.0 else -1]


@dataclass
class Reader:
    """A student that answers with the passage that shares most words with the last message, as sure as that share."""

    kind: str = "reader"
    signal_names: tuple[str, ...] = ("top",)

    def answer(self, input: Input) -> tuple[str, tuple[float, ...]]:
        words = set(str(input.messages[-1]["content"]).lower().split())
        best = max(input.passages, key=lambda passage: len(words & set(passage.text.lower().split())))
        return best.text, (len(words & set(best.text.lower().split())) / len(words),)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        answers = [self.answer(input) for input in inputs]
        return Predictions([answer for answer, _ in answers], np.array([signals for _, signals in answers]))


def test_a_student_reads_the_request_and_the_passages_whichever_way_it_is_asked() -> None:
    cascade = Cascade(rungs=(OpenRung(student=Reader(), confidence=lambda signals: signals[0], threshold=0.5),))
    passages = (Passage("The desk opens at nine"), Passage("Books are due on Friday"))
    messages = [{"role": "system", "content": "Books"}, {"role": "user", "content": "when are books due"}]
    asked = Input("", {"messages": messages}, passages)
    unsure = Input("who wrote this novel then", passages=passages)
    decided = cascade.decide_many([asked, unsure, asked])
    assert [each.answer for each in decided] == ["Books are due on Friday", None, "Books are due on Friday"]
    assert cascade.decide(asked) == decided[0]
    assert cascade.insist(asked) == decided[0]
