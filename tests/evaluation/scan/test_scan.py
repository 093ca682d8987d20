"""Scans of real traffic: verdicts that go each way, and figures that are those of the data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset, Example
from stepdown.core.errors import NotEnoughData
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Field, Form
from stepdown.core.students import TIME_OF_A_SCAN
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
from stepdown.evaluation.scan.facts import CallStatistics, ScanFacts
from stepdown.evaluation.scan.gather import ScanOptions, answer_facts, gather_facts, input_facts
from stepdown.evaluation.scan.verdict import LOOK_CLOSER, STAY, STEP_DOWN, THESE_LABELS, ScanReport, scan

OutOfSample = Callable[[list[str], list[str]], tuple[list[str], NDArray[np.float64]]]
MakeDataset = Callable[[Sequence[Example]], Dataset]

TASK = Task(name="banking-intent", family="classify", match=Match())
QUICK = ScanOptions(most_rows=3000, learning_curve=False)


def about(value: float, spread: float = 0.1) -> Estimate:
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread), n=100, method="measured")


CALLS = CallStatistics(calls=13_083, cost_per_1k=about(1.45), calls_per_month=about(2e6))


def without_gold(examples: Sequence[Example]) -> list[Example]:
    return [msgspec.structs.replace(each, gold=None) for each in examples]


@pytest.fixture(scope="module")
def some(banking: list[Example]) -> list[Example]:
    return [each for each in banking if each.split == "train"][::3]


@pytest.fixture(scope="module")
def with_gold(some: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample) -> ScanFacts:
    return gather_facts(dataset_of(some), TASK, Contract(), CALLS, naive_bayes, ScanOptions())


def test_gold_shows_that_even_a_weak_student_is_no_worse_than_the_large_model(with_gold: ScanFacts) -> None:
    report = scan(with_gold)
    assert report.verdict == STEP_DOWN
    cheap = with_gold.cheap
    assert cheap is not None
    assert cheap.error is not None
    assert cheap.incumbent_error is not None
    assert (cheap.taught_by, cheap.reference) == ("gold", "gold")
    assert cheap.error.value < cheap.incumbent_error.value
    assert cheap.offload.value > 0.9
    assert report.saving_per_month is not None
    assert report.saving_per_month.low > 0.0
    assert report.labels_needed is not None
    assert 50 < report.labels_needed < 3000


def test_no_student_answers_a_row_of_the_evidence(
    some: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample
) -> None:
    asked: list[str] = []

    def noting(texts: list[str], answers: list[str]) -> tuple[list[str], NDArray[np.float64]]:
        asked.extend(texts)
        return naive_bayes(texts, answers)

    dealt = [
        msgspec.structs.replace(each, split="certify" if index % 3 == 0 else each.split)
        for index, each in enumerate(some)
    ]
    facts = gather_facts(dataset_of(dealt), TASK, Contract(), CALLS, noting, QUICK)
    others = {each.text for each in dealt if each.split != "certify"}
    assert asked
    assert set(asked) <= others
    assert facts.gold == sum(each.gold is not None for each in dealt)


def test_more_rows_teach_more_and_the_curve_shows_it(with_gold: ScanFacts) -> None:
    assert with_gold.cheap is not None
    points = with_gold.cheap.learning
    assert [point.rows for point in points] == [round(with_gold.cheap.n * share) for share in (0.25, 0.5, 1.0)]
    assert points[0].loss.value > points[-1].loss.value


def test_every_dimension_is_rated_and_explained(with_gold: ScanFacts) -> None:
    report = scan(with_gold)
    rated = {dimension.name: dimension for dimension in report.dimensions}
    assert set(rated) == {
        "cost", "latency", "privacy", "context length", "instructions", "answer entropy", "trivial answer",
        "volume", "duplicates", "cheap student", "labels needed", "saving",
    }  # fmt: skip
    assert all(each.figure and each.reason.endswith((".", "?")) for each in report.dimensions)
    assert rated["cost"].figure.startswith("$1.45 per 1,000 calls")
    assert rated["cost"].rating == "good"
    assert rated["latency"].rating == "unknown"
    assert msgspec.json.decode(msgspec.json.encode(report), type=ScanReport) == report
    assert scan(with_gold) == report


def test_without_gold_it_is_held_against_the_large_model(
    some: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample
) -> None:
    contract = Contract(against="agreement")
    facts = gather_facts(dataset_of(without_gold(some)), TASK, contract, CALLS, naive_bayes, ScanOptions())
    report = scan(facts)
    assert facts.cheap is not None
    assert (facts.cheap.taught_by, facts.cheap.reference, facts.cheap.error) == ("incumbent", "incumbent", None)
    assert facts.cheap.offload.value < 0.5
    assert report.verdict == LOOK_CLOSER
    assert any("still learning" in reason for reason in report.reasons)
    assert report.labels_needed is None
    assert next(each for each in report.dimensions if each.name == "labels needed").figure == "0 labels"


def test_easy_answers_among_hard_ones_are_named(
    shared_data: Path, some: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample
) -> None:
    """Real voice commands, which any model tells apart, in one task with real questions that are hard to tell apart."""
    commands = _snips(shared_data, 260)
    mixed = [each for pair in zip(without_gold(some), commands, strict=False) for each in pair]
    mixed += without_gold(some)[len(commands) :]
    every_row = ScanOptions(learning_curve=False)
    report = scan(gather_facts(dataset_of(mixed), TASK, Contract(), CALLS, naive_bayes, every_row))
    assert report.verdict == THESE_LABELS, report.reasons
    named = {label.name for label in report.labels}
    assert len(named & {"GetWeather", "PlayMusic", "BookRestaurant", "RateBook", "AddToPlaylist"}) >= 4
    assert 0.1 < report.labels_share < 0.5
    assert report.labels_share == pytest.approx(sum(label.share for label in report.labels))
    for label in report.labels:
        assert label.n >= 20
        assert label.excess.high <= Contract().slice_margin


def test_a_handful_of_calls_stays(banking: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample) -> None:
    report = scan(gather_facts(dataset_of(banking[:40]), TASK, Contract(), CALLS, naive_bayes, QUICK))
    assert report.verdict == STAY
    assert "too few" in report.reasons[0]


def test_a_tiny_volume_stays_however_good_the_student(with_gold: ScanFacts) -> None:
    facts = msgspec.structs.replace(
        with_gold, calls=CallStatistics(calls=900, cost_per_1k=about(1.45), calls_per_month=about(900))
    )
    report = scan(facts)
    assert report.verdict == STAY
    assert "900 calls a month" in report.reasons[0]
    private = msgspec.structs.replace(facts, contract=Contract(privacy="local-only"))
    assert scan(private).verdict != STAY, "privacy may be worth the money"


def test_an_unknown_volume_or_price_is_never_invented(with_gold: ScanFacts) -> None:
    facts = msgspec.structs.replace(with_gold, calls=CallStatistics(calls=900, cost_per_1k=about(20.0)))
    report = scan(facts)
    assert "per 100,000 calls a month" in next(each for each in report.dimensions if each.name == "saving").figure
    unpriced = scan(msgspec.structs.replace(with_gold, calls=CallStatistics(calls=900)))
    assert unpriced.saving_per_month is None
    assert unpriced.verdict == STEP_DOWN
    assert "could not be priced" in unpriced.reasons[-1]


def test_free_chat_stays(shared_data: Path, dataset_of: MakeDataset, naive_bayes: OutOfSample) -> None:
    """An airline agent's turns: the policy is long, the conversation longer, and no two answers are alike."""
    path = shared_data / "tau_bench" / "historical_trajectories" / "gpt-4o-airline.json"
    runs = json.loads(path.read_text(encoding="utf-8"))[:60]
    examples = [each for number, run in enumerate(runs) for each in _turns(number, run["traj"])]
    policy = MessageTemplate(role="system", parts=(Part(text=runs[0]["traj"][0]["content"]),))
    user = MessageTemplate(role="user", parts=(Part(slot="conversation"),))
    template = Template(messages=(policy, user))
    for family, student in (("generate", None), ("classify", naive_bayes)):
        task = Task(name="airline", family=family, match=Match(), template=template)
        report = scan(gather_facts(dataset_of(examples), task, Contract(), CALLS, student, QUICK))
        assert report.verdict == STAY
        assert "free text" in report.reasons[0]
        rated = {each.name: each.rating for each in report.dimensions}
        assert rated["answer entropy"] == "poor"
        assert rated["context length"] != "good"
        assert rated["instructions"] != "good"


def test_one_answer_only_asks_whether_the_call_is_needed(
    some: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample
) -> None:
    same = [msgspec.structs.replace(each, incumbent="yes", gold=None) for each in some[:200]]
    report = scan(gather_facts(dataset_of(same), TASK, Contract(), CALLS, naive_bayes, QUICK))
    assert report.verdict == LOOK_CLOSER
    assert "constant" in report.reasons[0]


def test_answers_that_do_not_follow_from_the_input_stay(
    some: list[Example], dataset_of: MakeDataset, naive_bayes: OutOfSample
) -> None:
    generator = np.random.default_rng(0)
    drawn = [msgspec.structs.replace(each, incumbent=f"l{generator.integers(20)}", gold=None) for each in some]
    report = scan(gather_facts(dataset_of(drawn), TASK, Contract(), CALLS, naive_bayes, ScanOptions(most_rows=2000)))
    assert report.verdict == STAY
    assert report.labels == ()


def test_rows_of_test_are_never_read(some: list[Example], dataset_of: MakeDataset) -> None:
    seen: list[str] = []

    def remember(texts: list[str], labels: list[str]) -> tuple[list[str], NDArray[np.float64]]:
        seen.extend(texts)
        return labels[:1] * len(texts), np.full(len(texts), 1.0 / len(set(labels)))

    held = [msgspec.structs.replace(each, split="test", input=f"secret {each.id}") for each in some[:300]]
    facts = gather_facts(dataset_of([*some[300:900], *held]), TASK, Contract(), CALLS, remember, QUICK)
    assert len(seen) == 600
    assert not any(text.startswith("secret") for text in seen)
    assert facts.gold == 600


def test_facts_of_answers_and_inputs() -> None:
    rows = [Example(id=str(n), input=text, incumbent=answer) for n, (text, answer) in enumerate(
        [("a", "x"), ("a", "x"), ("a", "y"), ("b", "y"), ("c", "x"), ("d", "y")]
    )]  # fmt: skip
    found = answer_facts(rows, TASK)
    assert (found.n, found.distinct, found.entropy_bits, found.top_share) == (6, 2, pytest.approx(1.0), 0.5)
    assert found.conflict_share == pytest.approx(1 / 3)
    assert found.effective == pytest.approx(2.0)
    assert input_facts(rows).duplicate_share == pytest.approx(2 / 6)
    assert answer_facts([], TASK).entropy_bits == 0.0
    assert input_facts([]).characters_p95 == 0.0


FORM = Form(
    fields=(Field(name="tool"), Field(name="arguments.room"), Field(name="arguments.guests", types=("integer",)))
)
BOOKINGS = Task(name="bookings", family="extract", match=Match(), form=FORM)


def bookings(n: int) -> list[Example]:
    """Requests whose answers are nearly all new; of those to cancel, what is said does not tell the room."""
    found = []
    for number in range(n):
        cancels = number % 4 == 0
        arguments = {"room": f"r{number * 7919 % 997}", "guests": number % 9 + 1}
        said = "cancel it" if cancels else f"room {arguments['room']} for {arguments['guests']}"
        answer = {"tool": "cancel" if cancels else "book", "arguments": arguments}
        found.append(Example(id=str(number), input=f"{said}, {number}", incumbent=answer))
    return found


def reading(texts: list[str], answers: list[Any]) -> tuple[list[Any], NDArray[np.float64]]:
    """A student of one pattern. It knows the rooms that it can read."""
    found: list[Any] = []
    for text in texts:
        read = re.match(r"room (\w+) for (\d+)", text)
        arguments = {"room": read[1], "guests": int(read[2])} if read else {"room": "r1"}
        found.append({"tool": "book" if read else "cancel", "arguments": arguments})
    return found, np.array([0.99 if answer["tool"] == "book" else 0.1 for answer in found])


def test_answers_with_fields_are_new_and_can_be_learned_all_the_same(dataset_of: MakeDataset) -> None:
    contract = Contract(against="agreement")
    facts = gather_facts(dataset_of(bookings(1200)), BOOKINGS, contract, CALLS, reading, QUICK)
    assert facts.answers.distinct == 1200, "free text, if they were labels"
    assert (facts.answers.fields, facts.answers.top_share) == (3, 0.75)
    report = scan(facts)
    assert report.verdict == STEP_DOWN, report.reasons
    assert facts.cheap is not None
    assert facts.cheap.disagreement.value == 0.25
    assert facts.cheap.offload.value == pytest.approx(0.75, abs=0.02)
    labels = {label.name: label for label in facts.cheap.labels}
    assert labels["book"].excess.value == 0.0
    assert labels["cancel"].excess.value == 1.0
    rated = {each.name: each for each in report.dimensions}
    assert rated["answer entropy"].figure == "3 fields, 1,200 different answers, in kind as spread as 1.8 equal ones"
    assert rated["answer entropy"].rating == "good"


def test_what_a_student_abstains_from_is_not_offloaded_however_right(dataset_of: MakeDataset) -> None:
    def abstaining(texts: list[str], answers: list[Any]) -> tuple[list[Any], NDArray[np.float64]]:
        return answers, np.array([0.0 if answer["tool"] == "cancel" else 0.9 for answer in answers])

    contract = Contract(against="agreement")
    facts = gather_facts(dataset_of(bookings(1200)), BOOKINGS, contract, CALLS, abstaining, QUICK)
    assert facts.cheap is not None
    assert facts.cheap.disagreement.value == 0.0
    assert facts.cheap.offload.value == 0.75
    assert [label.name for label in facts.cheap.labels] == ["book"]


def test_the_loss_is_the_contract_s(dataset_of: MakeDataset) -> None:
    contract = Contract(against="agreement", loss="field-f1")
    facts = gather_facts(dataset_of(bookings(1200)), BOOKINGS, contract, CALLS, reading, QUICK)
    assert facts.cheap is not None
    # Of a cancelling, the tool is right: 1 of 2 + 3 fields.
    assert facts.cheap.disagreement.value == pytest.approx(0.25 * (1 - 2 / 5), abs=0.01)


def test_why_no_student_was_tried_is_said(dataset_of: MakeDataset) -> None:
    def unable(texts: list[str], answers: list[Any]) -> tuple[list[Any], NDArray[np.float64]]:
        raise NotEnoughData("the field 'note' is free text.")

    facts = gather_facts(
        dataset_of(bookings(200)), BOOKINGS, Contract(against="agreement"), CALLS, unable, ScanOptions()
    )
    report = scan(facts)
    assert report.verdict == STAY
    assert report.reasons == ("No student could be tried: the field 'note' is free text.",)


def test_a_student_that_is_too_slow_for_a_scan_speaks_against_no_build(dataset_of: MakeDataset) -> None:
    def unable(texts: list[str], answers: list[Any]) -> tuple[list[Any], NDArray[np.float64]]:
        raise NotEnoughData(f"no student of the family 'extract' learns 4,000 rows {TIME_OF_A_SCAN}")

    dataset = dataset_of(bookings(200))
    report = scan(gather_facts(dataset, BOOKINGS, Contract(against="agreement"), CALLS, unable, ScanOptions()))
    assert report.verdict == LOOK_CLOSER
    assert any("build one and see" in reason for reason in report.reasons)


def _snips(shared_data: Path, each_intent: int) -> list[Example]:
    found = []
    for path in sorted((shared_data / "snips_nlu").glob("*/train_*_full.json")):
        (intent, rows), *_ = json.loads(path.read_text(encoding="utf-8", errors="replace")).items()
        for number, row in enumerate(rows[:each_intent]):
            text = "".join(part["text"] for part in row["data"])
            found.append(Example(id=f"{intent}-{number}", input=text, incumbent=intent))
    assert found, "the data set is laid out otherwise"
    return found


def _turns(number: int, messages: list[dict[str, Any]]) -> list[Example]:
    history: list[str] = []
    found = []
    for turn, message in enumerate(messages[1:]):
        content = str(message.get("content") or "")
        if message["role"] == "assistant" and content:
            found.append(Example(id=f"{number}-{turn}", input="\n".join(history), incumbent=content))
        history.append(content)
    return found
