"""Units: groups of calls that depend on one another; units are independent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.contract import METADATA
from stepdown.core.dataset import Example
from stepdown.core.errors import ContractError
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome

CALL, CLIENT, NEAR_DUPLICATE = "call", "client_id", "near-duplicate"

CONVERSATIONS = (
    "conversation_id",
    "conversation",
    "session_id",
    "session",
    "thread_id",
    "thread",
    "chat_id",
    "dialogue_id",
    "document_id",
    "document",
    "ticket_id",
    "case_id",
    "trace_id",
)
"""Names of metadata by which calls of one conversation or document are known."""

COVERED = 0.5
"""The share of the calls that must carry a name for it to be taken for the unit unasked."""

NEAR = 20
"""Calls this close in time order count as close together."""

BURSTS = 0.05
"""The share of calls, beyond chance, that follow closely on one like them, from which such calls are one unit."""

ALIKE = 0.15
"""The share of calls in groups of look-alikes, none of them popular, from which such groups are units. Real traffic of
short questions has about 5 %."""

POPULAR, LARGEST_ALIKE = 0.02, 0.01
"""Up to this share of word-for-word repeats, and of calls in the largest group, no input counts as popular."""

MOST_CHARACTERS = 200


def unit_names(call: Call, input_text: str) -> dict[str, str]:
    """The values that a call has for each unit that it may belong to, by the name of the unit."""
    names = {CLIENT: call.client_id} if input_text == CLIENT and call.client_id else {}
    metadata = call.request.get("metadata")
    if isinstance(metadata, dict):
        wanted = (input_text.removeprefix(METADATA),) if input_text.startswith(METADATA) else CONVERSATIONS
        names |= {METADATA + name: _text(metadata[name]) for name in wanted if _is_named(metadata.get(name))}
    return names


def units(examples: list[Example], options: CurationOptions) -> Outcome:
    """Every example with its unit: as the contract says, else inferred. A call that does not name its unit is a unit by
    itself.

    Inferred is, in this order: a conversation or document, where most calls name one and share it with others; the
    group of near-duplicates, where calls that say almost the same come in bursts; else the call.
    """
    unit, why = (options.unit, "the contract names it") if options.unit else _infer(examples, options.unit_names)
    if options.unit:
        _check_named(examples, unit, options.unit_names)
    options.seen.unit = unit
    marked = [
        msgspec.structs.replace(example, unit=_unit_of(example, unit, options.unit_names)) for example in examples
    ]
    sizes = Counter(example.unit for example in marked)
    findings: dict[str, Any] = {
        "unit": unit,
        "why": why,
        "units": len(sizes),
        "largest_unit": max(sizes.values(), default=0),
    }
    return Outcome(marked, findings=findings)


def _check_named(examples: list[Example], unit: str, names: Mapping[str, Mapping[str, str]]) -> None:
    """Raise ContractError for a unit that hardly any call names: each call would count as independent."""
    if unit in (CALL, NEAR_DUPLICATE) or not examples:
        return
    named = sum(unit in names.get(example.id, {}) for example in examples)
    if named < COVERED * len(examples):
        raise ContractError(
            f"The contract has unit = {unit!r}; {named:,} of {len(examples):,} calls name one.",
            "A unit is read from a call's client_id, or from the metadata of its request.",
            "Correct the name, or record it with the calls; a call that names none would count as independent.",
        )


def _infer(examples: list[Example], names: Mapping[str, Mapping[str, str]]) -> tuple[str, str]:
    for name in (METADATA + each for each in CONVERSATIONS):
        values = [names[example.id][name] for example in examples if name in names.get(example.id, {})]
        if len(values) >= COVERED * len(examples) and len(set(values)) < len(values):
            return name, f"{len(values):,} of {len(examples):,} calls name {len(set(values)):,} of them"
    bursts = share_in_bursts(examples)
    if bursts > BURSTS:
        return NEAR_DUPLICATE, f"{bursts:.0%} of the calls follow closely on one that says almost the same"
    alike = share_alike(examples)
    if alike > ALIKE:
        return NEAR_DUPLICATE, f"{alike:.0%} of the calls say almost the same as others, and none the very same again"
    return CALL, "no call names a conversation, and calls that say almost the same do not come in bursts"


def share_in_bursts(examples: list[Example]) -> float:
    """The share of calls that come within `NEAR` calls after one of their own group, less what chance would bring.

    In traffic whose calls are independent, a popular input comes again at any time; in a burst (retries, one incident
    reported by many) its repetitions follow one another, and are not independent of one another.
    """
    count = len(examples)
    if count <= NEAR:
        return 0.0
    last: dict[str, int] = {}
    close = 0
    sizes: dict[str, int] = defaultdict(int)
    for place, example in enumerate(sorted(examples, key=lambda example: (example.timestamp, example.id))):
        before = last.get(example.group)
        close += before is not None and place - before <= NEAR
        last[example.group] = place
        sizes[example.group] += 1
    # A call of a group of s has none of the other s − 1 among the NEAR calls before it with about this chance.
    chance = sum(size * (1.0 - (1.0 - NEAR / count) ** (size - 1)) for size in sizes.values())
    return (close - chance) / count


def share_alike(examples: list[Example]) -> float:
    """The share of calls in groups of several wordings, where no input is popular; 0 where some is.

    A popular input comes again word for word, and some groups are then large. Many small groups of look-alikes without
    that are things that were each asked a few times (a mail and its follow-ups, a form filled in again).
    """
    texts: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        texts[example.group].add(example.text)
    sizes = Counter(example.group for example in examples)
    repeats = len(examples) - sum(len(text) for text in texts.values())
    if repeats > POPULAR * len(examples) or max(sizes.values(), default=0) > LARGEST_ALIKE * len(examples):
        return 0.0
    return sum(count for group, count in sizes.items() if len(texts[group]) > 1) / len(examples)


def _unit_of(example: Example, unit: str, names: Mapping[str, Mapping[str, str]]) -> str:
    if unit == CALL:
        return example.id
    if unit == NEAR_DUPLICATE:
        return f"group {example.group}"
    named = names.get(example.id, {}).get(unit)
    return f"call {example.id}" if named is None else f"unit {named}"


def _is_named(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _text(value: str | int) -> str:
    return str(value)[:MOST_CHARACTERS]


def whole_units(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """The examples of each unit."""
    units_by_name: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        units_by_name[example.unit].append(example)
    return units_by_name
