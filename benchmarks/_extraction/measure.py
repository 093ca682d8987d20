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
from stepdown.core.cascade import INCUMBENT
from stepdown.core.family import families
from stepdown.core.students import ABSTAINS, Student
from stepdown.loop.answering import Answerer
from stepdown.students.artefact import open_student

WARM_UP = 100
MOST_TIMED = 1000


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
    the reference. accepted: figures of the rows it answers itself. losses: by row, 0 where it escalates."""

    offload: float
    excess_loss: float
    accepted: Figures
    losses: tuple[float, ...]


def measure_students(task: Task, built: Built) -> list[StudentFigures]:
    rows = [as_asked(built.task, task, row) for row in built.test]
    found = []
    for one in built.record.students:
        folder = built.home.artefacts / one.artefact
        student = open_student(folder, threads=1)
        said = student.answer_many([row.text for row in rows])
        names = list(student.signal_names)
        away = said.signals[:, names.index(ABSTAINS)] >= 0.5 if ABSTAINS in names else np.zeros(len(rows), dtype=bool)
        given = [answer for answer, not_given in zip(said.answers, away, strict=True) if not not_given]
        valid, checked = valid_rate(task, built, given)
        p50, p95 = time_answers(student, [row.text for row in rows])
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
    return CascadeFigures(len(own) / max(1, len(rows)), float(np.mean(losses)), accepted, losses)


def time_answers(student: Student, texts: Sequence[str]) -> tuple[float, float]:
    """p50 and p95 in ms of single answers on one thread, tokenisation included."""
    texts = texts[:MOST_TIMED]
    for text in texts[:WARM_UP]:
        student.answer(text)
    taken = []
    for text in texts:
        started = time.perf_counter()
        student.answer(text)
        taken.append(time.perf_counter() - started)
    p50, p95 = np.percentile(np.array(taken) * 1e3, [50, 95])
    return float(p50), float(p95)


def valid_rate(task: Task, built: Built, answers: Sequence[Answer]) -> tuple[float, int]:
    """The share of answers, written as a client gets them, that validate and say what the student said."""
    validator = importlib.import_module("jsonschema").Draft202012Validator
    family, known = families().load(built.task.family), built.task
    written = [task.message(row) for row in task.rows if row.split != "test"]
    patterns: dict[str, list[dict[str, Any]]] = {}
    for row, message in zip((row for row in task.rows if row.split != "test"), written, strict=True):
        patterns.setdefault(family.like_key(known, row.answer), []).append(message)
    kept = checked = 0
    for answer in answers:
        like = family.like(known, patterns.get(family.like_key(known, answer), written)[:50])
        message = family.write_answer(known, answer, 0.9, like)
        calls = message.get("tool_calls") or []
        if task.has_tools and not calls:
            checked += bool(answer)  # an answer that names a tool and calls none is not valid; a reply is not counted
            continue
        try:
            said = json.loads(calls[0]["function"]["arguments"] if calls else message["content"])
        except (json.JSONDecodeError, TypeError):
            said = None
        called = {"tool": calls[0]["function"]["name"]} if calls else {}
        schema = schema_of(task, called)
        checked += 1
        kept += said is not None and schema is not None and validator(schema).is_valid(said)
    return (kept / checked if checked else 1.0), checked


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
