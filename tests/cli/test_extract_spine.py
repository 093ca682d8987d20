"""The main job through the command line, where answers have fields: bookings as JSON objects and as calls of tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepdown.core.calls import Call
from stepdown.core.certificate import Certificate
from stepdown.core.family import families
from stepdown.core.tasks import Match, Task
from stepdown.curation.options import CurationOptions
from stepdown.curation.parse import parse
from stepdown.project.discovery import calls_of, resolve_learnable
from stepdown.project.home import open_home
from tests.cli import bookings
from tests.cli.bookings import SETTINGS, TASK, Shape, booking, message, request
from tests.cli.conftest import stepdown
from tests.cli.tickets import lines

pytestmark = pytest.mark.slow

NEW = range(50_000, 50_040)
Build = tuple[Path, Shape]


@pytest.fixture(params=["json", "tools"])
def build(request: pytest.FixtureRequest) -> Build:
    """(home, the shape of its answers)"""
    name = {"json": "booked", "tools": "booked_by_tools"}[request.param]
    return request.getfixturevalue(name), request.param


def test_the_tasks_say_their_fields(build: Build) -> None:
    home, shape = build
    said = stepdown("tasks", "--home", str(home))
    assert said.code == 0
    assert "extract" in said.out
    assert "seat (one of inside, outside)" in " ".join(said.out.split())
    (found,) = stepdown("tasks", "--home", str(home), "--json").json
    form = found["task"]["form"]
    assert form["tools"] if shape == "tools" else "tools" not in form


def test_a_build_of_fields_is_certified(build: Build) -> None:
    home, _ = build
    said = json.loads((home / "built.json").read_text())
    assert said["verdict"] == "certified"
    assert said["offload"] > 0.6
    assert said["excess_loss"]["bound"] <= said["excess_loss"]["margin"]
    assert all(student["error"] < 0.1 for student in said["students"])
    verified = stepdown("certificate", "verify", TASK, "--home", str(home), "--json")
    assert verified.json["verified"], verified.err
    shown = msgspec.convert(stepdown("certificate", "show", TASK, "--home", str(home), "--json").json, Certificate)
    assert shown.verdict == "certified"


def test_answers_are_objects_and_mostly_right(build: Build, tmp_path: Path) -> None:
    home, shape = build
    rows = [booking(number, shape) for number in NEW]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": at, "input": text}) + "\n" for at, (text, _) in enumerate(rows)))
    said = stepdown("answer", TASK, "--file", str(path), "--home", str(home), "--json")
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [row["id"] for row in answers] == list(range(len(rows)))
    given = [(row["answer"], right) for row, (_, right) in zip(answers, rows, strict=True) if row["answer"] is not None]
    assert len(given) > 0.6 * len(rows)
    assert sum(answer == right for answer, right in given) >= 0.9 * len(given)
    sure = [row["fields"] for row in answers if row["answer"]]
    assert all(0.0 < each <= 1.0 for fields in sure for each in fields.values())
    assert "arguments.name" in sure[0] or "name" in sure[0]
    assert all("fields" not in row for row in answers if row["answer"] is None)
    text = stepdown("answer", TASK, rows[0][0], "--home", str(home)).out
    assert json.loads(text.split("  (confidence")[0]) == answers[0]["answer"]


def test_the_report_and_status_of_fields(build: Build, tmp_path: Path) -> None:
    home, _ = build
    page = tmp_path / "report.html"
    assert stepdown("report", TASK, "--to", str(page), "--home", str(home)).code == 0
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in ("people", "date", "seat"))
    (status,) = stepdown("status", "--home", str(home), "--json").json["tasks"]
    assert (status["task"], status["stands"]) == (TASK, "")


def test_a_scan_of_fields(booked: Path) -> None:
    said = stepdown("scan", TASK, "--home", str(booked), "--json")
    assert said.code == 0, said.err
    assert said.json["facts"]["answers"]["fields"] == 5
    assert said.json["facts"]["cheap"]["offload"]["value"] > 0.5
    # So few calls, of so cheap a model: it could be done, and would not pay.
    assert "nothing is saved" in said.json["reasons"][0]


def _project(home: Path, change: Callable[[dict[str, Any]], object], settings: str = SETTINGS) -> Path:
    """A project whose calls were changed."""
    (home / "stepdown.toml").write_text(settings)
    calls = [bookings.call(number) for number in range(300)]
    for call in calls:
        change(call)
    (home / "calls.jsonl").write_bytes(lines(calls))
    assert stepdown("import", str(home / "calls.jsonl"), "--home", str(home)).code == 0
    return home


def _refusal(home: Path) -> str:
    """What a build says that ends before anything is trained."""
    said = stepdown("build", TASK, "--kinds", "crf", "--budget", "40s", "--against", "agreement", "--home", str(home))
    assert said.code == 1
    assert "Traceback" not in said.err
    assert not list(home.glob(".stepdown/artefacts/*"))
    (paragraph,) = (line for line in said.err.splitlines() if line.startswith("stepdown:"))
    return paragraph


def _task_and_findings(home: Path) -> tuple[Task, dict[str, Any]]:
    """The task as a build would take it, and what curation would find in its calls."""
    project = open_home(home)
    with project.store() as store:
        task = resolve_learnable(store, project.settings, TASK, project.clock())
        outcome, _ = parse(calls_of(store, task), task, CurationOptions())
    return task, outcome.findings


def _says(call: dict[str, Any], answer: dict[str, Any]) -> None:
    call["response"]["choices"][0]["message"] = {"role": "assistant", **message(answer)}


def _number(call: dict[str, Any]) -> int:
    return int(call["id"][1:])


def test_fields_beyond_a_student_are_named_before_any_training(tmp_path: Path) -> None:
    dish = {"type": "object", "properties": {"name": {"type": "string"}, "with": {"$ref": "#/$defs/dish"}}}
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "date": {"type": "string"},
            "dishes": {"type": "array", "items": dish},
            "menu": dish,
        },
        "$defs": {"dish": dish},
    }

    def change(call: dict[str, Any]) -> None:
        stated = {"type": "json_schema", "json_schema": {"name": "order", "schema": schema}}
        call["request"]["response_format"] = stated
        found = booking(_number(call))[1]
        menu = {"name": "day", "with": {"name": "wine", "with": {"name": "water"}}}
        answer = {"name": found["name"], "date": found["date"], "dishes": [{"name": "soup"}], "menu": menu}
        call["response"]["choices"][0]["message"]["content"] = json.dumps(answer)

    said = _refusal(_project(tmp_path, change))
    assert "'dishes' cannot be filled: it is a list of objects" in said
    assert "'menu.with.with' cannot be filled: it holds itself again" in said


def test_free_text_is_named_before_any_training(tmp_path: Path) -> None:
    words = ("sure", "we", "gladly", "note", "that", "wish", "well", "see", "you", "then", "warmly", "ours")

    def change(call: dict[str, Any]) -> None:
        number = _number(call)
        found = booking(number)[1]
        call["request"].pop("response_format")
        thought = " ".join(words[(number * step) % 12] for step in (5, 7, 11)) + f" #{number * 7919 % 10007}"
        _says(call, {"name": found["name"], "date": found["date"], "thought": thought})

    home = _project(tmp_path, change, settings='[tasks.bookings]\nfamily = "extract"\n')
    assert "'thought' is free text" in _refusal(home)


def test_two_tools_of_one_name_are_refused(tmp_path: Path) -> None:
    def change(call: dict[str, Any]) -> None:
        found = booking(_number(call))[1]
        call["request"] = {**request("", "tools"), "messages": call["request"]["messages"]}
        call["request"]["tools"] = [bookings.TOOLS[0], bookings.TOOLS[0]]
        _says(call, {"tool": "book_table", "arguments": found})

    assert "book_table" in _refusal(_project(tmp_path, change))


def test_answers_off_their_schema_are_counted(tmp_path: Path) -> None:
    def change(call: dict[str, Any]) -> None:
        if _number(call) % 5 == 0:
            _says(call, {**booking(_number(call))[1], "people": "several"})

    _, findings = _task_and_findings(_project(tmp_path, change))
    assert findings["unusable_answers"] == {"answer off the schema": 60}


def test_the_settings_name_the_family_and_the_place(tmp_path: Path) -> None:
    def change(call: dict[str, Any]) -> None:
        call["request"].pop("response_format")
        number = _number(call)
        inner = booking(number)[1] if number % 10 else "nothing"
        call["response"]["choices"][0]["message"]["content"] = json.dumps({"seen": number * 7919, "result": inner})

    home = _project(tmp_path, change)
    stepdown("tasks", "--home", str(home))
    settings = f'[tasks.bookings]\nfamily = "extract"\nanswer = "$.result"\n{SETTINGS}'
    (home / "stepdown.toml").write_text(settings)
    task, findings = _task_and_findings(home)
    assert (task.family, task.answer) == ("extract", "$.result")
    assert task.form is not None
    assert {field.name for field in task.form.fields} == {"people", "date", "time", "name", "seat"}
    assert findings["unusable_answers"] == {"answer cannot be parsed": 30}


def test_the_traffic_reads_as_it_was_made() -> None:
    """What the tests hold answers against is what the family reads out of the calls."""
    family = families().load("extract")
    for shape in ("json", "tools"):
        calls = [msgspec.convert(bookings.call(number, shape), Call) for number in range(1, 15)]
        found = family.read_shape(calls)
        task = Task(name=TASK, family="extract", match=Match(), form=found.form)
        assert [family.read_answer(task, call) for call in calls] == [booking(n, shape)[1] for n in range(1, 15)]


def test_more_traffic_with_a_new_field_is_seen(tmp_path: Path) -> None:
    def change(call: dict[str, Any]) -> None:
        call["request"].pop("response_format")

    home = _project(tmp_path, change)
    assert "area" not in _names(_task_and_findings(home)[0])
    calls = [bookings.call(number) for number in range(1_000, 1_300)]
    for call in calls:
        change(call)
        _says(call, {**booking(_number(call))[1], "area": "terrace" if _number(call) % 2 else "bar"})
    (home / "more.jsonl").write_bytes(lines(calls))
    stepdown("import", str(home / "more.jsonl"), "--home", str(home))
    assert "area" in _names(_task_and_findings(home)[0])


def _names(task: Task) -> set[str]:
    return {field.name for field in task.form.fields} if task.form else set()
