"""What each field turns out to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepdown.core.extraction.answers import canonical_object
from stepdown.core.extraction.form import Field, Form
from stepdown.core.extraction.roles import learn_roles, unfillable
from stepdown.core.extraction.spans import align, assemble
from stepdown.core.extraction.stated import infer

CITIES = ["Bonn", "Rome", "Ulm", "Como", "Paris", "Lyon", "Kiel", "Jena", "Oslo", "Bari"]
NUMBERS = ["one", "two", "three", "four", "five"]


def _rows(count: int = 200) -> tuple[list[str], list[dict[str, Any]]]:
    texts, answers = [], []
    for n in range(count):
        city, seats, smoking = CITIES[n % 10], n % 5, n % 3 == 0
        other = "yes, I smoke" if smoking else "no smoke, you know"
        texts.append(f"Table number{n} in {city} for {NUMBERS[seats]} on May {n % 28 + 1}, 2024. {other}")
        answers.append(
            {
                "kind": ("dinner", "lunch")[n % 2],
                "city": city.upper(),
                "seats": seats + 1,
                "day": f"2024-05-{n % 28 + 1:02d}",
                "smoking": smoking,
                "mood": "no" if n % 2 else "yes",
                "reason": f"because {n * 7919} things",
            }
        )
    return texts, answers


def test_fields_are_what_their_values_show() -> None:
    texts, answers = _rows()
    form = infer(answers)
    roles = {role.field: role for role in learn_roles(form, texts, answers)}
    assert {name: role.role for name, role in roles.items()} == {
        "kind": "closed",
        "city": "copied",
        "seats": "copied",
        "day": "copied",
        "smoking": "closed",
        "mood": "closed",
        "reason": "text",
    }
    assert roles["city"].normaliser == "upper"
    assert roles["seats"].normaliser == "integer"
    assert roles["day"].normaliser == "date, month first"
    assert (roles["city"].aligned, roles["city"].unaligned) == (200, 0)


def test_a_field_of_free_text_is_refused_by_name_with_its_share() -> None:
    texts, answers = _rows()
    form = infer(answers)
    reasons = unfillable(form, learn_roles(form, texts, answers), answers)
    assert list(reasons) == ["reason"]
    assert "'reason' is free text: 100% of its values do not stand in the input" in reasons["reason"]


def test_free_text_that_is_rare_is_left_to_the_incumbent() -> None:
    texts, answers = _rows()
    form = infer(answers)
    rare = [answer if n % 10 == 0 else {**answer, "reason": ""} for n, answer in enumerate(answers)]
    rows = [canonical_object(answer) or {} for answer in rare]
    assert unfillable(form, learn_roles(form, texts, rows), rows) == {}


def test_refused_fields_that_are_there_make_a_task_unfit() -> None:
    answers: list[dict[str, Any]] = [{"people": [{"name": "Jo"}], "to": "Rome"}] * 10
    form = infer(answers)
    reasons = unfillable(form, learn_roles(form, ["to Rome"] * 10, answers), answers)
    assert reasons == {
        "people": "the field 'people' cannot be filled: it is a list of objects; 100% of the answers have it"
    }


def test_an_enum_and_what_was_never_seen() -> None:
    form = Form(fields=(Field(name="a", choices=("x", "y", "z")), Field(name="b")))
    first, second = learn_roles(form, ["", ""], [{"a": "z"}, {"a": "x"}])
    assert (first.role, first.choices) == ("closed", ("x", "z"))
    assert (second.role, second.choices) == ("closed", ())
    assert learn_roles(form, [], []) == (
        first.__class__(field="a", role="closed"),
        first.__class__(field="b", role="closed"),
    )


def test_voice_commands_are_wholly_copied(shared_data: Path) -> None:
    texts, answers = [], []
    for path in sorted((shared_data / "snips_nlu").glob("*/validate_*.json")):
        intent = path.parent.name
        for row in json.loads(path.read_text("utf-8"))[intent]:
            texts.append("".join(piece["text"] for piece in row["data"]))
            slots = {piece["entity"]: piece["text"] for piece in row["data"] if "entity" in piece}
            answers.append(canonical_object({"intent": intent, "slots": slots}) or {})
    form = infer(answers)
    roles = learn_roles(form, texts, answers)
    assert {role.role for role in roles if role.field != "intent"} == {"copied"}
    for text, answer in zip(texts, answers, strict=True):
        found = align(form, roles, text, answer)
        assert found.unaligned == ()
        assert assemble(form, roles, text, found.spans, found.choices) == answer
