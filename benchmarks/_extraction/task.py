"""A data set as a task: rows of text with their right answers, and the calls and gold that they become.

The recorded incumbent of these tasks is the data set's own annotation (but for tau_bench): it is never wrong against
gold, so that a student's excess loss is its whole loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
SpanOf = tuple[str, int, int]
"""A field's name, and where its value starts and ends in the row's text, in characters."""

MODEL = "gpt-4o-2024-08-06"
STARTED = 1_760_000_000
SECONDS_APART = 60


@dataclass(frozen=True)
class Row:
    """One input with its right answer. text: what spans point into. more: other slots of the prompt.

    split: for gold's split column; "" lets stepdown choose. group: rows that belong together, such as a conversation.
    """

    id: str
    text: str
    answer: Answer
    spans: tuple[SpanOf, ...] = ()
    more: dict[str, str] = field(default_factory=dict)
    split: str = ""
    group: str = ""
    reply: str = ""


@dataclass(frozen=True)
class Task:
    """system: the instructions. user: the prompt, with {text} and the names of other slots. asks: what a request states
    beside its messages (response_format or tools). decision: the field that says which intent, or tool. values: what
    the names of all other fields begin with. contract: what stepdown.toml demands. notes: how the data were read.
    """

    name: str
    system: str
    user: str
    asks: dict[str, Any]
    rows: tuple[Row, ...]
    decision: str = ""
    values: str = ""
    contract: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def has_tools(self) -> bool:
        return "tools" in self.asks

    def of(self, split: str) -> list[Row]:
        return [row for row in self.rows if row.split == split]

    def request(self, row: Row) -> dict[str, Any]:
        """The chat.completions body that asks about a row."""
        user = self.user.replace("{text}", row.text)
        for name, value in row.more.items():
            user = user.replace("{" + name + "}", value)
        messages = [{"role": "system", "content": self.system}, {"role": "user", "content": user}]
        return {"model": MODEL, "temperature": 0, "messages": messages, **self.asks}

    def message(self, row: Row) -> dict[str, Any]:
        """The incumbent's message: JSON text, a tool call, or a reply in words."""
        if not self.has_tools:
            return {"role": "assistant", "content": json.dumps(row.answer, ensure_ascii=False)}
        if not row.answer:
            return {"role": "assistant", "content": row.reply}
        arguments = json.dumps(row.answer.get("arguments", {}), ensure_ascii=False)
        call = {
            "id": f"call_{row.id}",
            "type": "function",
            "function": {"name": row.answer["tool"], "arguments": arguments},
        }
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    def call(self, row: Row, number: int) -> dict[str, Any]:
        """A line of native traffic."""
        message = self.message(row)
        reason = "tool_calls" if "tool_calls" in message else "stop"
        request = self.request(row)
        asked = sum(len(each["content"]) for each in request["messages"]) + len(json.dumps(self.asks))
        usage = {"prompt_tokens": asked // 4, "completion_tokens": max(1, len(json.dumps(message)) // 4)}
        return {
            "id": row.id,
            "timestamp": STARTED + SECONDS_APART * number,
            "client_id": row.group or "bench",
            "workload_id": self.name,
            "request": request,
            "response": {
                "id": f"r-{row.id}",
                "object": "chat.completion",
                "model": MODEL,
                "choices": [{"index": 0, "finish_reason": reason, "message": message}],
                "usage": usage,
            },
        }


def write_traffic(task: Task, rows: Iterable[Row], path: Path) -> None:
    """JSONL of calls, a minute apart in the order of the rows. Usage is reckoned at four characters a token."""
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            file.write(json.dumps(task.call(row, number), ensure_ascii=False) + "\n")


def write_gold(rows: Iterable[Row], path: Path) -> None:
    """JSONL of id, gold and split."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {"id": row.id, "gold": row.answer} | ({"split": row.split} if row.split else {})
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def json_schema(name: str, properties: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """A response_format that states a schema."""
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}


def one_or_more(many: bool) -> dict[str, Any]:
    """The schema of a text, or of a list of texts."""
    return {"type": "array", "items": {"type": "string"}} if many else {"type": "string"}
