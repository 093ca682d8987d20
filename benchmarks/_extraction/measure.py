"""What a finished build is worth on the published test rows: every student as it is served, and the cascade."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._extraction.project import Built, as_asked
from benchmarks._extraction.scoring import Figures, judge, schema_of
from benchmarks._extraction.task import Answer, Row, Task
from stepdown.core.calls import Call
from stepdown.core.family import families
from stepdown.core.inputs import Input, inputs_of
from stepdown.core.served import INCUMBENT
from stepdown.core.students import Student
from stepdown.runtime.artefact import open_student
from stepdown.runtime.cascade import ABSTAINS
from stepdown.serve.answer import Answerer

WARM_UP = 100
MOST_TIMED = 1000
MOST_PATTERNS = 50


@dataclass(frozen=True)
class StudentFigures:
    """One student alone. figures: of all its answers, accepted or not. abstains: the share that it says it cannot give.

    valid: the share of its other answers that keep the schema, as a client gets them; checked: how many of those.
    aligned: training answers whose value was found in the text and not, by field.
    """

    kind: str
    figures: Figures
    abstains: float
    valid: float
    checked: int
    p50_ms: float
    p95_ms: float
    size_mb: float
    trained_s: float
    aligned: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class CascadeFigures:
    """The certified cascade on test rows. excess_loss: of its answers in exact match, over all rows; the incumbent is
    the reference. accepted: figures of the rows it answers itself. losses: by row, 0 where it escalates. replies: of
    those, how many say that no tool is to be called, whose words are still the incumbent's to find."""

    offload: float
    excess_loss: float
    accepted: Figures
    losses: tuple[float, ...]
    replies: int


def measure_students(task: Task, built: Built) -> list[StudentFigures]:
    rows = [as_asked(built.task, task, row) for row in built.test]
    found = []
    for one in built.record.students:
        folder = built.home.artefacts / one.artefact
        student = open_student(folder, threads=1)
        inputs = inputs_of(row.text for row in rows)
        said = student.answer_many(inputs)
        names = list(student.signal_names)
        away = said.signals[:, names.index(ABSTAINS)] >= 0.5 if ABSTAINS in names else np.zeros(len(rows), dtype=bool)
        given = [answer for answer, not_given in zip(said.answers, away, strict=True) if not not_given]
        valid, checked = valid_rate(task, built, given)
        p50, p95 = time_answers(student, inputs)
        found.append(
            StudentFigures(
                kind=one.kind,
                figures=judge(task, rows, said.answers),
                abstains=float(away.mean()) if rows else 0.0,
                valid=valid,
                checked=checked,
                p50_ms=p50,
                p95_ms=p95,
                size_mb=one.speed.size_mb,
                trained_s=one.trained_s,
                aligned=alignment(folder),
            )
        )
    return found


def measure_cascade(task: Task, built: Built) -> CascadeFigures | None:
    """None where the build ended in a refusal."""
    if built.record.certificate.verdict != "certified":
        return None
    answerer = Answerer(built.home, task.name)
    rows = [as_asked(built.task, task, row) for row in built.test]
    decisions = [answerer.answer(row.text) for row in rows]
    losses = tuple(
        0.0 if decision.rung == INCUMBENT else float(decision.answer != row.answer)
        for row, decision in zip(rows, decisions, strict=True)
    )
    own = [(row, one.answer) for row, one in zip(rows, decisions, strict=True) if one.rung != INCUMBENT]
    accepted = judge(task, [row for row, _ in own], [answer for _, answer in own])
    replies = sum(task.has_tools and not answer for _, answer in own)
    return CascadeFigures(len(own) / max(1, len(rows)), float(np.mean(losses)), accepted, losses, replies)


def time_answers(student: Student, inputs: Sequence[Input]) -> tuple[float, float]:
    """p50 and p95 in ms of single answers on one thread, tokenisation included."""
    inputs = inputs[:MOST_TIMED]
    for input in inputs[:WARM_UP]:
        student.answer(input)
    taken = []
    for input in inputs:
        started = time.perf_counter()
        student.answer(input)
        taken.append(time.perf_counter() - started)
    p50, p95 = np.percentile(np.array(taken) * 1e3, [50, 95])
    return float(p50), float(p95)


def valid_rate(task: Task, built: Built, answers: Sequence[Answer]) -> tuple[float, int]:
    """The share of answers that, written as a client gets them, keep the schema and are read back as they were given;
    and of how many. A reply in words, which calls no tool, is not counted."""
    validator = importlib.import_module("jsonschema").Draft202012Validator
    family, known = families().load(built.task.family), built.task
    patterns: dict[str, list[dict[str, Any]]] = {}
    learned = [row for row in task.rows if row.split != "test"]
    for row in learned:
        same_kind = patterns.setdefault(family.like_key(known, row.answer), [])
        if len(same_kind) < MOST_PATTERNS:
            same_kind.append(task.message(row))
    request = task.request(learned[0])
    kept = checked = 0
    for answer in answers:
        if task.has_tools and not answer:
            continue
        given = patterns.get(family.like_key(known, answer)) or next(iter(patterns.values()))
        message = family.write_answer(known, answer, 0.9, family.like(known, given))
        said, schema = _said(task, message)
        call = Call(id="", request=request, response={"choices": [{"index": 0, "message": message}]})
        checked += 1
        kept += (
            said is not None
            and schema is not None
            and validator(schema).is_valid(said)
            and family.read_answer(known, call) == answer
        )
    return (kept / checked if checked else 1.0), checked


def _said(task: Task, message: dict[str, Any]) -> tuple[Any, dict[str, Any] | None]:
    """The JSON that a message says, None where it is none, and the schema that it has to keep."""
    calls = message.get("tool_calls") or []
    try:
        said = json.loads(calls[0]["function"]["arguments"] if calls else message["content"])
    except (json.JSONDecodeError, TypeError, KeyError):
        said = None
    return said, schema_of(task, {"tool": calls[0]["function"]["name"]} if calls else {})


def alignment(folder: Path) -> dict[str, tuple[int, int]]:
    """By field, how many training values were found in their texts and how many were not, where a student says."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        for one in _objects(msgspec.json.decode(path.read_bytes())):
            if "field" in one and "role" in one and isinstance(one["field"], str):
                found[one["field"]] = (int(one.get("aligned", 0)), int(one.get("unaligned", 0)))
    return found


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _objects(each)


def rows_by_group(rows: Sequence[Row]) -> dict[str, list[int]]:
    """The places of the rows of each group."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        found.setdefault(row.group or row.id, []).append(place)
    return found
