"""The CRF student: tokens of any text, a chain that sums to one, known values, real utterances, its limits."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.dataset import Answer
from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.form import Field, Form
from stepdown.core.extraction.graphemes import is_boundary
from stepdown.core.inputs import Input, inputs_of
from stepdown.core.students import Student, TrainingContext, TrainingData
from stepdown.runtime.artefact import open_student
from stepdown.runtime.patterns.chain import Chain, allowed_steps
from stepdown.runtime.patterns.gazetteer_lists import Gazetteer, by_value, listed_at
from stepdown.runtime.patterns.tokens import read_tokens
from stepdown.students.kinds import crf as gazetteer
from stepdown.students.patterns.chain_training import ChainOptions, Sequences, fit_chain
from stepdown.students.tiny_extraction import tiny_extraction
from stepdown.students.train import train_student

pytestmark = pytest.mark.slow

pytest.importorskip("scipy", reason="training needs the extra 'train'")

CITIES = ("Oslo", "Zürich", "New York", "Rio de Janeiro", "Lima", "Wien", "Bern", "La Paz")


def _train(data: TrainingData, folder: Path, **options: Any) -> Student:
    context = TrainingContext(
        folder=folder, home=folder, seed=0, seconds=60, threads=2, progress=lambda what, share: None
    )
    train_student("crf", data, gazetteer.Options(**options), context)
    return open_student(folder)


def _data(form: Form, texts: list[str], targets: list[Any]) -> TrainingData:
    return replace(
        tiny_extraction(),
        inputs=inputs_of(texts),
        targets=targets,
        sources=["gold"] * len(texts),
        weights=np.ones(len(texts)),
        labels=("one", "other"),
        form=form,
    )


def _signal(student: Student, text: str, name: str) -> float:
    return student.answer(Input(text))[1][student.signal_names.index(name)]


@given(st.text(max_size=60), st.integers(1, 40))
def test_tokens_cover_what_is_read_in_whole_characters(text: str, limit: int) -> None:
    tokens = read_tokens(text, limit)
    assert len(tokens) <= limit
    assert [text[start:end] for start, end in tokens.bounds] == tokens.words
    after = 0
    for start, end in tokens.bounds:
        assert after <= start < end
        assert text[after:start].strip() == ""
        assert is_boundary(text, start)
        after = end
    if not tokens.truncated:
        assert text[after:].strip() == ""


def test_letters_digits_and_scripts_without_spaces_are_told_apart() -> None:
    assert read_tokens("at 7pm, room_2", 50).words == ["at", "7", "pm", ",", "room", "_", "2"]
    assert read_tokens("東京タワー", 50).words == list("東京タワー")
    assert read_tokens("हिन्दी cafe\u0301s", 50).words == ["हिन्दी", "cafe\u0301s"]
    assert read_tokens("👩‍👩‍👧🇩🇪", 50).words == ["👩‍👩‍👧", "🇩🇪"]


def test_a_chain_gives_the_probabilities_that_all_paths_add_up_to(rng: np.random.Generator) -> None:
    tags, tokens = 5, 6
    transitions = rng.normal(size=(tags, tags)).astype(np.float32)
    emissions = rng.normal(scale=2.0, size=(tokens, tags)).astype(np.float32)
    steps, first = allowed_steps(tags)
    expected, total = np.zeros((tokens, tags)), 0.0
    for path in itertools.product(range(tags), repeat=tokens):
        if first[path[0]] and all(steps[one, other] for one, other in itertools.pairwise(path)):
            score = emissions[range(tokens), path].sum() + sum(transitions[step] for step in itertools.pairwise(path))
            total += np.exp(score)
            expected[range(tokens), path] += np.exp(score)
    np.testing.assert_allclose(Chain(transitions).marginals(emissions), expected / total, atol=1e-5)


def test_fields_that_no_token_speaks_for_change_nothing(rng: np.random.Generator) -> None:
    transitions = rng.normal(size=(9, 9)).astype(np.float32)
    emissions = rng.normal(scale=2.0, size=(8, 9)).astype(np.float32)
    emissions[:, 5:] -= 40.0
    fewer = Chain(transitions[:5, :5]).marginals(emissions[:, :5])
    np.testing.assert_allclose(Chain(transitions).marginals(emissions), np.pad(fewer, ((0, 0), (0, 4))), atol=1e-9)


def test_a_chain_of_many_unlikely_tokens_stays_a_chain_of_probabilities() -> None:
    transitions = np.full((7, 7), -30.0, dtype=np.float32)
    emissions = np.where(np.arange(512)[:, None] % 7 == np.arange(7), 200.0, -200.0).astype(np.float32)
    marginals = Chain(transitions).marginals(emissions)
    assert np.isfinite(marginals).all()
    np.testing.assert_allclose(marginals.sum(axis=1), 1.0)


def test_a_chain_learns_what_only_the_neighbour_s_tag_tells() -> None:
    """Feature 0 begins a value of the first field, 1 of the second; 2 goes on with either."""
    texts = [[0, 2, 2], [1, 2], [0, 2], [1, 2, 2]] * 20
    tags = {0: 1, 1: 3}
    tagged = [[tags[text[0]], *([tags[text[0]] + 1] * (len(text) - 1))] for text in texts]
    lengths = np.array([len(text) for text in texts])
    tokens = int(lengths.sum())
    sequences = Sequences(
        columns=np.array([feature for text in texts for feature in text], dtype=np.int32),
        starts=np.arange(tokens + 1),
        whole=np.zeros(0, dtype=np.int32),
        whole_starts=np.zeros(len(texts) + 1, dtype=np.int64),
        first=np.concatenate([[0], np.cumsum(lengths)]),
        tags=np.array([tag for each in tagged for tag in each]),
        weights=np.ones(len(texts), dtype=np.float32),
        features=3,
    )
    weights, transitions = fit_chain(sequences, 5, ChainOptions(epochs=20, dropout=0.0), seed=0)
    marginals = Chain(transitions).marginals(weights[[1, 2, 2]])
    assert marginals.argmax(axis=1).tolist() == [3, 4, 4]
    assert marginals.max(axis=1).min() > 0.8


def test_the_longest_listed_value_is_found_for_each_of_its_fields() -> None:
    values = by_value([(("new",), 0), (("new", "york"), 1), (("new", "york"), 2), (("york",), 1)])
    found = Gazetteer(values).find(["in", "new", "york", "new"])
    assert found == [(1, 1, 3), (2, 1, 3), (1, 2, 3), (0, 3, 4)]
    listed = listed_at(Gazetteer(values), ["new", "york"], {(("new", "york"), 1)})
    assert listed == {0: {(2, "begin")}, 1: {(2, "inside"), (1, "begin")}}


def test_it_learns_what_people_say_to_a_voice_assistant(shared_data: Path, tmp_path: Path) -> None:
    train, test = _weather(shared_data, "train_GetWeather_full"), _weather(shared_data, "validate_GetWeather")
    slots = sorted({name for _, answer in train for name in flat(answer)})
    form = Form(fields=tuple(Field(name=name, many=True) for name in slots))
    student = _train(_data(form, *map(list, zip(*train, strict=True))), tmp_path, epochs=6)  # type: ignore[arg-type]
    predictions = student.answer_many([Input(text) for text, _ in test])
    right = np.array([answer == true for answer, (_, true) in zip(predictions.answers, test, strict=True)])
    assert right.mean() > 0.7
    top = predictions.signals[:, student.signal_names.index("top")]
    assert top[right].mean() > top[~right].mean() + 0.15


def _weather(shared_data: Path, name: str) -> list[tuple[str, Answer]]:
    raw = (shared_data / "snips_nlu" / "GetWeather" / f"{name}.json").read_bytes()
    rows = []
    for row in json.loads(raw.decode("utf-8", "replace"))["GetWeather"][:1200]:
        answer: dict[str, list[str]] = {}
        for piece in row["data"]:
            if "entity" in piece and piece["text"].strip():
                answer.setdefault(piece["entity"], []).append(piece["text"].strip())
        rows.append(("".join(piece["text"] for piece in row["data"]), answer))
    return rows


def test_arguments_are_those_of_the_tool_that_is_called(tmp_path: Path) -> None:
    form = Form(
        fields=(
            Field(name="tool", choices=("weather", "travel"), required=True),
            Field(name="arguments.city", tools=("weather", "travel")),
            Field(name="arguments.seats", types=("integer",), tools=("travel",)),
        ),
        tools=("weather", "travel"),
    )
    rows: list[tuple[str, Any]] = []
    for city, seats in itertools.product(CITIES, range(1, 7)):
        rows.append((f"how warm is it in {city}", {"tool": "weather", "arguments": {"city": city}}))
        arguments = {"city": city, "seats": seats}
        rows.append((f"bring {seats} of us to {city}", {"tool": "travel", "arguments": arguments}))
    student = _train(_data(form, [text for text, _ in rows], [answer for _, answer in rows]), tmp_path)
    text = "bring 9 of us to Chicago"
    assert student.answer(Input(text))[0] == {"tool": "travel", "arguments": {"city": "Chicago", "seats": 9}}
    parts = student.answer_many([Input(text), Input("how warm is it in Chicago")]).parts
    assert parts is not None
    assert [set(each) for each in parts] == [
        {"tool", "arguments.city", "arguments.seats"},
        {"tool", "arguments.city"},
    ]


def test_another_line_says_what_a_bare_number_means(tmp_path: Path) -> None:
    form = Form(fields=(Field(name="people"), Field(name="hour")))
    asked = ("people", "hour")
    rows = [(f"message: {number}\nrequested: {name}", {name: str(number)}) for number in range(1, 60) for name in asked]
    student = _train(_data(form, [text for text, _ in rows], [answer for _, answer in rows]), tmp_path)
    for name in asked:
        assert student.answer(Input(f"message: 77\nrequested: {name}"))[0] == {name: "77"}


def test_values_keep_their_marks_and_joiners(tmp_path: Path) -> None:
    form = Form(fields=(Field(name="city"),))
    cities = (*CITIES, "Mu\u0308nchen", "दिल्ली", "القاهرة", "🏝️")
    texts = [f"{start} {city} {end}" for city in cities for start in ("to", "fly to") for end in ("now", "please")]
    targets = [{"city": city} for city in cities for _ in range(4)]
    student = _train(_data(form, texts, targets), tmp_path)
    answers = student.answer_many(inputs_of(texts)).answers
    assert np.mean([answer == target for answer, target in zip(answers, targets, strict=True)]) > 0.95
    assert student.answer(Input("fly to Ko\u0308ln now"))[0] == {"city": "Ko\u0308ln"}


def test_it_abstains_from_texts_that_are_too_long_and_from_free_text(tmp_path: Path) -> None:
    form = Form(fields=(Field(name="city"), Field(name="reason")))
    texts = [f"to {city} number {place}" for place, city in enumerate(CITIES * 12)]
    targets: list[Any] = [{"city": city} for city in CITIES * 12]
    for place in range(0, len(texts), 8):
        texts[place] += " because it matters to me a lot"
        targets[place] = {**targets[place], "reason": f"cares, in the {place + 1}st of ways"}
    data = _data(form, texts, targets)
    assert gazetteer.why_not(data) == ""
    student = _train(data, tmp_path, max_tokens=20)
    assert _signal(student, "to Lima number 4", "abstains") == 0.0
    assert _signal(student, "to Lima number 4 because it matters to me a lot", "abstains") == 1.0
    assert _signal(student, "to Lima " + "and so on " * 10, "truncated") == 1.0
    assert _signal(student, "to Lima " + "and so on " * 10, "abstains") == 1.0


def test_a_field_of_free_text_that_most_answers_have_is_named_before_any_training() -> None:
    form = Form(fields=(Field(name="city"), Field(name="poem")))
    texts = [f"to {city} {place}" for place, city in enumerate(CITIES * 5)]
    targets = [{"city": city, "poem": f"roses, verse {place * 7 + 3}"} for place, city in enumerate(CITIES * 5)]
    assert "'poem'" in gazetteer.why_not(_data(form, texts, targets))
    assert gazetteer.why_not(tiny_extraction()) == ""


def test_threads_get_the_same_answers_while_new_words_are_learned(tmp_path: Path) -> None:
    _train(tiny_extraction(), tmp_path)
    words = [f"Unseen{place % 300} of Volume{place % 170}" for place in range(1_500)]
    inputs = [Input(f"please lend me {each} for Ada Moor") for each in words]
    expected = open_student(tmp_path).answer_many(inputs)
    student = open_student(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(student.answer, inputs))
    assert [answer for answer, _ in found] == expected.answers
    np.testing.assert_allclose([signals for _, signals in found], expected.signals, atol=1e-5)


def test_what_is_known_from_training_is_said(tmp_path: Path) -> None:
    student = _train(tiny_extraction(), tmp_path)
    assert _signal(student, "please lend me Green Rivers", "known") == 1.0
    assert _signal(student, "please lend me Green Rivers", "listed") == 1.0
    assert _signal(student, "please lend me Purple Xylophones", "known") < 1.0
    assert _signal(student, "please lend me Purple Xylophones", "listed") == 0.0
