"""Calls and examples made by hand, and the shipped banking traffic."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepdown.core.calls import Call
from stepdown.core.dataset import Example
from stepdown.core.store import Gold
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template

BEFORE, AFTER = "New Question: ", "\n\n==="


@dataclass(frozen=True)
class Banking:
    """13,083 real calls with their gold."""

    calls: list[Call]
    gold: dict[str, Gold]
    task: Task


@pytest.fixture(scope="session")
def banking(shared_data: Path) -> Banking:
    folder = shared_data / "banking77_qwen3"
    decoder = msgspec.json.Decoder(Call)
    with gzip.open(folder / "traffic.jsonl.gz") as lines:
        calls = [
            msgspec.structs.replace(decoder.decode(line), source=f"traffic.jsonl.gz:{number}")
            for number, line in enumerate(lines, 1)
        ]
    with (folder / "gold.csv").open(newline="", encoding="utf-8") as file:
        gold = {row["id"]: Gold(id=row["id"], gold=row["gold"], split=row["split"]) for row in csv.DictReader(file)}
    prompt = calls[0].request["messages"][0]["content"]
    start = prompt.index(BEFORE) + len(BEFORE)
    end = prompt.index(AFTER, start)
    parts = (Part(text=prompt[:start]), Part(slot="query"), Part(text=prompt[end:]))
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    task = Task(
        name="banking-intent",
        family="classify",
        match=Match(workload="banking-intent"),
        template=template,
        answer="$.category",
    )
    return Banking(calls, gold, task)


@pytest.fixture
def task() -> Task:
    return Task(name="plain", family="classify", match=Match())


@pytest.fixture
def make_call() -> Callable[..., Call]:
    def make(id: str, text: Any, answer: str | None, **fields: Any) -> Call:
        message = {"role": "assistant", "content": answer} | fields.pop("message", {})
        request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]} | fields.pop("request", {})
        response = {"choices": [{"message": message}]} if "response" not in fields else fields.pop("response")
        return Call(id=id, request=request, response=response, **fields)

    return make


@pytest.fixture
def make_example() -> Callable[..., Example]:
    def make(id: str, text: str, incumbent: str | None = "a", **fields: Any) -> Example:
        return Example(id=id, input=text, incumbent=incumbent, group=fields.pop("group", text), **fields)

    return make
