"""What students are taught, how much time is planned for it, and what is said where nothing could be trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.build.table_build import job_of, project

from stepdown.build.curate import curate_for_build
from stepdown.build.job import Job
from stepdown.build.stored_plan import read_plan
from stepdown.build.train import (
    LEAST_TRAINING_S,
    fit_students,
    recorded_probabilities,
    target_of,
    training_data,
    training_seconds,
)
from stepdown.core.dataset import Dataset, Example
from stepdown.core.errors import InputError, NotEnoughData


def row(number: int, incumbent: str | None, gold: str | None = None, **fields: object) -> Example:
    return Example(id=str(number), input=f"text {number}", incumbent=incumbent, gold=gold, **fields)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    with job_of(project(tmp_path, 300)) as opened:
        yield opened


@pytest.fixture
def dataset(job: Job) -> Dataset:
    return curate_for_build(job).dataset


def test_gold_is_learned_over_the_incumbents_answer_and_texts_without_either_are_kept(
    job: Job, dataset: Dataset
) -> None:
    rows = [
        row(0, "a"),
        row(1, "a", "b", weight=0.5),
        row(2, None, "c"),
        row(3, None),
        row(4, "d", split="tune"),
        row(5, "e", split="certify", place=0),
    ]
    found = training_data(job, msgspec.structs.replace(dataset, examples=tuple(rows)))
    assert [one.text for one in found.inputs] == ["text 0", "text 1", "text 2"]
    assert found.targets == ["a", "b", "c"]
    assert found.sources == ["incumbent", "gold", "gold"]
    assert found.weights.tolist() == [1.0, 0.5, 1.0]
    assert found.labels == ("a", "b", "c"), "nothing of the other splits"
    assert [one.text for one in found.extra_inputs] == ["text 3"]
    assert found.soft is None
    assert target_of(rows[3]) is None


def test_labels_of_the_evidence_change_nothing_that_is_learned(job: Job, dataset: Dataset) -> None:
    def learned(**changed: str) -> str:
        """The hash of what is learned where rows of a split have other gold."""
        examples = [
            msgspec.structs.replace(one, gold=changed[one.split]) if one.split in changed else one
            for one in dataset.examples
        ]
        return training_data(job, msgspec.structs.replace(dataset, examples=tuple(examples))).dataset_hash

    assert learned(certify="praise") == learned(tune="praise") == learned()
    assert learned(train="praise") != learned()


def test_recorded_probabilities_are_a_distribution_over_the_known_labels() -> None:
    rows = [
        row(0, "a", log_probabilities={"a": np.log(0.6), "b": np.log(0.2), "unknown": np.log(0.2)}),
        row(1, "a"),
        row(2, "a", "b", log_probabilities={"a": 0.0}),
        row(3, "b", log_probabilities={"unknown": 0.0}),
        row(4, "b", log_probabilities={"a": -np.inf}),
    ]
    found = recorded_probabilities(rows, ("a", "b"))
    assert found is not None
    np.testing.assert_allclose(found[0], [0.75, 0.25])
    assert np.isnan(found[1:]).all(), "none recorded, gold is known, or nothing of it is a label"
    assert recorded_probabilities([rows[1], rows[2]], ("a", "b")) is None


def test_time_is_planned_by_a_formula_and_never_less_than_the_least() -> None:
    quiet = training_seconds(360.0, 10_000, 1.0, 10.0)
    assert 0.0 < quiet < 350.0
    assert training_seconds(360.0, 10_000, 1.0, 10.0) == quiet
    assert training_seconds(360.0, 1_000, 1.0, 10.0) > quiet > training_seconds(360.0, 10_000, 3.0, 10.0)
    assert training_seconds(360.0, 10_000, 1.0, 30.0) < quiet
    assert training_seconds(1.0, 1_000_000, 1.0, 10.0) == LEAST_TRAINING_S


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 10_000, b'{"plan": {"students": [{"kind": "no such"}]}}'])
def test_a_record_without_a_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="No plan can be read"):
        read_plan(path)
    with pytest.raises(InputError, match="No plan can be read"):
        read_plan(tmp_path / "absent.json")


def test_where_nothing_can_be_trained_the_reasons_are_said_and_no_evidence_is_spent(job: Job, dataset: Dataset) -> None:
    one_label = tuple(msgspec.structs.replace(one, gold="praise", incumbent="praise") for one in dataset.examples)
    with pytest.raises(NotEnoughData, match="No student could be trained for 'tickets'") as refused:
        fit_students(job, msgspec.structs.replace(dataset, examples=one_label))
    assert "No evidence was spent." in str(refused.value)
    assert not list(job.home.artefacts.glob("*"))


def stop(what: str, share: float) -> None:
    if what == "linear: counting n-grams":
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_build_that_was_stopped_goes_on_with_its_plan_whatever_else_ran_then(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="training needs the extra 'train'")
    home = project(tmp_path, 300)

    def planned(stopped: bool = False, busy: float = 1.0, seed: int = 0) -> str:
        """Why linear is trained, which names the time that was planned."""
        with job_of(home, kinds=("linear",), budget_s=39.0, seed=seed, threads=1) as job:
            curated = curate_for_build(job)
            job.seconds["curating"], job.busy_s["curating"] = busy, 1.0
            return str(
                fit_students(replace(job, progress=stop) if stopped else job, curated.dataset).plan["students"][0][
                    "why"
                ]
            )

    with pytest.raises(KeyboardInterrupt):
        planned(stopped=True, busy=8.0)
    with pytest.raises(KeyboardInterrupt):
        planned(stopped=True, busy=8.0, seed=1)
    assert f"of the {LEAST_TRAINING_S:.0f} s" in planned(), "as it was planned on a busy machine"
    plans = home.builds("tickets") / "work" / "plans"
    assert len(list(plans.iterdir())) == 1, "of the other seed"
    assert f"of the {LEAST_TRAINING_S:.0f} s" not in planned(), "finished, and so planned anew"
    next(plans.iterdir()).write_bytes(b"{")
    assert f"of the {LEAST_TRAINING_S:.0f} s" not in planned(seed=1), "what cannot be read is as if it were not there"
    assert not list(plans.iterdir())
