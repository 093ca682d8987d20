"""Made traffic for what no real log has on demand: a ticket task that a student learns at once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TASK = "tickets"
PHRASES = {
    "refund": ("money back", "refund", "return my order", "charged twice"),
    "shipping": ("where is my parcel", "delivery", "tracking number", "late package"),
    "account": ("log in", "password", "change my email", "locked out"),
    "praise": ("great service", "thank you", "love it", "wonderful"),
}
OPENINGS = ("hello", "hi there", "please", "urgent", "quick question", "good morning", "sorry", "again", "ok", "well")
SYSTEM = "Classify the ticket into one of: account, praise, refund, shipping."

# Only `linear` answers that fast, so that a build takes a second.
LINEAR_ONLY = "[tasks.tickets.contract]\nlatency_p95_ms = 0.04\nmargin = 0.05\n"


def label(number: int) -> str:
    return random.Random(number).choice(sorted(PHRASES))


def ticket(number: int, text: str = "", answer: str = "") -> dict[str, Any]:
    """One recorded call, the same for the same number."""
    dice = random.Random(number)
    given = dice.choice(sorted(PHRASES))
    words = (dice.choice(OPENINGS), dice.choice(PHRASES[given]), dice.choice(OPENINGS))
    asked = text or f"{' '.join(words)} order {dice.randrange(10**6)} item {dice.randrange(10**5)}"
    request = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}],
    }
    return {
        "id": f"c{number}",
        "timestamp": 1_750_000_000 + number,
        "workload_id": TASK,
        "request": request,
        "response": response({"content": answer or given}),
    }


def response(message: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    usage = {"prompt_tokens": 40, "completion_tokens": 2}
    return {"id": "r", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}


def lines(calls: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(call).encode() + b"\n" for call in calls)


def write_tickets(path: Path, count: int) -> Path:
    path.write_bytes(lines(ticket(number) for number in range(count)))
    return path


def write_gold(path: Path, count: int) -> Path:
    path.write_text("id,gold\n" + "".join(f"c{number},{label(number)}\n" for number in range(count)))
    return path
