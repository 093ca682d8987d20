"""Traits of the fields of a sample of answers, by which a task is known to be extraction."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import canonical_object, flat
from stepdown.core.extraction.messages import is_confidence, raw_answer
from stepdown.core.extraction.numerals import WORDS

COMMON = 0.02
"""Of the answers, that have a field; rarer ones tell nothing of the task."""
MOSTLY = 0.6


@dataclass(frozen=True)
class InformativeFields:
    """Counts of informative fields: closed, or copied from the input. Constants and confidences do not count."""

    closed: int
    copied: int

    @property
    def more_than_a_label(self) -> bool:
        """Whether answers hold more than one label: a second field, or a piece of the input."""
        return self.copied > 0 or self.closed > 1


def is_more_than_a_label(calls: Sequence[Call]) -> bool:
    """Whether most answers are JSON objects of several fields that say something, or of pieces of their input."""
    rows = [(last_message_text(call), raw) for call in calls if (raw := raw_answer(call, False)) is not None]
    return len(rows) * 2 > len(calls) and count_informative_fields(rows)[0].more_than_a_label


def last_message_text(call: Call) -> str:
    """The text of the last message, where inputs mostly stand."""
    messages = call.request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    return content if isinstance(content, str) else ""


def count_informative_fields(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[InformativeFields, float]:
    """rows: what was asked, and the answer. The fields that say something, and the share of answers with free text:
    values that are nearly always new and do not stand in what was asked."""
    columns: dict[str, list[tuple[int, str, Any]]] = defaultdict(list)
    for row, (text, answer) in enumerate(rows):
        for name, value in flat(canonical_object(answer) or {}).items():
            if not is_confidence(name, value):
                columns[name].append((row, text.casefold(), value))
    closed = copied = 0
    free: set[int] = set()
    for column in columns.values():
        if len(column) < COMMON * len(rows):
            continue
        distinct = len({canonical_json(value) for _, _, value in column})
        stands = sum(_stands(value, text) for _, text, value in column) >= MOSTLY * len(column)
        if distinct * 2 <= max(4, len(column)):
            # What every answer has with the same value decides nothing.
            closed += distinct > 1 or len(column) < len(rows)
        elif stands:
            copied += 1
        else:
            free.update(row for row, _, _ in column)
    return InformativeFields(closed, copied), len(free) / max(1, len(rows))


def _stands(value: Any, text: str) -> bool:
    """Roughly: in any case, a list's values each; of a number or a date one of its figures is enough."""
    if isinstance(value, list):
        return all(_stands(item, text) for item in value)
    if isinstance(value, bool | dict):
        return False
    if isinstance(value, str) and value.casefold() in text:
        return True
    figures = re.findall(r"\d+", str(value), re.ASCII)
    if figures:
        return any(figure.lstrip("0") in text for figure in figures) or bool(re.search(WORDS, text))
    return False
