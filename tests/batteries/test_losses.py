"""Every loss, unasked: its worked cases, its range, what it says of its own support and triangle."""

from __future__ import annotations

import itertools

import pytest

from stepdown.core.family import all_losses, families, loss_kinds, loss_named, losses_of

NAMES = loss_kinds().names()


@pytest.mark.parametrize("name", NAMES)
def test_worked_cases_and_range(name: str) -> None:
    kind = loss_kinds().load(name)
    assert kind.examples()
    for each in kind.examples():
        assert kind.of(each.answer, each.reference) == pytest.approx(each.expected)
        assert kind.of(each.reference, each.reference) == 0.0
        assert kind.of(None, each.reference) == 1.0
    answers = [each.answer for each in kind.examples()] + [each.reference for each in kind.examples()]
    for one, two, three in itertools.product(answers, repeat=3):
        loss = kind.of(one, two)
        assert 0.0 <= loss <= 1.0
        assert kind.SUPPORT == "bounded" or loss in (0.0, 1.0)
        assert not kind.TRIANGLE or kind.of(one, three) <= loss + kind.of(two, three) + 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_can_name_it_for_each_of_its_families(name: str) -> None:
    kind = loss_kinds().load(name)
    assert kind.FAMILIES
    for family in kind.FAMILIES:
        assert loss_named(family, name.replace("_", "-")).noun == kind.NOUN != ""


@pytest.mark.parametrize("family", families().names())
def test_a_family_names_one_of_its_own(family: str) -> None:
    assert loss_named(family).name == families().load(family).LOSS
    assert losses_of(family).keys() <= all_losses().keys()
