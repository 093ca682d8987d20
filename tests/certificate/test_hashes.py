"""A contract's hash is what certificates of every age name it by."""

from __future__ import annotations

import pytest

from stepdown.certificate.hashes import UNREADABLE, contract_hash, contract_table, read_contract
from stepdown.core.contract import Contract

BEFORE_LOSSES_HAD_NAMES = {
    Contract(): "af396840f434f4ae5232c2562a27ba7f767cc8fb70ed04ad502cf22c361abb0a",
    Contract(margin=0.03, slices=("label",)): "889b9a1261a95d8df1111a8aae3fb556a1bf8c4da780a3980e5e11b6b5c9c7e3",
}
"""Computed by the version before `loss` became a key of the contract."""


@pytest.mark.parametrize("contract", BEFORE_LOSSES_HAD_NAMES, ids=["default", "slices"])
def test_a_younger_key_that_demands_nothing_leaves_the_hash_as_it_was(contract: Contract) -> None:
    assert contract_hash(contract) == BEFORE_LOSSES_HAD_NAMES[contract]
    assert "loss" not in contract_table(contract)


def test_a_named_loss_is_another_contract_and_can_be_read_back() -> None:
    named = Contract(loss="field-f1")
    assert contract_hash(named) != contract_hash(Contract())
    assert contract_hash(contract_table(named)) == contract_hash(named)
    assert read_contract(contract_table(named)) == Contract(loss="field-f1", holdback=0.0)


def test_the_holdback_is_part_of_a_contract_about_cost_and_of_no_other() -> None:
    assert contract_hash(Contract(holdback=0.1)) == contract_hash(Contract(holdback=0.2))
    dear = Contract(cost_per_1k=1.0, holdback=0.1)
    assert contract_hash(dear) != contract_hash(Contract(cost_per_1k=1.0, holdback=0.2))
    assert contract_hash(contract_table(dear)) == contract_hash(dear)


def test_what_is_no_contract_has_no_hash() -> None:
    assert contract_hash({"margin": "much"}) == UNREADABLE
