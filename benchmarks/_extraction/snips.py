"""SNIPS (sonos/nlu-benchmark, CC0): seven intents with their slots, as JSON answers and as calls of seven tools.

A slot that comes twice in some training utterance is a list in every answer, so that a field has one type everywhere;
all are optional.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._extraction.task import Answer, Row, SpanOf, Task, json_schema, one_or_more

INTENTS = (
    "AddToPlaylist",
    "BookRestaurant",
    "GetWeather",
    "PlayMusic",
    "RateBook",
    "SearchCreativeWork",
    "SearchScreeningEvent",
)
ABOUT = {
    "AddToPlaylist": "Add a song, an album or an artist to a playlist.",
    "BookRestaurant": "Book a table in a restaurant.",
    "GetWeather": "Say what the weather is or will be somewhere.",
    "PlayMusic": "Play music.",
    "RateBook": "Give a book a number of points.",
    "SearchCreativeWork": "Find a film, book, song, game or other work by its name.",
    "SearchScreeningEvent": "Find when and where a film is shown.",
}
CONTRACT = {"margin": 0.02, "confidence": 0.95, "against": "gold", "loss": "exact-match"}


@dataclass(frozen=True)
class Utterance:
    """One utterance. values: (slot, start, end) in its order."""

    id: str
    text: str
    intent: str
    values: tuple[SpanOf, ...]
    split: str


def utterances(data: Path) -> tuple[list[Utterance], tuple[str, ...]]:
    """All 13,784 and 700 in a seeded order, so that intents mix as in traffic; and notes on what was odd."""
    found: list[Utterance] = []
    notes: list[str] = []
    for intent in INTENTS:
        for split, name in (("", f"train_{intent}_full.json"), ("test", f"validate_{intent}.json")):
            text, odd = decoded((data / "snips_nlu" / intent / name).read_bytes())
            notes += [f"{name}: {odd} of its lines are not UTF-8 and were read as Latin-1"] if odd else []
            for number, row in enumerate(json.loads(text)[intent]):
                found.append(_utterance(f"{intent}-{split or 'train'}-{number}", intent, row["data"], split))
    random.Random(0).shuffle(found)
    return found, tuple(notes)


def decoded(raw: bytes) -> tuple[str, int]:
    """A file's text, each line as UTF-8 or, where it is none, as Latin-1; and how many lines were not UTF-8."""
    lines, odd = [], 0
    for line in raw.split(b"\n"):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            lines.append(line.decode("latin-1"))
            odd += 1
    return "\n".join(lines), odd


def json_task(data: Path) -> Task:
    """Text → {"intent", "slots"}."""
    found, notes = utterances(data)
    lists = _repeated(found)
    slots = sorted({slot for one in found for slot, *_ in one.values})
    properties = {
        "intent": {"type": "string", "enum": list(INTENTS)},
        "slots": {
            "type": "object",
            "properties": {slot: one_or_more(slot in lists) for slot in slots},
            "additionalProperties": False,
        },
    }
    about = "\n".join(f"- {intent}: {ABOUT[intent]}" for intent in INTENTS)
    return Task(
        name="snips",
        system="You are the language understanding of a voice assistant. Say which intent an utterance has, and copy "
        f"the values of its slots from it, letter for letter; leave out slots that it does not mention.\n{about}",
        user="Utterance: {text}",
        asks=json_schema("utterance", properties, ["intent"]),
        rows=tuple(_row(one, lists, tools=False) for one in found),
        decision="intent",
        values="slots.",
        contract=CONTRACT,
        notes=notes,
    )


def tool_task(data: Path) -> Task:
    """Text → a call of one of seven tools."""
    found, notes = utterances(data)
    lists = _repeated(found)
    tools = []
    for intent in INTENTS:
        slots = sorted({slot for one in found if one.intent == intent for slot, *_ in one.values})
        parameters = {
            "type": "object",
            "properties": {slot: one_or_more(slot in lists) for slot in slots},
            "additionalProperties": False,
        }
        function = {"name": tool_name(intent), "description": ABOUT[intent], "parameters": parameters}
        tools.append({"type": "function", "function": function})
    return Task(
        name="snips-tools",
        system="You are a voice assistant. Call the tool that an utterance asks for; copy its arguments from the "
        "utterance, letter for letter, and leave out those that it does not mention.",
        user="Utterance: {text}",
        asks={"tools": tools, "tool_choice": "required"},
        rows=tuple(_row(one, lists, tools=True) for one in found),
        decision="tool",
        values="arguments.",
        contract=CONTRACT,
        notes=notes,
    )


def tool_name(intent: str) -> str:
    """AddToPlaylist is add_to_playlist."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", intent).lower()


def _utterance(name: str, intent: str, pieces: list[dict[str, str]], split: str) -> Utterance:
    whole = "".join(piece["text"] for piece in pieces)
    text = whole.strip()
    shift, values, at = len(whole) - len(whole.lstrip()), [], 0
    for piece in pieces:
        value = piece["text"].strip()
        start = at + len(piece["text"]) - len(piece["text"].lstrip()) - shift
        if "entity" in piece and value:
            values.append((piece["entity"], start, start + len(value)))
        at += len(piece["text"])
    return Utterance(name, text, intent, tuple(values), split)


def _repeated(found: list[Utterance]) -> set[str]:
    """The slots that come twice in some training utterance; no test utterance has another one twice."""
    return {
        slot
        for one in found
        if one.split != "test"
        for slot, times in Counter(slot for slot, *_ in one.values).items()
        if times > 1
    }


def _row(one: Utterance, lists: set[str], tools: bool) -> Row:
    slots: dict[str, Any] = {}
    for slot, start, end in one.values:
        if slot in lists:
            slots.setdefault(slot, []).append(one.text[start:end])
        else:
            slots[slot] = one.text[start:end]
    answer: Answer = {"intent": one.intent} | ({"slots": slots} if slots else {})
    if tools:
        answer = {"tool": tool_name(one.intent)} | ({"arguments": slots} if slots else {})
    prefix = "arguments." if tools else "slots."
    spans = tuple((prefix + slot, start, end) for slot, start, end in one.values)
    return Row(id=one.id, text=one.text, answer=answer, spans=spans, split=one.split)
