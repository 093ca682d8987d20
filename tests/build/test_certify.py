"""The candidate is fixed on tune; what is labelled is tested; every look at the evidence is in the journal first."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.build.table_build import RIGHT, WRONG, Table, job_of, measure, project
from tests.cli.tickets import label

from stepdown.build.certify import Certified, certify_cascade, population, with_drawn_gold
from stepdown.build.curate import curate_for_build
from stepdown.build.job import Job
from stepdown.core.dataset import Example
from stepdown.core.draw import ATTEMPTED, LOOKED
from stepdown.core.store import Gold
from stepdown.project.evidence_draws import plan_labels, planned_rows


def certify(job: Job, table: Table = RIGHT) -> Certified:
    curated = curate_for_build(job)
    return certify_cascade(job, curated.dataset, measure(job, curated, [table]))


def looks(job: Job, kind: str = ATTEMPTED) -> int:
    return sum(1 for _ in job.store.events(kind))


def test_a_student_that_is_right_is_certified_and_its_attempt_is_in_the_journal(tmp_path: Path) -> None:
    with job_of(project(tmp_path)) as job:
        found = certify(job)
        (event,) = job.store.events(ATTEMPTED)
    certificate = found.certificate
    assert (certificate.verdict, certificate.attempt, certificate.evidence) == ("certified", 1, "gold")
    assert certificate.excess_loss is not None
    assert certificate.excess_loss.bound <= 0.05
    assert certificate.offload > 0.7
    assert (certificate.journal.events, certificate.journal.head) == (event.sequence, event.digest)
    assert certificate.issued_at == event.at
    assert certificate.cascade_hash == found.candidate.cascade(certificate.chosen).digest
    assert found.evidence.n == found.whole.n == certificate.n_drawn


def test_a_student_that_is_always_wrong_is_refused_and_says_why(tmp_path: Path) -> None:
    with job_of(project(tmp_path)) as job:
        certificate = certify(job, WRONG).certificate
    assert certificate.verdict == "refused"
    assert certificate.reasons
    assert certificate.offload == 0.0


def test_the_same_question_asked_again_spends_nothing_and_another_student_does(tmp_path: Path) -> None:
    with job_of(project(tmp_path)) as job:
        first, again = certify(job), certify(job)
        assert looks(job) == 1
        assert again.certificate.digest == first.certificate.digest
        other = certify(job, Table(error=0.05, kind="token_cnn")).certificate
        assert looks(job) == 2
    assert other.attempt == 2
    assert other.error_share < first.certificate.error_share


def test_without_labels_nothing_is_tested_or_spent_and_a_look_is_noted(tmp_path: Path) -> None:
    with job_of(project(tmp_path, 1_200, labelled=0)) as job:
        found = certify(job)
        assert (looks(job), looks(job, LOOKED)) == (0, 1)
    assert (found.certificate.verdict, found.certificate.attempt) == ("refused", 0)
    assert found.certificate.labels_needed
    assert 0 < found.evidence.n < found.whole.n, "as many as a plan asks for"


def test_what_is_planned_and_labelled_is_tested_and_no_more(tmp_path: Path) -> None:
    with job_of(project(tmp_path, labelled=0)) as job:
        waits = certify(job)
        draw = curate_for_build(job).dataset.draw
        assert draw is not None
        plan_labels(job.store, draw, waits.evidence.n, job.home.clock())
        job.store.add_gold(Gold(id=name, gold=label(int(name[1:])), basis="drawn") for name in waits.evidence.seen.ids)
        found = certify(job)
        assert planned_rows(job.store, draw) >= waits.evidence.n
        assert looks(job) >= 1
    assert found.certificate.attempt == 1
    assert found.evidence.n >= waits.evidence.n
    assert found.certificate.n_labelled <= waits.evidence.n


def test_against_agreement_no_gold_is_needed(tmp_path: Path) -> None:
    with job_of(project(tmp_path, labelled=0), against="agreement", margin=0.2) as job:
        certificate = certify(job).certificate
    assert (certificate.verdict, certificate.evidence, certificate.attempt) == ("certified", "agreement", 1)


def test_gold_that_was_declared_a_random_sample_and_is_none_spends_nothing(tmp_path: Path) -> None:
    with job_of(project(tmp_path, labelled=0)) as job:
        picked = [one for one in range(900) if label(one) in ("praise", "refund")]
        job.store.add_gold(Gold(id=f"c{one}", gold=label(one), basis="random-sample") for one in picked)
        found = certify(job)
        assert looks(job) == 0
    assert found.certificate.verdict == "refused"
    assert "declared a random sample, and is none" in found.evidence.basis.objection


def test_a_dataset_without_a_draw_is_a_mistake_of_the_callers(tmp_path: Path) -> None:
    with job_of(project(tmp_path, 400)) as job:
        curated = curate_for_build(job)
        measured = measure(job, curated)
        with pytest.raises(ValueError, match="without a draw"):
            certify_cascade(job, msgspec.structs.replace(curated.dataset, draw=None), measured)


def test_the_population_is_that_of_the_draw(tmp_path: Path) -> None:
    with job_of(project(tmp_path, 400)) as job:
        draw = curate_for_build(job).dataset.draw
        assert draw is not None
        found = population(job, draw)
    assert (found.draw, found.calls, found.units) == (draw.digest, draw.calls, draw.units)
    assert found.drawn_at == job.home.clock()


def test_judged_rows_keep_the_gold_that_is_a_random_sample_of_them() -> None:
    def rows(*bases: str | None) -> list[Example]:
        return [
            Example(id=str(at), input="", incumbent="a", gold=None if basis is None else "a", gold_basis=basis or "")
            for at, basis in enumerate(bases)
        ]

    def kept(*bases: str | None) -> list[bool]:
        return [one.gold is not None for one in with_drawn_gold(rows(*bases))]

    assert kept("", "random-sample", None, "all") == [False, True, False, True]
    assert kept("", "", None, "") == [True, True, False, False], "an unbroken beginning"
    assert kept("", "drawn") == [True, True]
    assert kept(None, "") == [False, False]


def test_thresholds_are_fixed_before_the_evidence_is_seen(tmp_path: Path) -> None:
    with job_of(project(tmp_path)) as job:
        first = certify(job).candidate
        flipped = (Gold(id=f"c{one}", gold="praise", basis="all") for one in range(900))
        evidence = {one.id for one in curate_for_build(job).dataset.split("certify")}
        job.store.add_gold(one for one in flipped if one.id in evidence)
        second = certify(job).candidate
    assert second.digest == first.digest
    np.testing.assert_array_equal(second.points, first.points)
