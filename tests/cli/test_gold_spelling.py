"""Gold in other words than the answers, or about other calls, certifies nothing: import warns and build refuses."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from stepdown.core.draw import ATTEMPTED
from stepdown.project.builds import latest
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK, label, lines, ticket

pytestmark = pytest.mark.slow

COUNT = 900
MARGIN = "[tasks.tickets.contract]\nmargin = 0.05\n"
NAMES = {"refund": "Refund", "shipping": "Shipping", "account": "Account Access", "praise": "Praise"}
BUILD = ("build", TASK, "--kinds", "linear", "--budget", "40s")

Given = Callable[[int], str | None]


def right(number: int) -> str:
    return NAMES[label(number)]


def said(number: int) -> str:
    """What the incumbent answers: one in ten is any label."""
    dice = random.Random(f"wrong {number}")
    return dice.choice(sorted(NAMES.values())) if dice.random() < 0.1 else right(number)


def other_call(number: int) -> str:
    return right((number * 7 + 1) % COUNT)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    path.write_bytes(lines(ticket(number, answer=said(number)) for number in range(COUNT)))
    return path


def project(home: Path, calls: Path, gold: Given, settings: str = "") -> Said:
    """A project with that gold; what the import said."""
    (home / "stepdown.toml").write_text(settings + MARGIN)
    with (home / "gold.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "gold"))
        table.writerows((f"c{number}", given) for number in range(COUNT) if (given := gold(number)) is not None)
    done = stepdown("import", str(calls), "--gold", str(home / "gold.csv"), "--home", str(home), "--json")
    assert done.code == 0, done.err
    return done


def attempts(home: Path) -> int:
    with open_home(home).store() as store:
        return sum(event.kind == ATTEMPTED for event in store.events())


def reworded(number: int) -> str:
    return "Refunds" if right(number) == "Refund" else right(number)


def unsure(number: int) -> str:
    return "?" if number % 8 == 0 else right(number)


STRANGE = "are labels that no answer has and no prompt lists"


@pytest.mark.parametrize(
    ("gold", "words"),
    [
        (lambda number: right(number).lower(), (STRANGE, "'refund'", "'Refund'", 'gold_spelling = "loose"')),
        (lambda number: right(number).replace(" ", "_").upper(), (STRANGE, 'gold_spelling = "loose"')),
        (lambda number: right(number)[:3].upper(), (STRANGE, '"REF" = "Refund"', "gold_map")),
        (lambda number: str(sorted(NAMES.values()).index(right(number))), (STRANGE, '"2" = "Refund"')),
        (lambda number: f"{right(number)}; Praise", (STRANGE, "Refund; Praise")),
        (reworded, (STRANGE, 'gold_map = { "Refunds" = "Refund" }')),
        (unsure, (STRANGE, 'gold_map = { "?" = "" }')),
        (lambda number: ("yes", "no")[number % 2], (STRANGE, "'yes'", "[tasks.tickets]")),
        (other_call, ("no more than chance brings", "ids are those of the calls", "trust_gold")),
        (lambda number: "Refund", ("which are all the same",)),
    ],
    ids=["lower", "snake", "short", "numbers", "several", "one-of-four", "unsure", "other-task", "other-ids", "one"],
)
def test_gold_that_is_not_in_the_answers_words_is_refused_before_anything_is_trained(
    tmp_path: Path, calls: Path, gold: Given, words: tuple[str, ...]
) -> None:
    read = project(tmp_path, calls, gold)
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert done.code == 1
    for word in words:
        assert word in read.err, "the import warns"
        assert word in read.json["doubts"][0]
        assert word in done.err, "the build refuses"
    assert "Traceback" not in done.err
    assert attempts(tmp_path) == 0
    assert stepdown("scan", TASK, "--home", str(tmp_path)).code == 1


@pytest.mark.parametrize(
    ("gold", "settings"),
    [
        (lambda number: f" {right(number)}  ", ""),
        (lambda number: json.dumps({"category": right(number)}), ""),
        (lambda number: json.dumps([right(number)]), ""),
        (lambda number: json.dumps(right(number)), ""),
        (lambda number: right(number).replace(" ", "_").upper(), '[tasks.tickets]\ngold_spelling = "loose"\n'),
        (reworded, '[tasks.tickets]\ngold_map = { "Refunds" = "Refund" }\n'),
    ],
    ids=["spaces", "json", "list", "quoted", "loose", "mapped"],
)
def test_gold_that_says_the_same_is_read_so(tmp_path: Path, calls: Path, gold: Given, settings: str) -> None:
    read = project(tmp_path, calls, gold, settings)
    assert read.json["doubts"] == []
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert done.code == 0, done.err
    assert -0.12 < done.json["excess_loss"]["estimate"] < 0.02


def test_a_map_to_a_label_that_there_is_not_is_refused(tmp_path: Path, calls: Path) -> None:
    read = project(tmp_path, calls, reworded, '[tasks.tickets]\ngold_map = { "Refunds" = "Refnd" }\n')
    assert STRANGE in read.err
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert done.code == 1
    assert "'Refnd'" in done.err
    assert attempts(tmp_path) == 0


def test_a_few_strange_labels_are_passed_over_and_never_learned(tmp_path: Path, calls: Path) -> None:
    read = project(tmp_path, calls, lambda number: "n/a" if number % 30 == 0 else right(number))
    assert "They will be passed over" in read.err
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    record = json.loads(latest(open_home(tmp_path), TASK).record.read_bytes())
    assert "n/a" not in record["dataset"]["labels"]
    assert any("30 gold answers were passed over" in note and "n/a" in note for note in done.json["notes"])


def test_a_label_of_its_own_is_mapped_to_itself(tmp_path: Path, calls: Path) -> None:
    def stricter(number: int) -> str:
        return "Chargeback" if right(number) == "Refund" and number % 2 else right(number)

    assert STRANGE in project(tmp_path, calls, stricter, "").err
    project(tmp_path, calls, stricter, '[tasks.tickets]\ngold_map = { "Chargeback" = "Chargeback" }\n')
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert done.json["verdict"] in ("certified", "refused"), done.err


@pytest.mark.parametrize("gold", [other_call, lambda number: "Refund"], ids=["other-ids", "one"])
def test_labels_of_other_calls_for_the_drawn_ones_certify_nothing(tmp_path: Path, calls: Path, gold: Given) -> None:
    """Only those on which a student differs are labelled, and it is as often right by chance as the incumbent."""
    project(tmp_path, calls, lambda number: None)
    assert stepdown(*BUILD, "--home", str(tmp_path)).code == 1
    asked = latest(open_home(tmp_path), TASK).labels
    with asked.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 10
    with (tmp_path / "filled.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "gold"))
        table.writerows((row["id"], gold(int(row["id"][1:]))) for row in rows)
    assert stepdown("import", "--gold", str(tmp_path / "filled.csv"), "--home", str(tmp_path)).code == 0
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert (done.code, done.json["verdict"], attempts(tmp_path)) == (1, "refused", 0)
    assert "Such gold would make every answer wrong alike" in done.json["reasons"][0]


def test_a_path_that_reads_few_answers_is_refused_with_three_of_them(tmp_path: Path, calls: Path) -> None:
    read = project(tmp_path, calls, right, '[tasks.tickets]\nanswer = "$.category"\n')
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert done.code == 1
    for text in (read.err, done.err):
        assert "only 0 can be read at $.category" in text
        assert sum(repr(name) in text for name in NAMES.values()) == 3
    assert attempts(tmp_path) == 0


def test_a_path_that_misses_some_answers_is_named_beside_the_verdict(tmp_path: Path) -> None:
    mixed = [
        ticket(number, answer=json.dumps({"category": said(number)}) if number % 10 < 8 else said(number))
        for number in range(COUNT)
    ]
    (tmp_path / "calls.jsonl").write_bytes(lines(mixed))
    project(tmp_path, tmp_path / "calls.jsonl", right, '[tasks.tickets]\nanswer = "$.category"\n')
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert any(
        "20 % of the answers" in note.replace("\u202f", " ").replace("\u00a0", " ") for note in done.json["notes"]
    )


def test_a_file_that_contradicts_itself_throughout_is_not_taken(tmp_path: Path, calls: Path) -> None:
    """Nobody knows which of two answers to one call is right; a few such rows are kept aside as before."""
    (tmp_path / "calls.jsonl").write_bytes(calls.read_bytes())
    rows = [f"c{number},{right(number)}\nc{number},{other_call(number)}\n" for number in range(COUNT)]
    (tmp_path / "gold.csv").write_text("id,gold\n" + "".join(rows))
    done = stepdown("import", str(calls), "--gold", str(tmp_path / "gold.csv"), "--home", str(tmp_path), "--json")
    assert done.code == 1
    assert "two different gold answers for" in done.err
    assert "'c0' (lines 2 and 3)" in done.err
    assert stepdown("status", "--home", str(tmp_path), "--json").json["gold"] == 0


def test_labels_for_answers_of_several_fields_are_told_how_to_be_read(tmp_path: Path) -> None:
    answers = [json.dumps({"team": said(number), "priority": ("low", "high")[number % 2]}) for number in range(COUNT)]
    mixed = [ticket(number, answer=answers[number]) for number in range(COUNT)]
    (tmp_path / "calls.jsonl").write_bytes(lines(mixed))
    project(tmp_path, tmp_path / "calls.jsonl", right)
    done = stepdown("build", TASK, "--budget", "40s", "--home", str(tmp_path), "--json")
    assert done.code == 1
    assert 'family = "classify" and answer = "$.THAT_FIELD"' in done.err
    (tmp_path / "stepdown.toml").write_text('[tasks.tickets]\nfamily = "classify"\nanswer = "$.priority"\n' + MARGIN)
    done = stepdown(*BUILD, "--home", str(tmp_path), "--json")
    assert "If the decision sits elsewhere than at $.priority" in done.err
    (tmp_path / "stepdown.toml").write_text('[tasks.tickets]\nfamily = "classify"\nanswer = "$.team"\n' + MARGIN)
    assert stepdown(*BUILD, "--home", str(tmp_path), "--json").code == 0
