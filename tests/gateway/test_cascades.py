"""Threads that answer: each input gets its own answer, whole, masked where the contract says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from stepdown.core.inputs import Input
from stepdown.core.students import Predictions
from stepdown.gateway.cascades import OpenCascade, RungThreads, StudentFailed
from stepdown.runtime.cascade import Cascade, Decision, OpenRung


class LastMessage:
    """A student that repeats the last message of the request, and is sure of what is no shorter than three letters."""

    kind = "echo"
    signal_names = ("top",)

    def answer(self, input: Input) -> tuple[str, tuple[float, ...]]:
        content = str(input.messages[-1]["content"])
        return content, (len(content) / 3.0,)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        answers = [self.answer(input) for input in inputs]
        return Predictions([answer for answer, _ in answers], np.array([signals for _, signals in answers]))


def request(content: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def decided(inputs: list[Input], insist: bool = False, mask: Callable[[str], str] | None = None) -> list[Decision]:
    async def all_of_them() -> list[Decision]:
        threads = RungThreads(asyncio.get_running_loop(), threads=2)
        cascade = Cascade((OpenRung(LastMessage(), lambda signals: min(1.0, signals[0]), 0.9),))
        decide = OpenCascade(cascade, threads, mask)
        try:
            return list(await asyncio.gather(*(decide(input, insist) for input in inputs)))
        finally:
            threads.close()

    return asyncio.run(all_of_them())


def test_each_input_gets_its_own_answer_from_its_own_request() -> None:
    inputs = [Input("the variable part", request(f"letter {number}")) for number in range(200)]
    assert [each.answer for each in decided(inputs)] == [f"letter {number}" for number in range(200)]
    assert decided([Input("only a text")])[0].answer == "only a text"


def test_what_no_rung_is_sure_of_is_answered_only_where_it_must_be() -> None:
    asked = [Input("a", request("no"))]
    assert decided(asked)[0].answer is None
    assert decided(asked, insist=True)[0].answer == "no"


def test_the_whole_request_is_masked_where_students_learned_from_masked_texts() -> None:
    inputs = [Input("I am Ann", request("I am Ann"))]
    for insist in (False, True):
        assert decided(inputs, insist, lambda text: text.replace("Ann", "[NAME]"))[0].answer == "I am [NAME]"
    assert inputs[0].messages[0]["content"] == "I am Ann"


def test_a_student_that_fails_fails_for_its_own_input() -> None:
    with pytest.raises(StudentFailed, match="IndexError"):
        decided([Input("", {"messages": []})])
