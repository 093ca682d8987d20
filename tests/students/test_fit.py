"""Fitting a ladder: resumed, swept, interrupted, with a student that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stepdown.core.errors import UsageError
from stepdown.core.students import TrainingData
from stepdown.runtime.artefact import read_manifest
from stepdown.students.fit import FitContext, digest_training_data, fit_ladder
from stepdown.students.kinds import linear
from stepdown.students.ladder import PlannedStudent
from stepdown.students.tiny_task import tiny_task

pytestmark = pytest.mark.slow

pytest.importorskip("scipy", reason="training needs the extra 'train'")

PLAN = PlannedStudent("linear", linear.Options(), 5.0, None, "the cheapest")


def _context(home: Path, seed: int = 1) -> FitContext:
    return FitContext(
        work=home / "builds" / "desk",
        artefacts=home / "artefacts",
        home=home,
        seed=seed,
        threads=1,
        progress=lambda what, share: None,
    )


def _one_label() -> TrainingData:
    task = tiny_task()
    return replace(task, targets=["fine"] * len(task.targets))


def test_a_second_build_reuses_what_the_first_finished(tmp_path: Path) -> None:
    first = fit_ladder([PLAN], tiny_task(), _context(tmp_path)).students[0]
    again = fit_ladder([PLAN], tiny_task(), _context(tmp_path)).students[0]
    assert (first.reused, again.reused) == (False, True)
    assert again.folder == first.folder == tmp_path / "artefacts" / first.manifest.digest
    assert again.manifest == first.manifest


def test_other_data_options_or_seed_are_trained_anew(tmp_path: Path) -> None:
    fit_ladder([PLAN], tiny_task(), _context(tmp_path))
    task = tiny_task()
    noisier = replace(task, targets=[*task.targets[1:], task.targets[0]])
    assert digest_training_data(noisier) != digest_training_data(task)
    other = replace(PLAN, options=linear.Options(longest=4))
    assert not fit_ladder([PLAN], noisier, _context(tmp_path)).students[0].reused
    assert not fit_ladder([other], task, _context(tmp_path)).students[0].reused
    assert not fit_ladder([PLAN], task, _context(tmp_path, seed=2)).students[0].reused


def test_a_broken_artefact_is_trained_again(tmp_path: Path) -> None:
    first = fit_ladder([PLAN], tiny_task(), _context(tmp_path)).students[0]
    (first.folder / "ngrams.json").write_text("{}")
    again = fit_ladder([PLAN], tiny_task(), _context(tmp_path)).students[0]
    assert not again.reused
    assert read_manifest(again.folder).digest == first.manifest.digest


def test_a_student_that_fails_is_dropped_with_its_message(tmp_path: Path) -> None:
    fitted = fit_ladder([PLAN], _one_label(), _context(tmp_path))
    assert fitted.students == ()
    assert "1 different answers" in fitted.dropped[0].why
    assert not list((tmp_path / "builds" / "desk" / "unfinished").glob("*"))


def test_a_student_before_its_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="before"):
        fit_ladder([replace(PLAN, teacher="encoder")], tiny_task(), _context(tmp_path))


def test_progress_rises_to_one(tmp_path: Path) -> None:
    seen: list[float] = []
    context = replace(_context(tmp_path), progress=lambda what, share: seen.append(share))
    fit_ladder([PLAN], tiny_task(), context)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_fit import PLAN, _context, tiny_task
from dataclasses import replace
from stepdown.students.fit import fit_ladder
def slow(what, share):
    print("training", flush=True)
    time.sleep(60)
fit_ladder([PLAN], tiny_task(), replace(_context(Path(sys.argv[1])), progress=slow))
"""


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_build_leaves_nothing_that_the_next_one_trips_over(tmp_path: Path, signal_number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        os.kill(process.pid, signal_number)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    unfinished = tmp_path / "builds" / "desk" / "unfinished"
    if signal_number == signal.SIGINT:
        assert not list(unfinished.glob("*"))
    else:
        assert list(unfinished.glob("*"))
    assert not (tmp_path / "artefacts").exists()
    fitted = fit_ladder([PLAN], tiny_task(), _context(tmp_path))
    assert len(fitted.students) == 1
    assert not unfinished.exists() or not list(unfinished.glob("*"))
