"""restaurant8k (PolyAI, CC BY 4.0): five slots of a restaurant booking as spans, with the slots that were asked for.

Coope et al. (2020), Span-ConveRT: Few-shot span extraction for dialog with pretrained conversational representations,
ACL. 8,198 training and 3,731 test utterances.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from benchmarks._extraction.task import Row, Task, json_schema

SLOTS = ("date", "first_name", "last_name", "people", "time")
NONE = "none"
_FOLDER = Path("polyai_span_extraction") / "span_extraction" / "restaurant8k"


def task(data: Path) -> Task:
    """Text and requested slots → up to five copied values."""
    rows = [*_rows(data / _FOLDER / "train_0.json", ""), *_rows(data / _FOLDER / "test.json", "test")]
    random.Random(0).shuffle(rows)
    properties = {slot: {"type": "string"} for slot in SLOTS}
    return Task(
        name="restaurant8k",
        system="You take bookings for a restaurant. Copy from a customer's message what it says of the booking, letter "
        "for letter: date, time, people, first_name, last_name. Leave out what it does not say. Requested slots are "
        "what the customer was just asked for.",
        user="Message: {text}\nRequested slots: {requested}",
        asks=json_schema("booking", properties),
        rows=tuple(rows),
        contract={"margin": 0.02, "confidence": 0.95, "against": "gold", "loss": "exact-match"},
    )


def _rows(path: Path, split: str) -> list[Row]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return [_row(f"{split or 'train'}-{number}", one, split) for number, one in enumerate(found)]


def _row(name: str, one: dict[str, Any], split: str) -> Row:
    text = one["userInput"]["text"]
    spans = []
    for label in one.get("labels", []):
        start, end = label["valueSpan"].get("startIndex", 0), label["valueSpan"]["endIndex"]
        value = text[start:end]
        start += len(value) - len(value.lstrip())
        spans.append((label["slot"], start, start + len(value.strip())))
    requested = dict.fromkeys(one.get("context", {}).get("requestedSlots", []))
    return Row(
        id=name,
        text=text,
        answer={slot: text[start:end] for slot, start, end in spans},
        spans=tuple(spans),
        more={"requested": ", ".join(requested) or NONE},
        split=split,
    )
