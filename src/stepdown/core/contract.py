"""The contract: what the user demands of a step-down. Parsed from plain dictionaries; nothing is read here."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar

import msgspec

from stepdown.core.errors import ContractError, nearest
from stepdown.core.limits import Limits
from stepdown.core.tasks import Match
from stepdown.core.vocabulary import GoldReading, Spelling

Evidence = Literal["gold", "judged", "agreement"]
Privacy = Literal["any", "redact", "local-only"]

T = TypeVar("T")

UNITS = ("call", "client_id", "near-duplicate")
METADATA = "metadata."

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _check(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise ContractError(f"The contract has {key} = {value!r}.", f"Expected {expected}.", f"Change {key}.")


def is_unit(name: str) -> bool:
    """Whether a contract may name this as the unit of independence; "" infers it."""
    return name in ("", *UNITS) or (name.startswith(METADATA) and len(name) > len(METADATA))


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Margin, confidence and the other promises a cascade must keep. Losses in [0, 1]; costs in USD.

    margin: at most this much more expected loss than the incumbent. against: the kind of evidence. loss: which of the
    family's losses that is about; "" for its first.
    slices: "label", "field", or the name of a slot or of a metadata field; each must hold within `slice_margin`.
    expires_after_s: a certificate lapses after this many seconds.
    unit: what is independent of one another: "call", "client_id", "metadata.NAME", "near-duplicate"; "" infers it.
    holdback: the share of requests, drawn at random, that always goes to the incumbent. It says how evidence is
    collected, not what is promised, so that a certificate does not depend on it.
    dearest_call_usd: the most that one request to the incumbent can cost, on which the test of the cost rests; None
    takes twice the dearest call outside of the evidence.
    """

    margin: float = 0.02
    confidence: float = 0.95
    against: Evidence = "gold"
    latency_p95_ms: float | None = None
    cost_per_1k: float | None = None
    privacy: Privacy = "any"
    slices: tuple[str, ...] = ()
    slice_margin: float = 0.10
    expires_after_s: float = 30 * 86400.0
    loss: str = ""
    unit: str = ""
    holdback: float = 0.02
    dearest_call_usd: float | None = None

    def __post_init__(self) -> None:
        _check(0.0 <= self.margin < 1.0, "margin", self.margin, "a number in [0, 1)")
        _check(0.5 <= self.confidence < 1.0, "confidence", self.confidence, "a number in [0.5, 1)")
        _check(0.0 < self.slice_margin <= 1.0, "slice_margin", self.slice_margin, "a number in (0, 1]")
        _check(self.expires_after_s > 0, "expires_after", self.expires_after_s, 'a duration such as "30d"')
        _check(0.0 <= self.holdback <= 1.0, "holdback", self.holdback, "a share in [0, 1]")
        _check(is_unit(self.unit), "unit", self.unit, f'one of {", ".join(UNITS)} or "metadata.NAME"')
        for name in ("latency_p95_ms", "cost_per_1k", "dearest_call_usd"):
            value = getattr(self, name)
            _check(value is None or value > 0, name, value, "a positive number")


class TaskSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[tasks.NAME]` table of stepdown.toml.

    incumbent: the model to ask upstream for where a client named an alias; "" asks for what the client named.
    cache: how long an exact repetition is answered from memory ("10m"), "" for not at all. limits: of all keys at once.
    gold_map, gold_spelling, trust_gold: how the labels of gold are read (docs/contract.md).
    kinds: of students to train, empty for every one that can answer the family. students: their options by kind, where
    what follows from contract, data and budget is to be overridden.
    """

    family: str = ""
    match: Match = Match()
    answer: str = ""
    incumbent: str = ""
    cache: str = ""
    limits: Limits = Limits()
    contract: Contract = Contract()
    gold_map: dict[str, str] = {}
    gold_spelling: Spelling = "exact"
    trust_gold: bool = False
    kinds: tuple[str, ...] = ()
    students: dict[str, dict[str, Any]] = {}

    def __post_init__(self) -> None:
        if self.cache:
            parse_duration(self.cache)

    @property
    def gold_reading(self) -> GoldReading:
        """How the labels of gold are read."""
        return GoldReading(map=self.gold_map, spelling=self.gold_spelling, trusted=self.trust_gold)

    @property
    def cache_s(self) -> float | None:
        """How long an answer may be repeated, in seconds; None where answers are not kept."""
        return parse_duration(self.cache) if self.cache else None


def parse_contract(table: dict[str, Any], where: str = "contract") -> Contract:
    """A contract from a table. Raises ContractError: an unknown key (with the nearest), a wrong type or value."""
    return _convert({**table, **_expiry(table, where)}, Contract, where)


def parse_task_settings(name: str, table: dict[str, Any]) -> TaskSettings:
    """A task's settings from its table. Raises ContractError."""
    where = f"tasks.{name}"
    contract = table.get("contract", {})
    if not isinstance(contract, dict):
        raise ContractError(f"[{where}] has contract = {contract!r}.", "It must be a table.", "Write it as a table.")
    contract = {**contract, **_expiry(contract, f"{where}.contract")}
    contract.pop("expires_after", None)
    check_keys(contract, Contract, f"{where}.contract")
    if isinstance(table.get("match"), dict):
        check_keys(table["match"], Match, f"{where}.match")
    if isinstance(table.get("limits"), dict):
        check_keys(table["limits"], Limits, f"{where}.limits")
    return _convert({**table, "contract": contract}, TaskSettings, where)


def duration_text(seconds: float) -> str:
    """As `parse_duration` reads it, in the largest unit that it is a whole number of."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if (seconds / size).is_integer():
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def parse_duration(text: str) -> float:
    """Seconds in "90s", "10m", "12h" or "30d". Raises ContractError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", text)
    if not found or float(found[1]) <= 0:
        raise ContractError(
            f"{text!r} is not a duration.",
            "Expected a positive number and a unit: s, m, h or d.",
            'For example "90s" or "10m".',
        )
    return float(found[1]) * _UNITS[found[2]]


def _expiry(table: dict[str, Any], where: str) -> dict[str, Any]:
    if "expires_after" not in table:
        return {}
    value = table["expires_after"]
    if not isinstance(value, str):
        raise ContractError(
            f"[{where}] has expires_after = {value!r}.",
            "Expected a duration in quotes.",
            'For example expires_after = "30d".',
        )
    return {"expires_after_s": parse_duration(value)}


def _convert(table: dict[str, Any], kind: type[T], where: str) -> T:
    table = {key: value for key, value in table.items() if key != "expires_after"}
    check_keys(table, kind, where)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ContractError(
            f"[{where}] cannot be read: {error}.",
            "docs/contract.md lists every key, its type and its range.",
            "Correct that key.",
        ) from None


def check_keys(table: dict[str, Any], kind: type[Any], where: str) -> None:
    """Raises ContractError for a key that `kind` does not have, with the nearest one."""
    allowed = [field.name for field in msgspec.structs.fields(kind)]
    if "expires_after_s" in allowed:
        allowed = [*allowed, "expires_after"]
    for key in table:
        if key not in allowed:
            shown = [name for name in allowed if name != "expires_after_s"]
            close = nearest(key, shown)
            raise ContractError(
                f"[{where}] has the unknown key {key!r}.",
                f"Known keys: {', '.join(shown)}.",
                f"Did you mean {close!r}?" if close else "Remove it.",
            )
