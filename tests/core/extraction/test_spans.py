"""Answers as spans and choices, and back."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.extraction.answers import canonical_object
from stepdown.core.extraction.form import Field, Form, Role, Span
from stepdown.core.extraction.spans import align, assemble

FORM = Form(
    fields=(
        Field(name="intent", choices=("fly", "stay")),
        Field(name="from"),
        Field(name="to"),
        Field(name="stops", many=True),
        Field(name="seats", types=("integer",)),
        Field(name="meals", many=True, choices=("vegan", "fish")),
        Field(name="note"),
    ),
    refused={"people": "it is a list of objects"},
)
ROLES = (
    Role(field="intent", role="closed", choices=("fly", "stay")),
    Role(field="from", role="copied"),
    Role(field="to", role="copied"),
    Role(field="stops", role="copied"),
    Role(field="seats", role="copied", normaliser="integer"),
    Role(field="meals", role="closed", choices=("fish", "vegan")),
    Role(field="note", role="text"),
)


def _pieces(text: str, spans: tuple[Span, ...]) -> list[tuple[str, str]]:
    return [(span.field, text[span.start : span.end]) for span in spans]


def test_an_answer_is_spans_and_choices() -> None:
    text = "fly from Bonn to Rome via Ulm and Como, four seats"
    answer = {
        "intent": "fly", "from": "Bonn", "to": "Rome", "stops": ["Ulm", "Como"], "seats": 4, "meals": ["vegan", "fish"]
    }  # fmt: skip
    found = align(FORM, ROLES, text, answer)
    assert found.unaligned == ()
    assert _pieces(text, found.spans) == [
        ("from", "Bonn"), ("to", "Rome"), ("stops", "Ulm"), ("stops", "Como"), ("seats", "four")
    ]  # fmt: skip
    assert found.choices == {"intent": 1, "meals": (2, 1)}
    assert assemble(FORM, ROLES, text, found.spans, found.choices) == answer


def test_what_a_student_cannot_be_taught_is_said() -> None:
    text = "fly from Bonn to Rome"
    answer = {
        "from": "Paris",
        "intent": "swim",
        "note": "be quick",
        "people": [{"name": "Jo"}],
        "new": 1,
        "to": ["Rome"],
    }
    found = align(FORM, ROLES, text, answer)
    assert found.present == ("note", "people")
    assert found.unaligned == ("from", "intent", "new", "to")
    assert found.spans == ()


def test_of_two_places_the_whole_word_and_the_free_one_is_taken() -> None:
    text = "Romeo goes from Rome to Rome"
    found = align(FORM, ROLES, text, {"from": "Rome", "to": "Rome"})
    assert [(span.field, span.start) for span in found.spans] == [("from", 16), ("to", 24)]


def test_of_overlapping_spans_the_longer_one_stays() -> None:
    found = align(FORM, ROLES, "to New York City", {"from": "York", "to": "New York City"})
    assert found.unaligned == ("from",)
    assert found.spans == (Span(3, 16, "to"),)


def test_a_list_against_the_texts_order_is_not_taught() -> None:
    assert align(FORM, ROLES, "via Ulm and Como", {"stops": ["Como", "Ulm"]}).unaligned == ("stops",)
    assert align(FORM, ROLES, "via Ulm", {"stops": ["Ulm", "Ulm"]}).unaligned == ("stops",)


def test_offsets_are_code_points() -> None:
    text = "\U0001f680\U0001f44d\U0001f3fd from São\u0303 to تل أبيب"
    found = align(FORM, ROLES, text, {"to": "تل أبيب", "from": "São\u0303"})
    assert _pieces(text, found.spans) == [("from", "São\u0303"), ("to", "تل أبيب")]


def test_of_several_spans_of_one_value_the_first_given_counts() -> None:
    text = "Bonn or Rome"
    spans = (Span(8, 12, "to"), Span(0, 4, "to"))
    assert assemble(FORM, ROLES, text, spans, {}) == {"to": "Rome"}


def test_a_span_that_its_rule_cannot_read_is_no_value() -> None:
    assert assemble(FORM, ROLES, "many seats", (Span(0, 4, "seats"),), {}) == {}


TOOLS = Form(
    fields=(
        Field(name="tool", choices=("fly", "sing")),
        Field(name="arguments.to", tools=("fly",)),
        Field(name="arguments.song", tools=("sing",)),
    ),
    tools=("fly", "sing"),
    refused={"tool sing": "two tools have this name"},
)
TOOL_ROLES = (
    Role(field="tool", role="closed", choices=("fly", "sing")),
    Role(field="arguments.to", role="copied"),
    Role(field="arguments.song", role="copied"),
)


def test_a_tool_has_its_own_arguments_only() -> None:
    spans = (Span(0, 4, "arguments.to"), Span(5, 9, "arguments.song"))
    assert assemble(TOOLS, TOOL_ROLES, "Rome Song", spans, {"tool": 1}) == {"tool": "fly", "arguments": {"to": "Rome"}}
    assert assemble(TOOLS, TOOL_ROLES, "Rome Song", spans, {"tool": 0}) == {}


def test_a_refused_tool_is_seen() -> None:
    assert align(TOOLS, TOOL_ROLES, "x", {"tool": "sing"}).present == ("tool sing",)
    assert align(TOOLS, TOOL_ROLES, "x", {}).choices == {"tool": 0}


WORDS = [
    "Bonn",
    "Rome",
    "New York",
    "York",
    "four",
    "4",
    "1,200",
    "e\u0301",
    "\U0001f44d\U0001f3fd",
    "אב",
    "no",
    "know",
]


@given(
    st.lists(st.sampled_from(WORDS), max_size=8),
    st.fixed_dictionaries(
        {},
        optional={
            "intent": st.sampled_from(["fly", "stay", "swim"]),
            "from": st.sampled_from(WORDS),
            "to": st.sampled_from(WORDS),
            "stops": st.lists(st.sampled_from(WORDS), max_size=3),
            "seats": st.sampled_from([4, 1200, 7]),
            "meals": st.lists(st.sampled_from(["vegan", "fish"]), max_size=2),
        },
    ),
)
def test_what_is_aligned_assembles_to_the_same_answer(words: list[str], raw: dict[str, Any]) -> None:
    text = " ".join(words)
    answer = canonical_object(raw)
    assert answer is not None
    found = align(FORM, ROLES, text, answer)
    back = assemble(FORM, ROLES, text, found.spans, found.choices)
    assert back == {name: value for name, value in answer.items() if name not in found.unaligned}
    ordered = sorted(found.spans)
    assert all(one.end <= other.start for one, other in itertools.pairwise(ordered))
