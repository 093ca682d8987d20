"""Made traffic whose answers have fields: bookings of tables, as JSON objects or as calls of tools."""

from __future__ import annotations

import csv
import json
import random
from datetime import date
from pathlib import Path
from typing import Any, Literal

from tests.cli.conftest import stepdown
from tests.cli.tickets import lines, response

Shape = Literal["json", "tools"]

TASK = "bookings"
SETTINGS = "[tasks.bookings.contract]\nmargin = 0.05\nholdback = 0.0\n"
FIRST = ("Ada", "Brian", "Chloé", "Dmitri", "Eun-ji", "Femi", "Greta", "Hugo", "Ines", "João", "Kofi", "Lena", "Malik")
LAST = ("Adeyemi", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Huang", "Ivanova", "Jones", "O'Neil")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight")
MONTHS = ("May", "June", "July", "August", "September")
ASKED = (
    "Hi, could I get a table for {people} {day} at {time}? It's under {name}.",
    "Table for {people}, {time} {day}, please. Name: {name}",
    "{name} here. We would like to book for {people} people {day}, around {time}",
    "please reserve {day} {time} for {people}, the name is {name}",
)
SEATS = {"inside": " Inside, please.", "outside": " We want to sit outside.", "": ""}
CANCELLED = (
    "Please cancel the booking of {name} {day}.",
    "{name} cannot come {day}, cancel it",
    "I need to cancel what {name} booked {day}",
)
CHATTED = (
    "Do you have vegan dishes?",
    "Thanks a lot, see you soon!",
    "Is there parking nearby?",
    "hello, anyone there?",
)
WORDS = "How can I help you with your booking?"
SYSTEM = "Take the booking of a restaurant guest out of the message."
_TEXT = {"type": "string"}
BOOKING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": "integer"},
        "date": _TEXT,
        "time": _TEXT,
        "name": _TEXT,
        "seat": {"type": ["string", "null"], "enum": ["inside", "outside", None]},
    },
    "required": ["people", "date", "time", "name", "seat"],
    "additionalProperties": False,
}
CANCELLING = {"type": "object", "properties": {"name": _TEXT, "date": _TEXT}, "required": ["name", "date"]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "booking", "strict": True, "schema": BOOKING}}


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": f"{name}.", "parameters": parameters}}


TOOLS = [
    tool("book_table", {**BOOKING, "required": ["people", "date", "time", "name"]}),
    tool("cancel_booking", CANCELLING),
]


def booking(number: int, shape: Shape = "json") -> tuple[str, dict[str, Any]]:
    """(what a guest wrote, the right answer in canonical form), the same for the same number."""
    dice = random.Random(number)
    when = date(2026, dice.randrange(5, 10), dice.randrange(1, 29))
    month = MONTHS[when.month - 5]
    day = dice.choice((f"on {month} {when.day}, {when.year}", f"on {when.day} {month} {when.year}", f"on {when}"))
    name = f"{dice.choice(FIRST)} {dice.choice(LAST)}"
    if shape == "tools" and dice.random() < 0.3:
        if dice.random() < 0.3:
            return f"{dice.choice(CHATTED)} {dice.choice(('', 'Best, '))}{name}", {}
        said = dice.choice(CANCELLED).format(name=name, day=day)
        return said, {"tool": "cancel_booking", "arguments": {"name": name, "date": when.isoformat()}}
    people, hour, half = dice.randrange(2, 9), dice.randrange(5, 11), dice.choice(("00", "30"))
    time = dice.choice((f"{hour}:{half} pm", f"{hour + 12}:{half}"))
    seat = dice.choice(sorted(SEATS))
    said = dice.choice(ASKED).format(
        people=dice.choice((str(people), NUMBERS[people - 2])), day=day, time=time, name=name
    )
    found: dict[str, Any] = {"people": people, "date": when.isoformat(), "time": f"{hour + 12}:{half}", "name": name}
    if seat:
        found["seat"] = seat
    return said + SEATS[seat], {"tool": "book_table", "arguments": found} if shape == "tools" else found


def request(text: str, shape: Shape = "json") -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    asked = {"response_format": SCHEMA} if shape == "json" else {"tools": TOOLS}
    return {"model": "gpt-4o-mini", "messages": messages, **asked}


def message(answer: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """The incumbent's message for an answer in canonical form."""
    if not answer:
        return {"content": WORDS}
    if "tool" not in answer:
        return {"content": json.dumps({**answer, "seat": answer.get("seat")}, ensure_ascii=False)}
    function = {"name": answer["tool"], "arguments": json.dumps(answer["arguments"], ensure_ascii=False)}
    return {"content": None, "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}]}


def call(number: int, shape: Shape = "json") -> dict[str, Any]:
    """One recorded call. Every fifteenth time the incumbent takes the wrong name."""
    text, answer = booking(number, shape)
    if number % 15 == 0 and answer:
        holder = answer.get("arguments", answer)
        answer = json.loads(json.dumps(answer).replace(json.dumps(holder["name"]), '"Guest"'))
    said = response(message(answer, number))
    said["usage"] = {"prompt_tokens": 120, "completion_tokens": len(json.dumps(answer)) // 4}
    if answer and "tool" in answer:
        said["choices"][0]["finish_reason"] = "tool_calls"
    return {
        "id": f"b{number}",
        "timestamp": 1_750_000_000 + 60 * number,
        "workload_id": TASK,
        "request": request(text, shape),
        "response": said,
    }


def write_bookings(path: Path, count: int, shape: Shape = "json") -> Path:
    path.write_bytes(lines(call(number, shape) for number in range(count)))
    return path


def write_gold(path: Path, count: int, shape: Shape = "json") -> Path:
    """Gold as JSON text in a table's column."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "gold"))
        writer.writerows((f"b{number}", json.dumps(booking(number, shape)[1])) for number in range(count))
    return path


def build_home(folder: Path, shape: Shape, count: int = 800) -> Path:
    """A project with recorded bookings and gold, built in little time and certified."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stepdown.toml").write_text(SETTINGS)
    calls = write_bookings(folder / "calls.jsonl", count, shape)
    gold = write_gold(folder / "gold.csv", count, shape)
    read = stepdown("import", str(calls), "--gold", str(gold), "--home", str(folder))
    assert read.code == 0, read.err
    # So short that only the cheap kinds are trained.
    built = stepdown("build", TASK, "--kinds", "crf", "--budget", "40s", "--home", str(folder), "--json")
    assert built.code == 0, built.err
    (folder / "built.json").write_text(built.out.splitlines()[-1])
    return folder
