from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.extraction.form import Field, Form, Role, Span
from stepdown.runtime.readings import Reading
from stepdown.runtime.tags.answering import SIGNAL_NAMES, Answering
from stepdown.runtime.tags.decoding import best_path, choose, field_probabilities, forbid, tag, values_of
from stepdown.runtime.tags.layout import Layout, layout_of, units_of
from stepdown.students.encoders.tag_targets import tags_of

SURE = 8.0
FORM = Form(
    fields=(
        Field(name="tool", choices=("play", "book"), required=True),
        Field(name="arguments.artist", tools=("play",)),
        Field(name="arguments.city", tools=("book",), required=True),
        Field(name="arguments.tags", many=True, tools=("play", "book")),
        Field(name="arguments.note", tools=("book",)),
    ),
    tools=("play", "book"),
)
ROLES = (
    Role(field="tool", role="closed", choices=("play", "book")),
    Role(field="arguments.artist", role="copied"),
    Role(field="arguments.city", role="copied"),
    Role(field="arguments.tags", role="closed", choices=("loud", "soft")),
    Role(field="arguments.note", role="text"),
)
TEXT = "play Abba in Rome"


def _well_formed(tags: tuple[int, ...]) -> bool:
    before = (0, *tags)
    return all(tag % 2 or not tag or last in (tag, tag - 1) for last, tag in zip(before, tags, strict=False))


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 4), fields=st.integers(1, 2))
def test_the_best_path_is_the_best_of_all_well_formed_ones(seed: int, units: int, fields: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(units, 1 + 2 * fields)).astype(np.float32)
    paths = [path for path in itertools.product(range(1 + 2 * fields), repeat=units) if _well_formed(path)]
    expected = max(paths, key=lambda path: sum(float(scores[unit, tag]) for unit, tag in enumerate(path)))
    assert tuple(best_path(scores).tolist()) == expected


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 30))
def test_values_are_cut_where_tags_begin_and_end(seed: int, units: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(units, 7)).astype(np.float32)
    tags = best_path(scores)
    covered = np.zeros(units, dtype=np.int64)
    for field, first, after in values_of(tags):
        assert tags[first] == 1 + 2 * field
        assert (tags[first + 1 : after] == 2 + 2 * field).all()
        covered[first:after] += 1
    np.testing.assert_array_equal(covered, (tags > 0).astype(int))


def test_what_is_forbidden_is_never_tagged() -> None:
    layout = Layout(("a", "b"), ())
    logits = np.zeros((3, 5), dtype=np.float32)
    logits[:, 1:3] = SURE
    assert tag(logits).tags.max() == 1 or set(tag(logits).tags.tolist()) <= {1, 2}
    assert not set(tag(logits, forbid(layout, {"b"})).tags.tolist()) & {1, 2}


def test_the_chance_of_a_field_falls_with_every_unit_that_may_be_wrong() -> None:
    logits = np.zeros((2, 5), dtype=np.float32)
    logits[:, 0] = SURE
    sure = field_probabilities(tag(logits))
    logits[1, 3] = SURE - 1.0
    doubtful = field_probabilities(tag(logits))
    assert sure.min() > 0.99
    assert doubtful[0] > 0.9 > doubtful[1]


def test_words_are_read_at_their_first_piece_and_pieces_each_for_itself() -> None:
    reading = Reading(
        ids=np.arange(5),
        bounds=np.array([[0, 0], [0, 1], [1, 3], [4, 8], [0, 0]]),
        words=np.array([-1, 0, 0, 1, -1]),
        truncated=False,
    )
    words, pieces = units_of(reading, whole_words=True), units_of(reading, whole_words=False)
    assert words.places.tolist() == [1, 3]
    assert words.bounds.tolist() == [[0, 3], [4, 8]]
    assert pieces.places.tolist() == [1, 2, 3]
    for units, exact in ((words, 0), (pieces, 1)):
        tags, fit, count = tags_of([Span(1, 3, "a")], units, ("a",))
        assert (fit, count) == (exact, 1)
        assert tags.max() == 1


def _outputs(answering: Answering, tool: int, tagged: dict[int, int], note: float = -SURE) -> tuple[np.ndarray, ...]:
    logits = np.full(answering.layout.labels, -SURE, dtype=np.float32)
    groups = {group.field: group for group in answering.layout.groups}
    logits[groups["tool"].start + tool] = SURE
    logits[groups["arguments.tags"].start] = SURE
    logits[groups["arguments.note"].start] = note
    tags = np.zeros((6, answering.layout.tags), dtype=np.float32)
    tags[:, 0] = SURE
    for place, each in tagged.items():
        tags[place, each] = 2 * SURE
    return logits, tags


def _reading() -> Reading:
    bounds = np.array([[0, 0], [0, 4], [5, 9], [10, 12], [13, 17], [0, 0]])
    return Reading(np.arange(6), bounds, np.array([-1, 0, 1, 2, 3, -1]), truncated=False)


def _answer(tool: int, tagged: dict[int, int], note: float = -SURE, truncated: bool = False):
    answering = Answering(FORM, ROLES)
    units = units_of(_reading(), whole_words=True)
    answered = answering.answer(TEXT, units, _outputs(answering, tool, tagged, note), truncated, parts=True)
    return answered.answer, dict(zip(SIGNAL_NAMES, answered.signals, strict=True)), answered.parts


def test_a_tool_gets_its_own_arguments_alone() -> None:
    answer, signals, parts = _answer(tool=1, tagged={2: 1, 4: 3})
    assert answer == {"tool": "play", "arguments": {"artist": "Abba", "tags": ["loud"]}}
    assert signals["abstains"] == 0.0
    assert signals["top"] < 0.1  # another tool's argument was seen all the same
    assert _answer(tool=1, tagged={2: 1})[1]["top"] > 0.9
    assert set(parts) == {"tool", "arguments.artist", "arguments.tags"}


def test_what_is_required_and_missing_is_not_answered() -> None:
    answer, signals, _ = _answer(tool=2, tagged={2: 1})
    assert answer["tool"] == "book"
    assert (signals["valid"], signals["abstains"]) == (0.0, 1.0)
    answer, signals, _ = _answer(tool=2, tagged={4: 3})
    assert answer["arguments"]["city"] == "Rome"
    assert (signals["valid"], signals["abstains"]) == (1.0, 0.0)


def test_a_reply_in_words_free_text_and_a_cut_text_are_left_to_the_incumbent() -> None:
    assert _answer(tool=0, tagged={2: 1})[0] == {}
    assert _answer(tool=0, tagged={2: 1})[1]["abstains"] == 1.0
    assert _answer(tool=2, tagged={4: 3}, note=SURE)[1]["abstains"] == 1.0
    assert _answer(tool=2, tagged={4: 3}, truncated=True)[1]["abstains"] == 1.0


def test_of_two_values_where_one_is_expected_the_surer_stays() -> None:
    answering = Answering(FORM, ROLES)
    outputs = _outputs(answering, 1, {2: 1, 4: 1})
    outputs[1][2, 1] += SURE
    answered = answering.answer(TEXT, units_of(_reading(), whole_words=True), outputs, False)
    assert answered.answer["arguments"]["artist"] == "Abba"


def test_several_choices_are_said_each_by_itself() -> None:
    groups = {group.field: group for group in layout_of(FORM, ROLES).groups}
    logits = np.full(6, SURE, dtype=np.float32)
    assert choose(groups["arguments.tags"], logits).choice == (1, 2)
    assert choose(groups["arguments.tags"], -logits).choice == ()
    assert choose(groups["arguments.note"], logits).choice == (1,)
