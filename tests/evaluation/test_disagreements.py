from __future__ import annotations

import numpy as np
import pytest

from stepdown.core.dataset import Example
from stepdown.evaluation.disagreements import MAX_TEXT_CHARACTERS, pick_disagreements


def test_real_ones_are_diverse_sure_and_show_every_outcome(banking_test: list[Example]) -> None:
    generator = np.random.default_rng(1)
    others = sorted({str(each.gold) for each in banking_test})
    answers = [each.gold if generator.random() < 0.8 else str(generator.choice(others)) for each in banking_test]
    found = pick_disagreements(banking_test, answers, generator.random(len(answers)), "classify", limit=20)
    assert len(found) == 20
    assert len({(each.incumbent, each.student) for each in found}) == 20
    assert all(each.student != each.incumbent for each in found)
    right = [each.student == each.gold for each in found]
    theirs = [each.incumbent == each.gold for each in found]
    assert any(right)
    assert any(theirs)
    assert not all(a or b for a, b in zip(right, theirs, strict=True))
    assert np.mean([each.confidence for each in found]) > 0.7


def test_without_gold_the_surest_of_each_pair_come_first() -> None:
    examples = [Example(id=str(n), input=f"t{n}", incumbent="b") for n in range(5)]
    found = pick_disagreements(examples, ["a", "a", "c", "b", None], [0.6, 0.9, 0.7, 1.0, 1.0], "classify")
    assert [each.id for each in found] == ["1", "2", "0"]
    assert all(each.gold is None for each in found)


def test_long_texts_are_cut_and_lengths_must_match() -> None:
    long = Example(id="1", input="x" * 9000, incumbent="b")
    (found,) = pick_disagreements([long], ["a"], [0.5], "classify")
    assert len(found.text) < MAX_TEXT_CHARACTERS + 5
    with pytest.raises(ValueError, match="confidences"):
        pick_disagreements([long], ["a"], [], "classify")
