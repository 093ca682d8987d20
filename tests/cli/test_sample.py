"""Evidence from the command line: calls are drawn, labelled blind where a student differs, and certified on."""

from __future__ import annotations

import csv
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.draw import DRAWN
from stepdown.project.builds import latest
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import PHRASES, TASK, label, lines, ticket

pytestmark = pytest.mark.slow

CALLS = 1_500
SETTINGS = "[tasks.tickets.contract]\nmargin = 0.05\n"
WRONG = 8
"""One answer of the incumbent's in so many is wrong, so that a student that has learned the rule differs from it."""

# So short that only the cheap kinds are trained.
BUILD = ("build", TASK, "--kinds", "linear", "--budget", "40s")


def call(number: int) -> dict[str, Any]:
    dice = random.Random(f"incumbent {number}")
    others = [name for name in sorted(PHRASES) if name != label(number)]
    return ticket(number, answer=dice.choice(others) if dice.randrange(WRONG) == 0 else "")


def answer_of(recorded: dict[str, Any]) -> str:
    return str(recorded["response"]["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("imported")
    (home / "stepdown.toml").write_text(SETTINGS)
    (home / "calls.jsonl").write_bytes(lines(call(number) for number in range(CALLS)))
    assert stepdown("import", str(home / "calls.jsonl"), "--home", str(home)).code == 0
    return home


@pytest.fixture(scope="module")
def waiting(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A project whose build waits for labels, and what the build said."""
    home = tmp_path_factory.mktemp("waiting") / "home"
    shutil.copytree(imported, home)
    return home, stepdown(*BUILD, "--home", str(home), "--json")


@pytest.fixture
def home(imported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(imported, tmp_path / "home"))


@pytest.fixture
def waits(waiting: tuple[Path, Said], tmp_path: Path) -> Path:
    return Path(shutil.copytree(waiting[0], tmp_path / "waits"))


def sample(home: Path, out: str, *asked: str) -> Said:
    return stepdown("sample", TASK, "--out", str(home / out), *asked, "--home", str(home), "--json")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill_in(path: Path, rows: Iterable[dict[str, str]], right: Callable[[int], str] = label) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("id", "input", "gold"))
        writer.writeheader()
        writer.writerows({**row, "gold": right(int(row["id"][1:]))} for row in rows)


def give(home: Path, path: Path, *more: str) -> Said:
    return stepdown("import", "--gold", str(path), *more, "--home", str(home), "--json")


def gold_of(home: Path, numbers: Iterable[int]) -> Path:
    path = home / "gold.csv"
    path.write_text("id,gold\n" + "".join(f"c{number},{label(number)}\n" for number in numbers))
    return path


def events(home: Path, kind: str) -> list[dict[str, Any]]:
    with open_home(home).store() as store:
        return [event.data for event in store.events(kind)]


def certificate(home: Path) -> Any:
    return stepdown("certificate", "show", TASK, "--home", str(home), "--json").json


# The file


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl"])
def test_the_file_is_blind_and_empty(home: Path, name: str) -> None:
    said = sample(home, name, "--labels", "40")
    assert said.code == 0, said.err
    path = home / name
    rows = rows_of(path) if name.endswith("csv") else [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 40
    assert all(set(row) == {"id", "input", "gold"} and not row["gold"] for row in rows)
    assert {row["input"] for row in rows} <= {
        call(number)["request"]["messages"][1]["content"] for number in range(CALLS)
    }


def test_what_sample_says_to_scripts(home: Path) -> None:
    said = sample(home, "labels.csv", "--labels", "40").json
    assert said["task"] == TASK
    assert (said["population"], said["drawn"], said["to_label"], said["units"]) == (CALLS, 40, 40, 40)
    assert (said["unit"], said["only_where_they_differ"]) == ("call", False)
    assert said["file"] == str(home / "labels.csv")
    (draw,) = events(home, DRAWN)
    assert (draw["scope"], draw["complete"]) == ("traffic", False)
    assert said["drawn_at"] > 0
    assert events(home, "labels-planned") == [{"draw": said["draw"], "rows": 40}]


def test_what_sample_says_to_people(home: Path) -> None:
    out = stepdown("sample", TASK, "--labels", "40", "--out", str(home / "l.csv"), "--home", str(home)).out
    assert "40 calls drawn at random from 1,500 calls of 2025-06-15 to 2025-06-15." in out
    assert f"stepdown import --gold {home / 'l.csv'}" in out
    assert "fewer than 200 proves little" in out


@pytest.mark.parametrize("asked", [(), ("--labels", "20"), ("--labels", "900"), ("--for-margin", "0.05")])
def test_where_all_drawn_calls_have_gold_there_is_nothing_to_label(home: Path, asked: tuple[str, ...]) -> None:
    assert give(home, gold_of(home, range(CALLS))).code == 0
    said = sample(home, "l.csv", *asked)
    assert said.code == 1
    assert f"all drawn calls of '{TASK}' have gold" in said.json["error"]["message"]
    assert f"stepdown build {TASK}" in said.json["error"]["message"]
    assert not (home / "l.csv").exists()


def test_outside_a_project_it_is_said_that_none_is_here(tmp_path: Path) -> None:
    for command in (("sample", TASK, "--out", str(tmp_path / "l.csv")), ("build", TASK), ("calls", TASK)):
        said = stepdown(*command, "--home", str(tmp_path), "--json")
        assert said.code == 2
        assert "no project with recorded calls is here" in said.json["error"]["message"]
        assert "--home" in said.json["error"]["message"]


def test_sampling_again_gives_the_same_draw_and_goes_on_in_it(home: Path) -> None:
    first, again = sample(home, "1.csv", "--labels", "40").json, sample(home, "2.csv", "--labels", "40").json
    assert again["draw"] == first["draw"]
    assert (home / "2.csv").read_bytes() == (home / "1.csv").read_bytes()
    more = sample(home, "3.csv", "--labels", "60").json
    assert more["draw"] == first["draw"]
    assert rows_of(home / "3.csv")[:40] == rows_of(home / "1.csv")
    assert len(events(home, DRAWN)) == 1


def test_labels_that_are_there_are_not_asked_for_again(home: Path) -> None:
    sample(home, "1.csv", "--labels", "40")
    fill_in(home / "1.csv", rows_of(home / "1.csv"))
    give(home, home / "1.csv")
    said = sample(home, "2.csv", "--labels", "70").json
    known = {row["id"] for row in rows_of(home / "1.csv")}
    assert said["to_label"] == 30
    assert not known & {row["id"] for row in rows_of(home / "2.csv")}


def test_another_project_with_the_same_calls_draws_the_same(home: Path, tmp_path: Path) -> None:
    """Nobody chooses the draw, and importing anew gains no other one."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "stepdown.toml").write_text(SETTINGS)
    (other / "calls.jsonl").write_bytes(lines(call(number) for number in random.Random(1).sample(range(CALLS), CALLS)))
    stepdown("import", str(other / "calls.jsonl"), "--home", str(other))
    sample(home, "l.csv", "--labels", "40")
    sample(other, "l.csv", "--labels", "40")
    assert (other / "l.csv").read_bytes() == (home / "l.csv").read_bytes()


def test_more_labels_than_calls_can_be_drawn_are_refused_with_figures(home: Path) -> None:
    said = sample(home, "l.csv", "--labels", "900")
    assert (said.code, said.json["error"]["kind"]) == (1, "NotEnoughData")
    assert "900 calls would have to be drawn; the draw of 'tickets' holds 750." in said.err
    assert "1,500 calls" in said.err
    assert not (home / "l.csv").exists()
    assert events(home, DRAWN) == []  # what was refused leaves nothing
    assert sample(home, "l.csv", "--labels", "700").code == 0
    assert "holds 700" in sample(home, "m.csv", "--labels", "720").err


def test_a_margin_that_the_calls_do_not_suffice_for_is_refused_with_figures(home: Path) -> None:
    said = sample(home, "l.csv", "--for-margin", "0.001")
    assert (said.code, said.json["error"]["kind"]) == (1, "NotEnoughData")
    assert "the draw of 'tickets' holds 600" in said.err or "No number of labels" in said.err
    assert sample(home, "l.csv", "--for-margin", "0.1").json["drawn"] > 50


def test_an_existing_file_is_not_overwritten(home: Path) -> None:
    (home / "l.csv").write_text("id,gold\nc1,refund\n")
    said = sample(home, "l.csv", "--labels", "40")
    assert (said.code, said.json["error"]["kind"]) == (2, "UsageError")
    assert "is there already" in said.err
    assert (home / "l.csv").read_text() == "id,gold\nc1,refund\n"


@pytest.mark.parametrize(
    ("asked", "code"),
    [(("--labels", "0"), 2), (("--for-margin", "1"), 2), (("--labels", "40", "--for-margin", "0.1"), 2)],
)
def test_what_makes_no_sense_is_refused(home: Path, asked: tuple[str, ...], code: int) -> None:
    said = sample(home, "l.csv", *asked)
    assert said.code == code
    assert not (home / "l.csv").exists()


def test_a_task_that_is_not_there_names_the_nearest(home: Path) -> None:
    said = stepdown("sample", "tickts", "--out", str(home / "l.csv"), "--home", str(home))
    assert said.code == 2
    assert "Did you mean 'tickets'?" in said.err
    assert not (home / "l.csv").exists()


# What gold is taken for


def test_gold_for_some_calls_is_said_to_be_learned_from_and_no_evidence(home: Path) -> None:
    path = gold_of(home, range(200))
    assert give(home, path).json["gold_is"] == {"volunteered": 200}
    out = stepdown("import", "--gold", str(path), "--home", str(home)).out
    assert "200 gold answers for calls that somebody chose: learned from, and no evidence." in out
    assert "stepdown sample TASK" in out
    assert "--gold-is random-sample" in out


def test_gold_declared_drawn_for_calls_that_were_not_is_refused_whole(home: Path) -> None:
    sample(home, "l.csv", "--labels", "40")
    fill_in(home / "l.csv", rows_of(home / "l.csv"))
    with open_home(home).store() as store:
        drawn = {row["id"] for row in rows_of(home / "l.csv")}
        assert not store.gold()
    stray = next(f"c{number}" for number in range(CALLS) if not _is_drawn(home, f"c{number}"))
    mixed = home / "mixed.csv"
    mixed.write_text("id,gold\n" + "".join(f"{name},refund\n" for name in [*sorted(drawn), stray]))
    said = give(home, mixed, "--gold-is", "drawn")
    assert (said.code, said.json["error"]["kind"]) == (1, "InputError")
    assert stray in said.err
    with open_home(home).store() as store:
        assert not store.gold()
    assert give(home, home / "l.csv", "--gold-is", "drawn").json["gold_is"] == {"drawn": 40}


def test_a_declaration_can_be_taken_back_and_what_it_is_then_is_said(home: Path) -> None:
    sample(home, "l.csv", "--labels", "40")
    fill_in(home / "l.csv", rows_of(home / "l.csv"))
    give(home, home / "l.csv")
    said = stepdown("import", "--gold", str(home / "l.csv"), "--gold-is", "volunteered", "--home", str(home))
    assert said.code == 0, said.err
    assert "40 gold answers for calls that somebody chose: learned from, and no evidence" in said.out
    with open_home(home).store() as store:
        assert {one.basis for one in store.gold().values()} == {"volunteered"}


def _is_drawn(home: Path, name: str) -> bool:
    from stepdown.project.evidence_draws import read_draws

    with open_home(home).store() as store:
        return any(draw.place(name) is not None for draw in read_draws(store, TASK))


# To a certificate


def test_sample_label_import_build(home: Path) -> None:
    drawn = sample(home, "l.csv", "--labels", "300").json
    fill_in(home / "l.csv", rows_of(home / "l.csv"))
    given = give(home, home / "l.csv")
    assert given.json["gold_is"] == {"drawn": 300}
    said = stepdown(*BUILD, "--home", str(home), "--json")
    assert said.code == 0, said.err
    evidence = said.json["evidence"]
    assert (evidence["kind"], evidence["n_drawn"], evidence["n_labelled"]) == ("gold", 300, 300)
    assert (evidence["attempt"], evidence["unit"], evidence["units"]) == (1, "call", 300)
    issued = certificate(home)
    assert issued["population"]["draw"] == drawn["draw"]
    assert issued["population"]["calls"] == CALLS
    assert issued["population"]["assumption"] == ""
    assert issued["population"]["drawn_at"] == drawn["drawn_at"] < issued["issued_at"]
    assert stepdown("certificate", "verify", TASK, "--home", str(home), "--json").json["verified"]


def test_a_build_without_labels_says_what_waits_and_spends_nothing(waiting: tuple[Path, Said]) -> None:
    home, said = waiting
    assert said.code == 1
    assert said.json["verdict"] == "refused"
    assert said.json["offload"] == 0.0
    assert (said.json["evidence"]["attempt"], said.json["evidence"]["n_labelled"]) == (0, 0)
    assert "have no gold yet. Label them and build again." in said.json["reasons"][0]
    shown = stepdown("certificate", "show", TASK, "--home", str(home)).out
    assert "no attempt on this evidence is spent" in " ".join(shown.split())
    assert 0 < said.json["labels_needed"] < 0.4 * said.json["evidence"]["n_drawn"]
    assert events(home, "certificate-attempted") == []
    labels = latest(open_home(home), TASK).labels
    rows = rows_of(labels)
    assert len(rows) == said.json["labels_needed"]
    assert set(rows[0]) == {"id", "input", "gold"}
    (planned,) = events(home, "labels-planned")
    assert planned["rows"] == said.json["evidence"]["n_drawn"]
    assert stepdown("certificate", "verify", TASK, "--home", str(home), "--json").json["verified"]


def test_the_labels_that_a_build_asked_for_suffice(waits: Path) -> None:
    asked = rows_of(latest(open_home(waits), TASK).labels)
    fill_in(waits / "l.csv", asked)
    assert give(waits, waits / "l.csv").json["gold_is"] == {"drawn": len(asked)}
    said = stepdown(*BUILD, "--home", str(waits), "--json")
    assert said.code == 0, said.err
    evidence = said.json["evidence"]
    assert (evidence["attempt"], evidence["n_labelled"]) == (1, len(asked))
    assert evidence["n_drawn"] > 2 * evidence["n_labelled"]
    assert stepdown("certificate", "verify", TASK, "--home", str(waits), "--json").json["verified"]


def test_leaving_out_a_tenth_of_the_labels_is_not_enough(waits: Path) -> None:
    asked = rows_of(latest(open_home(waits), TASK).labels)
    fill_in(waits / "l.csv", asked[: -max(1, len(asked) // 8)])
    give(waits, waits / "l.csv")
    said = stepdown(*BUILD, "--home", str(waits), "--json")
    assert said.code == 1
    assert said.json["evidence"]["attempt"] == 0
    assert said.json["labels_needed"] == max(1, len(asked) // 8)
    assert events(waits, "certificate-attempted") == []


def test_after_a_build_only_calls_on_which_a_student_differs_are_sampled(waits: Path) -> None:
    asked = {row["id"] for row in rows_of(latest(open_home(waits), TASK).labels)}
    said = sample(waits, "l.csv")
    assert said.json["only_where_they_differ"]
    assert said.json["to_label"] < 0.4 * said.json["drawn"]
    assert {row["id"] for row in rows_of(waits / "l.csv")} >= asked


def test_corrections_of_the_incumbent_do_not_make_it_look_worse_than_it_is(home: Path) -> None:
    """Gold for exactly those calls on which the incumbent erred, as evidence on its own, would certify any student."""
    wrong = [number for number in range(CALLS) if answer_of(call(number)) != label(number)]
    assert len(wrong) > 120
    assert give(home, gold_of(home, wrong)).json["gold_is"] == {"volunteered": len(wrong)}
    said = stepdown(*BUILD, "--home", str(home), "--json").json
    assert said["evidence"]["n_drawn"] == 600
    assert said["evidence"]["n_labelled"] == pytest.approx(600 / WRONG, abs=30)
    assert said["excess_loss"]["estimate"] == pytest.approx(-1 / WRONG, abs=0.05)
    assert certificate(home)["population"]["assumption"] == ""


def test_some_corrections_are_learned_from_and_the_labels_that_are_missing_wait(home: Path) -> None:
    wrong = [number for number in range(CALLS) if answer_of(call(number)) != label(number)]
    give(home, gold_of(home, wrong[: len(wrong) // 2]))
    said = stepdown(*BUILD, "--home", str(home), "--json")
    assert said.code == 1
    assert said.json["evidence"]["attempt"] == 0
    assert 0 < said.json["labels_needed"] < 60


def test_a_declared_random_sample_is_tested_and_said_to_be_assumed(home: Path) -> None:
    path = gold_of(home, random.Random(4).sample(range(CALLS), 300))
    assert give(home, path, "--gold-is", "random-sample").json["gold_is"] == {"random-sample": 300}
    said = stepdown(*BUILD, "--home", str(home), "--json")
    assert said.code == 0, said.err
    issued = certificate(home)
    assert issued["population"]["assumption"] == "random-sample"
    assert (issued["n_drawn"], issued["n_labelled"]) == (300, 300)


def test_deleting_calls_that_were_drawn_gains_no_fresh_start(waits: Path) -> None:
    asked = rows_of(latest(open_home(waits), TASK).labels)
    fill_in(waits / "l.csv", asked)
    give(waits, waits / "l.csv")
    assert stepdown(*BUILD, "--home", str(waits), "--json").json["evidence"]["attempt"] == 1
    with open_home(waits).store() as store:
        assert store.forget_calls(before=1_750_000_000 + 400, keep_gold=False) > 0
    stepdown(*BUILD, "--home", str(waits), "--json")
    draws = events(waits, DRAWN)
    assert len(draws) == 2
    assert draws[1]["replaces"] != ""
    assert certificate(waits)["population"]["replaces"] == draws[1]["replaces"]


def test_an_attempt_of_another_task_on_the_same_calls_counts_and_verifies(waits: Path) -> None:
    asked = rows_of(latest(open_home(waits), TASK).labels)
    fill_in(waits / "l.csv", asked)
    give(waits, waits / "l.csv")
    first = Path(shutil.copytree(waits, waits.parent / "first"))
    stepdown(*BUILD, "--home", str(first))
    (spent,) = events(first, "certificate-attempted")
    with open_home(waits).store() as store:
        store.append("certificate-attempted", "another task", {**spent, "candidate": "another"}, at=1.0)
    assert stepdown(*BUILD, "--home", str(waits), "--json").json["evidence"]["attempt"] == 2
    assert stepdown("certificate", "verify", TASK, "--home", str(waits), "--json").json["verified"]
    again = stepdown(*BUILD, "--margin", "0.02", "--home", str(waits), "--json").json
    assert again["evidence"]["attempt"] == 3


def test_a_build_that_waits_after_an_attempt_verifies(waits: Path, home: Path) -> None:
    """It spends nothing, whatever was spent on the same calls before."""
    fill_in(waits / "l.csv", rows_of(latest(open_home(waits), TASK).labels))
    give(waits, waits / "l.csv")
    stepdown(*BUILD, "--home", str(waits))
    (spent,) = events(waits, "certificate-attempted")
    with open_home(home).store() as store:
        store.append("certificate-attempted", TASK, {**spent, "candidate": "another"}, at=1.0)
    said = stepdown(*BUILD, "--home", str(home), "--json")
    assert said.json["evidence"]["attempt"] == 0
    verified = stepdown("certificate", "verify", TASK, "--home", str(home), "--json")
    assert verified.json["verified"], verified.err


# What came out of trials from outside


@pytest.mark.parametrize("spelt", [str.upper, lambda name: "?", lambda name: f"{name} request"])
def test_gold_that_is_no_answer_of_the_task_certifies_nothing(waits: Path, spelt: Callable[[str], str]) -> None:
    """It makes student and incumbent wrong alike, so that there would be no difference anywhere."""
    asked = rows_of(latest(open_home(waits), TASK).labels)
    fill_in(waits / "l.csv", asked, lambda number: spelt(label(number)))
    give(waits, waits / "l.csv")
    said = stepdown(*BUILD, "--home", str(waits), "--json")
    assert said.code == 1
    assert "are labels that no answer has and no prompt lists" in said.err
    assert "gold_map" in said.err or "gold_spelling" in said.err
    assert events(waits, "certificate-attempted") == []


def test_labels_declared_volunteered_are_no_evidence_even_for_drawn_calls(waits: Path) -> None:
    asked = rows_of(latest(open_home(waits), TASK).labels)
    fill_in(waits / "l.csv", asked)
    give(waits, waits / "l.csv", "--gold-is", "volunteered")
    said = stepdown(*BUILD, "--home", str(waits), "--json")
    assert (said.json["evidence"]["attempt"], said.json["labels_needed"]) == (0, len(asked))
    assert said.json["labels"] == str(latest(open_home(waits), TASK).labels)


def test_building_again_on_the_same_evidence_does_not_make_it_younger(waits: Path) -> None:
    fill_in(waits / "l.csv", rows_of(latest(open_home(waits), TASK).labels))
    give(waits, waits / "l.csv")
    assert stepdown(*BUILD, "--home", str(waits), "--json").code == 0
    first = certificate(waits)
    assert stepdown(*BUILD, "--home", str(waits), "--json").code == 0
    again = certificate(waits)
    assert (again["attempt"], again["issued_at"], again["expires_at"]) == (1, first["issued_at"], first["expires_at"])


def test_a_half_filled_file_has_no_broken_records(waits: Path) -> None:
    asked = rows_of(latest(open_home(waits), TASK).labels)
    with (waits / "half.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(("id", "input", "gold"))
        for place, row in enumerate(asked):
            right = label(int(row["id"].removeprefix("c"))) if place < len(asked) // 2 else ""
            out.writerow((row["id"], row["input"], right))
    said = give(waits, waits / "half.csv")
    assert (said.json["broken"], said.json["gold"]["new"]) == (0, len(asked) // 2)


def test_a_journal_that_was_cut_into_stops_builds_and_verification(waits: Path) -> None:
    with closing(sqlite3.connect(waits / ".stepdown" / "store.sqlite")) as connection, connection:
        connection.execute("DELETE FROM events WHERE kind = 'evidence-drawn'")
    said = stepdown(*BUILD, "--home", str(waits), "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "TamperedError")
    checked = stepdown("certificate", "verify", TASK, "--home", str(waits), "--json").json
    assert not checked["verified"]


def test_more_labels_for_the_same_students_are_a_further_look_and_no_attempt(home: Path) -> None:
    """Labels for the evidence change nothing that students learn from: the candidate stays what it was."""
    sample(home, "first.csv", "--labels", "40")
    fill_in(home / "first.csv", rows_of(home / "first.csv"))
    give(home, home / "first.csv")
    first = stepdown(*BUILD, "--home", str(home), "--json").json
    assert (first["verdict"], first["evidence"]["attempt"], first["evidence"]["units"]) == ("refused", 1, 40)
    more = Path(first["labels"])
    fill_in(more, rows_of(more))
    give(home, more)
    second = stepdown(*BUILD, "--home", str(home), "--json").json
    assert second["evidence"]["attempt"] == 1
    assert second["evidence"]["units"] > 40
    assert second["verdict"] == "certified"
    looks = [event["stages"] for event in events(home, "certificate-attempted")]
    assert looks[-1][:1] == [40]
    assert len(looks[-1]) == 2
