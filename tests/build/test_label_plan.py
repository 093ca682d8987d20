"""Which calls are labelled next, and which rows are tested: planned before anyone labels, never picked later."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from benchmarks import certificate_validity as validity

from stepdown.build.certify import rows_to_test
from stepdown.build.label_plan import (
    COLUMNS,
    ToLabel,
    first_plan,
    label_next,
    rows_planned,
    to_label,
    write_labels_file,
    write_next,
)
from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Basis, Evidence, Terms, gather
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.ledger import attempt
from stepdown.certificate.observations import Observations
from stepdown.certificate.path import choose_candidate
from stepdown.certificate.planning import Expected, whole_units_up_to
from stepdown.certificate.refusal import needed_labels
from stepdown.core.certificate import Population
from stepdown.core.contract import Contract
from stepdown.core.dataset import Dataset, DatasetManifest, Example
from stepdown.core.draw import ATTEMPTED, Draw, pack_keys
from stepdown.core.errors import ResourceError
from stepdown.core.store import Store
from stepdown.project.evidence_draws import keep_draw, plan_labels, planned_rows
from stepdown.stores.store import open_store

CONTRACT = Contract(margin=0.05)
ROWS = 900
MANIFEST = DatasetManifest(
    task="t", content_hash="", sources=(), counts={}, gold_counts={}, labels=(), steps=(), permission="", seed=0
)


@dataclass(frozen=True)
class StoredJob:
    """What `rows_to_test` reads of a job."""

    store: Store
    contract: Contract = CONTRACT


@dataclass(frozen=True)
class Bench:
    """A candidate with a draw of 900 calls, of which every answer and all gold are known to the bench."""

    tune: Observations
    full: Observations
    draw: Draw

    def whole(self, labelled: np.ndarray) -> Evidence:
        """The evidence of the whole draw where some rows have gold."""
        seen = replace(
            self.full,
            agrees=self.full.losses == self.full.incumbent_loss,
            losses=np.where(labelled, self.full.losses, np.nan),
            incumbent_loss=np.where(labelled, self.full.incumbent_loss, np.nan),
            references=tuple("x" if each else "" for each in labelled),
        )
        candidate = choose_candidate("t", PathForecast(self.tune, CONTRACT, ROWS, 0.0375))
        terms = Terms(basis=Basis(population=Population(draw=self.draw.digest), drawn=ROWS))
        return gather(candidate, seen, terms, keys=seen.ids)

    def dataset(self) -> Dataset:
        examples = [
            Example(id=name, input=f"text of {name}", incumbent="secret answer", split="certify", place=place)
            for place, name in enumerate(self.full.ids)
        ]
        return Dataset(examples=tuple(examples[::-1]), excluded=(), manifest=MANIFEST, draw=self.draw)


@pytest.fixture(scope="module")
def bench() -> Bench:
    world = validity.World("t", (0.3,), (2.0,), 0.2, tune_rows=300, certify_rows=ROWS)
    generator, people = np.random.default_rng(0), validity.population(world)
    tune = validity.draw(world, people, 300, generator, "t")
    full = validity.draw(world, people, ROWS, generator, "c")
    draw = Draw(
        task="t",
        scope="traffic",
        unit="call",
        salt="t 0",
        calls=5_000,
        units=5_000,
        first=0.0,
        last=0.0,
        keys=pack_keys(full.ids),
    )
    return Bench(tune, full, draw)


@pytest.fixture
def store() -> Store:
    return open_store("memory:")


def nobody() -> np.ndarray:
    return np.zeros(ROWS, dtype=bool)


def until(rows: int) -> np.ndarray:
    return np.arange(ROWS) < rows


def test_what_is_not_labelled_and_not_planned_waits_for_the_first_plan(bench: Bench, store: Store) -> None:
    whole = bench.whole(nobody())
    plan = first_plan(whole, bench.tune, CONTRACT)
    assert 200 <= plan < ROWS
    evidence, is_ready = rows_to_test(StoredJob(store), bench.draw, whole, plan)
    assert not is_ready
    assert evidence.n == plan
    assert evidence.terms.stages == (plan,)
    assert not evidence.terms.final
    assert evidence.seen.ids == whole.seen.ids[:plan]


def test_gold_for_a_beginning_that_nobody_planned_is_not_tested(bench: Bench, store: Store) -> None:
    """Where to stop labelling might have been chosen by the labels."""
    evidence, is_ready = rows_to_test(StoredJob(store), bench.draw, bench.whole(until(400)), 300)
    assert (evidence.n, is_ready) == (300, False)


def test_what_was_planned_is_tested_once_it_is_labelled(bench: Bench, store: Store) -> None:
    keep_draw(store, bench.draw, 1.0)
    plan_labels(store, bench.draw, 300, 2.0)
    waiting, is_ready = rows_to_test(StoredJob(store), bench.draw, bench.whole(until(100)), 250)
    assert (waiting.n, is_ready) == (300, False)
    labelled, is_ready = rows_to_test(StoredJob(store), bench.draw, bench.whole(until(300)), 250)
    assert (labelled.n, is_ready) == (300, True)
    more, is_ready = rows_to_test(StoredJob(store), bench.draw, bench.whole(until(500)), 250)
    assert (more.n, is_ready) == (300, True)


def test_rows_on_which_nobody_differs_need_no_gold(bench: Bench, store: Store) -> None:
    plan_labels(store, bench.draw, 300, 2.0)
    differs, _ = needed_labels(bench.whole(nobody()))
    evidence, is_ready = rows_to_test(StoredJob(store), bench.draw, bench.whole(differs & until(300)), 250)
    assert is_ready
    assert evidence.seen.labelled.sum() == differs[:300].sum() < 150


@pytest.mark.parametrize(("missing", "ready"), [(0.03, True), (0.1, False)])
def test_a_few_labels_may_be_missing(bench: Bench, store: Store, missing: float, ready: bool) -> None:
    """A twentieth; those count as the worst case."""
    plan_labels(store, bench.draw, ROWS - 1, 2.0)
    differs, _ = needed_labels(bench.whole(nobody()))
    needed = np.flatnonzero(differs[: ROWS - 1])
    labelled = until(ROWS)
    labelled[needed[: round(missing * needed.size)]] = False
    labelled[-1] = False
    assert rows_to_test(StoredJob(store), bench.draw, bench.whole(labelled), 250)[1] is ready


def test_all_that_was_drawn_is_tested_where_nothing_waits(bench: Bench, store: Store) -> None:
    plan_labels(store, bench.draw, 300, 2.0)
    evidence, is_ready = rows_to_test(StoredJob(store), bench.draw, bench.whole(until(ROWS)), 250)
    assert (evidence.n, is_ready) == (ROWS, True)
    assert evidence.terms.final


def test_nothing_drawn_is_nothing_to_test(bench: Bench, store: Store) -> None:
    whole = bench.whole(nobody())
    nothing = replace(whole, seen=whole.seen.rows(np.arange(0)), confidences=whole.confidences[:, :0], keys=())
    assert rows_to_test(StoredJob(store), bench.draw, nothing, 0)[1] is False


def test_more_labels_for_the_same_candidate_are_a_further_look_within_the_attempt(bench: Bench, store: Store) -> None:
    job = StoredJob(store)
    numbers = []
    for rows in (250, 500, ROWS):
        plan_labels(store, bench.draw, rows, 1.0)
        evidence, is_ready = rows_to_test(job, bench.draw, bench.whole(until(rows)), 200)
        assert is_ready
        spent = attempt(store.events(), evidence, CONTRACT)
        store.append(ATTEMPTED, "t", spent.event, at=2.0)
        numbers.append((spent.number, evidence.terms.stages, evidence.terms.final))
    assert numbers == [(1, (250,), False), (1, (250, 500), False), (1, (250, 500, ROWS), True)]


def test_a_refusal_that_waits_asks_for_what_was_to_be_tested(bench: Bench, store: Store) -> None:
    whole = bench.whole(nobody())
    evidence, _ = rows_to_test(StoredJob(store), bench.draw, whole, 300)
    spent = msgspec.structs.replace(attempt((), evidence, CONTRACT), number=0)
    refused = certify(evidence, CONTRACT, spent, MANIFEST, Issue(1.0))
    assert refused.labels_needed == needed_labels(evidence)[0].sum()
    assert label_next(refused, whole, evidence.n) == 300


def test_a_refusal_after_a_test_asks_for_more_of_the_draw(bench: Bench) -> None:
    whole = bench.whole(until(250))
    spent = attempt((), whole, CONTRACT)
    refused = certify(whole, CONTRACT, spent, MANIFEST, Issue(1.0))
    asking = msgspec.structs.replace(refused, verdict="refused", labels_needed=20)
    differs, _ = needed_labels(whole)
    assert label_next(asking, whole, 250) == pytest.approx(250 + 20 / differs.mean(), abs=1)
    beyond = msgspec.structs.replace(asking, labels_needed=10**6)
    assert label_next(beyond, whole, 250) == ROWS
    for none in ({"labels_needed": None}, {"labels_needed": 0}, {"evidence": "agreement"}):
        assert label_next(msgspec.structs.replace(asking, **none), whole, 250) == 0


def test_the_file_has_the_first_calls_that_differ_in_the_order_of_the_draw_and_is_blind(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    whole = bench.whole(until(50))
    found = to_label(bench.dataset(), whole, 300)
    _, unlabelled = needed_labels(whole)
    expected = [whole.seen.ids[row] for row in np.flatnonzero(unlabelled[:300])]
    assert [one.id for one in found.examples] == expected
    assert min(int(name[1:]) for name in expected) >= 50
    assert write_next(store, bench.draw, found, tmp_path / "labels.csv", 3.0) == len(expected)
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8")
    assert "secret" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["id"] for row in rows] == expected
    assert {row["gold"] for row in rows} == {""}
    assert planned_rows(store, bench.draw) == 300


def test_the_plan_is_journalled_before_the_file_is_there(bench: Bench, store: Store, tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a file where a folder should be")
    with pytest.raises(Exception, match="cannot be written"):
        write_next(store, bench.draw, ToLabel(200, ()), tmp_path / "no" / "labels.csv", 3.0)
    assert planned_rows(store, bench.draw) == 200


def test_what_was_planned_before_is_not_taken_back(bench: Bench, store: Store) -> None:
    whole = bench.whole(nobody())
    plan_labels(store, bench.draw, 400, 1.0)
    assert rows_planned(store, bench.draw, whole, 300) == 400
    assert rows_planned(store, bench.draw, whole, 500) == 500


def test_a_plan_ends_with_a_whole_unit() -> None:
    units = ("a", "b", "b", "b", "c", "c", "d")
    assert [whole_units_up_to(units, rows) for rows in range(9)] == [0, 1, 4, 4, 4, 6, 6, 7, 7]
    assert whole_units_up_to((), 5) == 0


def test_where_tune_sees_no_chance_enough_is_planned_to_show_that(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepdown.build.label_plan.expect", lambda candidate, tune: Expected(0.5, 0.4, 0.0))
    assert first_plan(bench.whole(nobody()), bench.tune, CONTRACT) == ROWS


EXAMPLES = [
    Example(id=f"call-{number}", input=f'text, "{number}"\nline', incumbent="the answer", split="certify", place=number)
    for number in (7, 3, 11, 5)
]


def test_a_csv_to_fill_in_is_blind_and_in_the_order_given(tmp_path: Path) -> None:
    """Who sees an answer tends to agree with it."""
    assert write_labels_file(tmp_path / "labels.csv", EXAMPLES) == 4
    rows = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == COLUMNS == ("id", "input", "gold")
    assert [row["id"] for row in rows] == ["call-7", "call-3", "call-11", "call-5"]
    assert rows[0] == {"id": "call-7", "input": 'text, "7"\nline', "gold": ""}
    assert "the answer" not in (tmp_path / "labels.csv").read_text(encoding="utf-8")


def test_gold_that_is_known_is_not_shown_either(tmp_path: Path) -> None:
    write_labels_file(tmp_path / "labels.csv", [Example(id="1", input="x", incumbent="a", gold="secret")])
    assert "secret" not in (tmp_path / "labels.csv").read_text(encoding="utf-8")


def test_json_lines(tmp_path: Path) -> None:
    slots = Example(id="slots", input={"subject": "a", "body": "b"}, incumbent={"city": "Rome"})
    assert write_labels_file(tmp_path / "labels.jsonl", [*EXAMPLES, slots]) == 5
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(set(row) == set(COLUMNS) and row["gold"] is None for row in rows)
    assert "Rome" not in (tmp_path / "labels.jsonl").read_text(encoding="utf-8")


def test_traffic_cannot_run_as_a_spreadsheet_formula(tmp_path: Path) -> None:
    sly = [Example(id=str(number), input=f"{sign}HYPERLINK(1)", incumbent="a") for number, sign in enumerate("=+-@\t")]
    write_labels_file(tmp_path / "labels.csv", sly)
    rows = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8", newline="")))
    assert all(row["input"].startswith("'") for row in rows)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a file")
    with pytest.raises(ResourceError, match="cannot be written"):
        write_labels_file(tmp_path / "no" / "labels.csv", EXAMPLES)
