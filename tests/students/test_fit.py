"""Fitting a ladder: resumed, swept, interrupted, with a student that fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stepdown.core.errors import UsageError
from stepdown.core.pace import Deadline
from stepdown.core.students import TrainingData
from stepdown.runtime.artefact import read_manifest
from stepdown.students.fit import FitContext, fit_ladder
from stepdown.students.kinds import encoder, frozen, linear, token_cnn
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
    assert noisier.digest != task.digest
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


class Hands:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, what: str, share: float) -> None:
        self.now += 1.0


def test_a_kind_for_which_the_clock_leaves_too_little_is_left_out_with_a_reason(tmp_path: Path) -> None:
    hands = Hands()
    late = PlannedStudent("frozen", frozen.Options(), 10.0, None, "better")
    context = replace(_context(tmp_path), deadline=Deadline(8.0, hands), progress=hands.tick)
    fitted = fit_ladder([PLAN, late], tiny_task(), context)
    assert [one.plan.kind for one in fitted.students] == ["linear"]
    assert [one.kind for one in fitted.dropped] == ["frozen"]
    assert "budget" in fitted.dropped[0].why


def test_what_the_clock_cut_is_in_the_plan_and_can_be_replayed_elsewhere(tmp_path: Path) -> None:
    hands = Hands()
    context = replace(_context(tmp_path / "here"), deadline=Deadline(12.0, hands), progress=hands.tick)
    fitted = fit_ladder([PLAN], tiny_task(), context)
    assert fitted.plans[0].cuts
    replayed = fit_ladder(fitted.plans, tiny_task(), _context(tmp_path / "elsewhere"))
    assert replayed.students[0].manifest.digest == fitted.students[0].manifest.digest
    assert replayed.plans == fitted.plans
    again = fit_ladder([PLAN], tiny_task(), _context(tmp_path / "here"))
    assert again.students[0].reused
    assert again.plans == fitted.plans


def test_the_cheap_are_taught_again_after_their_teacher(tmp_path: Path) -> None:
    other = PlannedStudent("linear", linear.Options(), 5.0, "token_cnn", "again")
    teacher = PlannedStudent("token_cnn", token_cnn.Options(epochs=2), 5.0, None, "the teacher")
    fitted = fit_ladder([PLAN, teacher, other], tiny_task(), _context(tmp_path))
    kept = {one.plan.kind: one.manifest for one in fitted.students}
    assert kept["linear"].lineage[0].step == "distil"
    assert kept["linear"].lineage[0].parents == (kept["token_cnn"].digest,)
    hands = Hands()
    hands.now = 1e9
    late = replace(_context(tmp_path / "late"), deadline=Deadline(1.0, hands))
    alone = fit_ladder([PLAN, replace(other, teacher=None)], tiny_task(), late)
    assert [one.manifest.lineage[0].step for one in alone.students] == ["train"]
    assert alone.dropped == ()


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from dataclasses import replace
from test_fit import ENCODER, _context, tiny_task
from stepdown.students.fit import fit_ladder
steps = []
def kill(what, share):
    steps.append(what)
    if sum("distilling" in each for each in steps) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
fit_ladder([ENCODER(sys.argv[3])], tiny_task(), replace(_context(Path(sys.argv[1])), progress=kill, checkpoint_s=0.0))
"""


def ENCODER(base: str) -> PlannedStudent:  # noqa: N802  (a plan as the others are, but for its base)
    options = encoder.Options(base=base, layers=2, teacher_epochs=2.0, epochs=2.0, max_length=32, learning_rate=1e-3)
    return PlannedStudent("encoder", options, 60.0, None, "the best")


def test_a_training_killed_in_the_middle_goes_on_to_the_artefact_of_an_undisturbed_one(
    tmp_path: Path, write_encoder
) -> None:
    pytest.importorskip("torch", reason="training needs the extra 'train'")
    write_encoder(tmp_path / "base")
    plan = ENCODER(str(tmp_path / "base"))
    whole = fit_ladder([plan], tiny_task(), _context(tmp_path / "whole"))
    home = tmp_path / "killed"
    arguments = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(home), str(Path(__file__).parent), plan.options.base]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    heard: list[str] = []
    again = fit_ladder([plan], tiny_task(), replace(_context(home), progress=lambda what, share: heard.append(what)))
    assert again.students[0].manifest.digest == whole.students[0].manifest.digest
    assert not any("all layers" in each for each in heard)
    assert not list((home / "builds" / "desk" / "checkpoints").glob("*"))


class Stop:
    """Somebody who stops a training when it says a word, and what it then said."""

    def __init__(self, word: str) -> None:
        self.word, self.said = word, ""

    def __call__(self, what: str, share: float) -> None:
        if self.word and self.word in what:
            self.word = ""
            raise KeyboardInterrupt
        self.said = what


def test_a_training_that_is_stopped_says_what_is_kept_and_no_more(tmp_path: Path, write_encoder) -> None:
    pytest.importorskip("torch", reason="training needs the extra 'train'")
    write_encoder(tmp_path / "base")
    ladder = [PLAN, ENCODER(str(tmp_path / "base"))]

    def stopped(word: str) -> str:
        stop = Stop(word)
        with pytest.raises(KeyboardInterrupt):
            fit_ladder(ladder, tiny_task(), replace(_context(tmp_path), progress=stop, checkpoint_s=0.0))
        return stop.said

    assert stopped("counting") == "linear: stopped; kept: no student, and nothing yet of linear"
    assert stopped("reading the base") == "encoder: stopped; kept: linear, and nothing yet of encoder"
    assert not (tmp_path / "builds" / "desk" / "checkpoints").exists()
    kept = r"encoder: stopped; kept: linear, and a checkpoint \d+ s old \((.+)\) of encoder"
    reached = [re.fullmatch(kept, stopped(word)) for word in ("all layers", "distilling")]
    assert [match and match[1] for match in reached] == ["before-training", "teacher"]


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
