"""Calls, gold and verdicts become a dataset, and the draw of its evidence is journalled before anything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.build.table_build import NOW, SETTINGS, incumbent_call, job_of, project
from tests.cli.tickets import TASK, label

from stepdown.build.curate import (
    MOST_LABELS,
    check_labels,
    curate_for_build,
    imported_files,
    incumbent_verdicts,
    priced,
    read_verdicts,
    summarise,
)
from stepdown.core.dataset import Dataset
from stepdown.core.draw import DRAWN
from stepdown.core.errors import NotEnoughData, ResourceError
from stepdown.core.store import Gold, Verdict
from stepdown.core.tasks import Match, Task
from stepdown.project.evidence_draws import read_draws
from stepdown.project.home import Home, open_home
from stepdown.stores.store import open_store
from stepdown.traffic.pricing import Prices

COUNT = 500


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return project(tmp_path, COUNT)


def test_calls_and_gold_become_four_splits_of_which_the_evidence_is_drawn(home: Home) -> None:
    with job_of(home) as job:
        curated = curate_for_build(job)
        draws = read_draws(job.store, TASK)
    dataset = curated.dataset
    assert {name: len(dataset.split(name)) > 0 for name in ("train", "tune", "certify")} == {
        "train": True,
        "tune": True,
        "certify": True,
    }
    assert dataset.draw is not None
    assert draws == (dataset.draw,)
    assert [one.place for one in dataset.split("certify")] == list(range(len(dataset.split("certify"))))
    assert {one.gold for one in dataset.examples} == {label(number) for number in range(COUNT)}
    assert (curated.summary.calls, curated.summary.task.name) == (COUNT, TASK)
    assert "genai-prices" in curated.price_source
    assert all(one.cost_usd for one in dataset.examples)


def test_a_draw_stands_whatever_is_labelled_later(home: Home) -> None:
    with job_of(home) as job:
        before = curate_for_build(job).dataset
        job.store.add_gold([Gold(id=one.id, gold="praise", basis="all") for one in before.split("certify")[:5]])
        after = curate_for_build(job).dataset
        assert sum(1 for _ in job.store.events(DRAWN)) == 1
    assert [one.id for one in after.split("certify")] == [one.id for one in before.split("certify")]
    assert {one.gold for one in after.split("certify")[:5]} == {"praise"}


def test_the_same_calls_give_the_same_dataset(home: Home) -> None:
    with job_of(home) as job:
        first, again = (curate_for_build(job).dataset.manifest.content_hash for _ in range(2))
    assert first == again


def test_a_task_without_calls_is_refused_by_name() -> None:
    task = Task(name="empty", family="classify", match=Match(workload="empty"))
    with pytest.raises(NotEnoughData, match="'empty' has no calls"):
        summarise(open_store("memory:"), task, Prices({}))


def test_more_labels_than_there_is_time_for_are_refused(home: Home) -> None:
    with job_of(home) as job:
        dataset = curate_for_build(job).dataset

    def with_labels(count: int) -> Dataset:
        labels = tuple(map(str, range(count)))
        return msgspec.structs.replace(dataset, manifest=msgspec.structs.replace(dataset.manifest, labels=labels))

    check_labels(with_labels(MOST_LABELS))
    with pytest.raises(ResourceError, match="2,001 different answers"):
        check_labels(with_labels(MOST_LABELS + 1))


def test_a_recorded_cost_is_kept_and_others_follow_from_the_price() -> None:
    call = incumbent_call(1)
    stated = {"gpt-4o-mini": {"input_per_mtok": 1e6, "output_per_mtok": 1e6}}
    recorded = msgspec.structs.replace(call, cost_usd=7.0)
    nameless = msgspec.structs.replace(call, request={**call.request, "model": "nobody's"}, response={"choices": []})
    costs = [one.cost_usd for one in priced(iter([call, recorded, nameless]), Prices(stated))]
    assert costs == [42.0, 7.0, None]


def test_verdicts_are_read_by_call_without_those_that_are_feedback() -> None:
    store = open_store("memory:")
    store.add_verdicts(
        [
            Verdict(id="a", loss=1.0, judge="j"),
            Verdict(id="a", loss=0.5, answer="x", judge="j"),
            Verdict(id="b", loss=0.25, judge="j"),
            Verdict(id="c", loss=1.0, judge="feedback:web"),
        ]
    )
    found = read_verdicts(store)
    assert {name: len(given) for name, given in found.items()} == {"a": 2, "b": 1}
    assert incumbent_verdicts(found) == {"a": 1.0, "b": 0.25}


def test_imported_files_are_those_of_all_imports_the_last_of_a_name() -> None:
    store = open_store("memory:")
    for at, files in enumerate(({"a": "1", "b": "2"}, {}, {"a": "3"})):
        store.append("imported", "", {"files": files} if files else {}, at=NOW + at)
    assert imported_files(store) == {"a": "3", "b": "2"}


def test_personal_data_are_masked_in_the_dataset_where_the_contract_says_so(tmp_path: Path) -> None:
    home = project(tmp_path, 400)
    (tmp_path / "stepdown.toml").write_text(SETTINGS + 'privacy = "redact"\n')
    home, told = replace(open_home(tmp_path), clock=home.clock), "ann@example.org"
    with home.store() as store:
        call = incumbent_call(5_000)
        messages = [call.request["messages"][0], {"role": "user", "content": f"hello refund {told} order 1 item 2"}]
        store.add_calls([msgspec.structs.replace(call, request={**call.request, "messages": messages})])
    with job_of(home) as job:
        dataset = curate_for_build(job).dataset
    assert "c5000" in {one.id for one in dataset.examples}
    assert all(told not in one.text for one in dataset.examples)
