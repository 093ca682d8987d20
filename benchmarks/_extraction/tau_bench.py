"""tau_bench airline (Sierra, MIT): what a gpt-4o agent did next, which tool or a reply, in 200 recorded runs.

The one task here whose incumbent is a real model. There is no gold: answers are held against the incumbent's own. Each
of its messages is a call; its input is the conversation so far as a small student can read it: the identifiers that it
named (a reservation is often named twenty messages before it is looked up) and its last few messages, shortened.
The runs do not record the tools' definitions: those here have the names, arguments and JSON types that the runs show.

A run's rows stay on one side, and so do the four runs of one customer's task: gold repeats the incumbent's answer for
the sake of its split column. As many rows are named for tune and certify as curation wants, or it would deal others.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks._extraction.task import Answer, Row, Task

IDENTIFIER = re.compile(
    r"[a-z]+_[a-z]+_\d{4}\b|\b(?!HAT)(?=[A-Z]*\d)[A-Z0-9]{6}\b|(?:credit_card|gift_card|certificate)_\d+"
)
"""Customers, reservations and means of payment."""
MOST_IDENTIFIERS = 10
SHOWN_MESSAGES = 3
TOOL_CHARACTERS = 100
MESSAGE_CHARACTERS = 180
SHARES = (("test", 450), ("certify", 640), ("tune", 240))
"""Rows wanted on each side; whole customers' tasks are dealt until there are so many, and the rest is train."""

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def task(data: Path) -> Task:
    runs = json.loads((data / "tau_bench" / "historical_trajectories" / "gpt-4o-airline.json").read_text("utf-8"))
    rows = [row for run in runs for row in _rows(run)]
    side = _sides(rows)
    return Task(
        name="tau-airline",
        system=(data / "tau_bench" / "tau_bench" / "envs" / "airline" / "wiki.md").read_text("utf-8").strip(),
        user="The conversation so far:\n{text}\nWhat do you do next?",
        asks={"tools": _tools(runs), "tool_choice": "auto"},
        rows=tuple(Row(**{**row.__dict__, "split": side[_customer(row)]}) for row in rows),
        decision="tool",
        values="arguments.",
        contract={"margin": 0.05, "confidence": 0.95, "against": "agreement", "loss": "exact-match"},
    )


def _rows(run: dict[str, Any]) -> list[Row]:
    """The incumbent's messages of one run."""
    group, rows = f"{run['task_id']}-{run['trial']}", []
    for place, message in enumerate(run["traj"]):
        if message["role"] != "assistant":
            continue
        rows.append(
            Row(
                id=f"run-{group}-{place}",
                text=_shown(run["traj"][1:place]),
                answer=_answer(message),
                group=f"run-{group}",
                reply=message.get("content") or "",
            )
        )
    return rows


def _answer(message: dict[str, Any]) -> Answer:
    calls = message.get("tool_calls") or []
    if not calls:
        return {}
    function = calls[0]["function"]
    arguments = json.loads(function["arguments"])
    return {"tool": function["name"]} | ({"arguments": arguments} if arguments else {})


def _shown(messages: list[dict[str, Any]]) -> str:
    named = dict.fromkeys(name for message in messages for name in IDENTIFIER.findall(json.dumps(message)))
    lines = [f"named: {' '.join(list(named)[-MOST_IDENTIFIERS:])}"] if named else []
    return "\n".join([*lines, *(_line(message) for message in messages[-SHOWN_MESSAGES:])])


def _line(message: dict[str, Any]) -> str:
    """One message on one line, its middle left out where it is long."""
    calls = message.get("tool_calls") or []
    if calls:
        function = calls[0]["function"]
        return _short(f"agent calls {function['name']} {function['arguments']}", MESSAGE_CHARACTERS)
    content = " ".join((message.get("content") or "").split())
    if message["role"] == "tool":
        return f"{message['name']}: {_short(content, TOOL_CHARACTERS)}"
    who = {"user": "customer", "assistant": "agent"}[message["role"]]
    return f"{who}: {_short(content, MESSAGE_CHARACTERS)}"


def _short(text: str, most: int) -> str:
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def _customer(row: Row) -> str:
    return row.group.split("-")[1]


def _sides(rows: list[Row]) -> dict[str, str]:
    """The split of each customer's task."""
    sizes: dict[str, int] = defaultdict(int)
    for row in rows:
        sizes[_customer(row)] += 1
    order = sorted(sizes, key=int)
    random.Random(0).shuffle(order)
    side, waiting = dict.fromkeys(order, "train"), iter(order)
    for split, wanted in SHARES:
        taken = 0
        while taken < wanted:
            customer = next(waiting)
            side[customer] = split
            taken += sizes[customer]
    return side


def _tools(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Definitions with the arguments that were ever passed; those that always were are required."""
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        for message in run["traj"]:
            for call in message.get("tool_calls") or []:
                seen[call["function"]["name"]].append(json.loads(call["function"]["arguments"]))
    return [{"type": "function", "function": _function(name, seen[name])} for name in sorted(seen)]


def _function(name: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    keys = sorted({key for call in calls for key in call})
    parameters = {
        "type": "object",
        "properties": {key: _schema([call[key] for call in calls if key in call]) for key in keys},
        "required": [key for key in keys if all(key in call for call in calls)],
    }
    return {"name": name, "description": name.replace("_", " "), "parameters": parameters}


def _schema(values: list[Any]) -> dict[str, Any]:
    kinds = sorted({_TYPES.get(type(value), "string") for value in values})
    if kinds == ["array"]:
        return {"type": "array", "items": _schema([each for value in values for each in value])}
    if kinds == ["object"]:
        keys = sorted({key for value in values for key in value})
        return {
            "type": "object",
            "properties": {key: _schema([value[key] for value in values if key in value]) for key in keys},
        }
    return {"type": kinds[0]} if len(kinds) == 1 else {"type": kinds} if kinds else {}
