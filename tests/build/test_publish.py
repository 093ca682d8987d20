"""A build's folder appears whole, the journal knows its files first, and old builds go unless they answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.build.table_build import NOW, RIGHT, SETTINGS, WRONG, Table, job_of, measure, project, record_of
from tests.cli.tickets import TASK

from stepdown.build.certify import certify_cascade
from stepdown.build.curate import Curated, curate_for_build
from stepdown.build.job import Job
from stepdown.build.publish import KEPT_BUILDS, keep
from stepdown.core.errors import ResourceError
from stepdown.curation.dataset_file import read_dataset
from stepdown.project.builds import UNFINISHED, BuildFolder, finished_builds, latest
from stepdown.project.home import Home
from stepdown.project.in_force import standing_now
from stepdown.project.journal import BUILT, read_journal
from stepdown.runtime.cascade import Cascade


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return project(tmp_path, 900)


def published(job: Job, curated: Curated, table: Table = RIGHT) -> BuildFolder:
    measured = measure(job, curated, [table])
    certified = certify_cascade(job, curated.dataset, measured)
    return keep(job, record_of(job, curated.dataset, measured, certified), curated.dataset, measured, certified)


def served(home: Home) -> tuple[str, ...]:
    with home.store() as store:
        return read_journal(home, store).served(TASK)


def later(job: Job, seconds: float) -> Job:
    return replace(job, home=replace(job.home, clock=lambda: NOW + seconds))


def build(home: Home) -> BuildFolder:
    with job_of(home) as job:
        return published(job, curate_for_build(job))


def test_a_build_is_whole_known_to_the_journal_and_answers(home: Home) -> None:
    folder = build(home)
    names = {path.name for path in folder.path.iterdir()}
    assert names >= {
        *("task.json", "cascade.json", "certificate.json", "evidence.jsonl", "dataset", "record.json"),
        *("report.html", "model-card.md", "response-template.json", "to-label.json"),
    }
    assert latest(home, TASK) == folder
    with home.store() as store:
        (event,) = store.events(BUILT)
    assert event.data["files"] == folder.hashes()
    assert (event.data["serves"], event.data["before"], event.data["build"]) == (True, "", folder.path.name)
    found = standing_now(home, TASK, lambda home, spec: Cascade(rungs=()))
    assert (found.in_force, found.complete) == (True, True), found.why_not
    assert not list(home.builds(TASK).glob(f"*{UNFINISHED}"))


def test_what_was_written_is_what_was_found(home: Home) -> None:
    with job_of(home) as job:
        curated = curate_for_build(job)
        folder = published(job, curated)
    kept = read_dataset(folder.dataset)
    assert kept.manifest.content_hash == curated.dataset.manifest.content_hash
    certificate = folder.read_certificate()
    assert folder.read_cascade().digest == certificate.cascade_hash
    assert folder.read_record().certificate.digest == certificate.digest
    assert folder.read_task() == job.task
    pending = folder.read_pending()
    assert pending is not None
    assert pending.draw == certificate.population.draw


def test_a_refusal_and_another_contract_are_kept_and_answer_nothing(home: Home) -> None:
    first = build(home)
    for at, (table, asked) in enumerate([(WRONG, {}), (Table(), {"margin": 0.2})], start=1):
        with job_of(home, **asked) as job:
            newest = published(later(job, 60.0 * at), curate_for_build(job), table)
        assert latest(home, TASK) == newest
        assert served(home) == (first.path.name,)


def test_settings_that_changed_while_it_was_built_decide_whether_it_answers(home: Home) -> None:
    with job_of(home) as job:
        curated = curate_for_build(job)
        (home.folder / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.01"))
        folder = published(job, curated)
    assert latest(home, TASK) == folder
    assert served(home) == ()


def test_settings_that_cannot_be_read_are_those_that_were_read(home: Home) -> None:
    with job_of(home) as job:
        curated = curate_for_build(job)
        (home.folder / "stepdown.toml").write_text("[tasks.tickets\n")
        folder = published(job, curated)
    assert served(home) == (folder.path.name,)


def test_calls_to_label_are_written_where_labels_would_help(tmp_path: Path) -> None:
    home = project(tmp_path, 900, labelled=0)
    folder = build(home)
    assert folder.labels.exists()
    assert folder.read_certificate().verdict == "refused"
    with home.store() as store:
        assert [event.kind for event in store.events("labels-planned")] == ["labels-planned"]
        (event,) = store.events(BUILT)
    assert folder.labels.name not in event.data["files"], "people fill it in"


def test_old_builds_go_but_for_what_answers_and_what_came_before_it(home: Home) -> None:
    with job_of(home) as job:
        curated = curate_for_build(job)
        answering = [published(later(job, float(at)), curated).path.name for at in range(2)]
        old = [home.builds(TASK) / f"{round(NOW + 10 + at) * 1000:015d}-refused" for at in range(KEPT_BUILDS + 2)]
        killed = home.builds(TASK) / f"000000000000001-killed{UNFINISHED}"
        for folder in (*old, killed):
            folder.mkdir()
        newest = published(later(job, 60.0), curated, WRONG)
    there = [one.path.name for one in finished_builds(home, TASK)]
    assert there == [*answering, *(one.name for one in old[-KEPT_BUILDS + 1 :]), newest.path.name]
    assert not killed.exists()


def test_a_disk_that_is_full_publishes_nothing(home: Home) -> None:
    first = build(home)
    with job_of(home) as job:
        curated = curate_for_build(job)
        moved = later(job, 60.0)
        (home.builds(TASK) / "latest").unlink()
        (home.builds(TASK) / "latest").mkdir()
        with pytest.raises(ResourceError, match="could not be written"):
            published(moved, curated)
    assert first.path.is_dir()
