"""How extracted answers are counted, written here anew so that the house's own metrics are not what judges them.

By value: an answer is the multiset of its (field, value) pairs, an item of a list being a pair of its own. By span: the
values are found again in the text, left to right, and count where field, start and end all agree (as CoNLL and seqeval
count entities). A value that stands in the text twice can be right by value and wrong by span.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._extraction.task import Answer, Row, SpanOf, Task


@dataclass(frozen=True)
class Counts:
    """What was right of what was said and of what is so."""

    right: int = 0
    said: int = 0
    true: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.right + other.right, self.said + other.said, self.true + other.true)

    @property
    def f1(self) -> float:
        """Micro F1; 1 where nothing was to be said and nothing was."""
        return 2 * self.right / (self.said + self.true) if self.said + self.true else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else 1.0


def compare(said: Iterable[Any], true: Iterable[Any]) -> Counts:
    """Counts of two multisets."""
    one, other = Counter(said), Counter(true)
    return Counts((one & other).total(), one.total(), other.total())


def pairs(answer: Answer | None, prefix: str = "") -> list[tuple[str, str]]:
    """Every (field, value) of an answer whose field's name begins with `prefix`; values as JSON."""
    found: list[tuple[str, str]] = []
    _collect(answer or {}, "", found)
    return [pair for pair in found if pair[0].startswith(prefix)]


def _collect(value: Any, name: str, found: list[tuple[str, str]]) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            _collect(each, f"{name}.{key}" if name else key, found)
    elif isinstance(value, list):
        found += [(name, json.dumps(each, sort_keys=True, ensure_ascii=False)) for each in value]
    else:
        found.append((name, json.dumps(value, ensure_ascii=False)))


def find_spans(text: str, answer: Answer | None, prefix: str = "") -> list[SpanOf]:
    """Where an answer's values stand in a text: each at its first place, whole words first, that no earlier value of
    its field has; (field, −1, its number) for one that stands nowhere."""
    found: list[SpanOf] = []
    for number, (name, written) in enumerate(pairs(answer, prefix)):
        value = json.loads(written)
        start = _place(text, value, {span[1] for span in found if span[0] == name}) if isinstance(value, str) else -1
        found.append((name, start, start + len(value)) if start >= 0 else (name, -1, number))
    return found


def _place(text: str, value: str, taken: set[int]) -> int:
    places, at = [], text.find(value)
    while at >= 0 and value:
        places.append(at)
        at = text.find(value, at + 1)
    free = [place for place in places if place not in taken]
    whole = [place for place in free if _is_whole(text, place, place + len(value))]
    return next(iter(whole or free), -1)


def _is_whole(text: str, start: int, end: int) -> bool:
    before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    after = end < len(text) and text[end - 1].isalnum() and text[end].isalnum()
    return not (before or after)


@dataclass(frozen=True)
class Figures:
    """Of n answers. decision: accuracy of the field that decides (intent, tool), None where there is none."""

    n: int
    exact: float
    decision: float | None
    values: Counts
    spans: Counts


def judge(task: Task, rows: Sequence[Row], answers: Sequence[Answer | None]) -> Figures:
    """Answers against the right ones; None is wrong in everything."""
    values, spans, exact, decided = Counts(), Counts(), 0, 0
    for row, answer in zip(rows, answers, strict=True):
        values += compare(pairs(answer, task.values), pairs(row.answer, task.values))
        spans += compare(find_spans(row.text, answer, task.values), row.spans)
        exact += answer == row.answer
        decided += answer is not None and answer.get(task.decision) == row.answer.get(task.decision)
    n = max(1, len(rows))
    return Figures(len(rows), exact / n, decided / n if task.decision else None, values, spans)


def schema_of(task: Task, answer: Answer) -> dict[str, Any] | None:
    """The JSON schema that what is said has to keep; None for a reply in words or a tool that there is not."""
    if not task.has_tools:
        schema: dict[str, Any] = task.asks["response_format"]["json_schema"]["schema"]
        return schema
    tools = {each["function"]["name"]: each["function"]["parameters"] for each in task.asks["tools"]}
    return tools.get(answer.get("tool", ""))
