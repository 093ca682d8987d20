"""Hashes of the contract and the cascade that a certificate holds as tables; a table and its value hash alike."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.contract import Contract
from stepdown.core.errors import ContractError
from stepdown.runtime.cascade import CascadeSpec

UNREADABLE = "unreadable"
_YOUNGER = ("loss", "unit", "dearest_call_usd")


def contract_hash(contract: Contract | dict[str, Any]) -> str:
    """The hash of a contract or of its table; 20 and 20.0 are one number. UNREADABLE for what is no contract."""
    read = contract if isinstance(contract, Contract) else read_contract(contract)
    return UNREADABLE if read is None else digest_of(contract_table(read))


def contract_table(contract: Contract) -> dict[str, Any]:
    """A contract as a certificate carries it. A key that is younger than the format is left out where it demands
    nothing, so that older certificates keep their hashes. `holdback` costs, and demands nothing else of a cascade."""
    table: dict[str, Any] = msgspec.to_builtins(msgspec.convert(msgspec.to_builtins(contract), Contract))
    if table["cost_per_1k"] is None or table["privacy"] == "local-only" or not table["holdback"]:
        del table["holdback"]
    for younger in _YOUNGER:
        if not table[younger]:
            del table[younger]
    return table


def cascade_hash(cascade: CascadeSpec | dict[str, Any]) -> str:
    """The hash of a cascade or of its table; UNREADABLE for what is no cascade."""
    return _hash(cascade, CascadeSpec)


def read_contract(table: dict[str, Any]) -> Contract | None:
    """The contract in a certificate's table, or None. One that names no holdback charged none."""
    try:
        return msgspec.convert({"holdback": 0.0, **table}, Contract)
    except (msgspec.ValidationError, ContractError, TypeError):
        return None


def _hash(value: Any, kind: type[Any]) -> str:
    try:
        return digest_of(msgspec.convert(msgspec.to_builtins(value), kind))
    except (msgspec.ValidationError, ContractError, TypeError):
        return UNREADABLE
