"""Train a ladder: one student after the other, each placed whole under its own hash, so that a killed build resumes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
from safetensors import SafetensorError

from stepdown import __version__
from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Answer
from stepdown.core.errors import ResourceError, StepdownError, UsageError
from stepdown.core.inputs import Input
from stepdown.core.pace import Clock, Cuts, Deadline
from stepdown.core.record import Dropped
from stepdown.core.students import (
    CHECKPOINT_S,
    ArtefactManifest,
    Device,
    Predictions,
    Progress,
    Student,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import REFERENCE, MachineSpeed
from stepdown.runtime.artefact import open_student, read_manifest
from stepdown.students.artefact import add_probes, place, write_note
from stepdown.students.kinds import student_kinds
from stepdown.students.ladder import KEPT_CHECKPOINTS, OFFER, PlannedStudent
from stepdown.students.train import train_student

CHECKPOINTS = "checkpoints"
_LEAST_OF_FIRST = 1 / 3
"""Of what the first student is planned to take, what it is given in any case."""


@dataclass(frozen=True)
class FitContext:
    """Where and how a ladder is trained.

    work: this task's own folder for unfinished students and notes of finished ones. artefacts: where finished students
    go, by hash. home: for caches shared between builds. device: on which students answer. deadline: when all must be
    trained and measured, None where no clock counts. each_s: what measuring a student takes. busy: how many times
    longer training takes now than planned, because of what else runs here.
    """

    work: Path
    artefacts: Path
    home: Path
    seed: int
    threads: int
    progress: Progress
    network: bool = False
    device: Device = "cpu"
    deadline: Deadline | None = None
    checkpoint_s: float = CHECKPOINT_S
    speed: MachineSpeed = REFERENCE
    each_s: float = 0.0
    busy: float = 1.0


@dataclass(frozen=True)
class FittedStudent:
    """A trained student in its place, its plan with what the clock cut. reused: an earlier build had finished it."""

    plan: PlannedStudent
    folder: Path
    manifest: ArtefactManifest
    reused: bool = False


@dataclass(frozen=True)
class FittedLadder:
    """The students, those that failed or had no time left with the reason, and the plans that were carried out."""

    students: tuple[FittedStudent, ...]
    dropped: tuple[Dropped, ...]
    plans: tuple[PlannedStudent, ...]


_MADE = 4
"""Raise it when the same plan gives another artefact within one version of stepdown: no earlier one is reused then."""


class _Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The note that a plan is done: which artefact came of it, and where the clock had cut it."""

    kind: str
    artefact: str
    cuts: dict[str, Cuts] = {}


def fit_ladder(ladder: Sequence[PlannedStudent], data: TrainingData, context: FitContext) -> FittedLadder:
    """Train every planned student, or take it from an earlier build that had the same plan, data, seed and teacher.

    A student that fails with a StepdownError is dropped with its message, one for which the clock leaves too little
    time with that; a kind that comes again with a teacher takes the place of what it was without. Raises ResourceError
    when the disk is full, UsageError when a student comes before its teacher. An interrupt leaves finished students in
    place, the last checkpoint of the one under way where it had come to one, which it says, and no half-written ones.
    """
    _check_order(ladder)
    _sweep(context)
    fitted: dict[str, FittedStudent] = {}
    plans: list[PlannedStudent] = []
    dropped: list[Dropped] = []
    opened: dict[str, Student] = {}
    total = sum(plan.seconds for plan in ladder) or 1.0
    done = 0.0
    for position, plan in enumerate(ladder):
        teacher = fitted.get(plan.teacher or "")
        if plan.teacher and not teacher and plan.kind in fitted:
            continue
        if teacher and teacher.plan.kind not in opened:
            opened[teacher.plan.kind] = _Remembering(open_student(teacher.folder, context.threads, context.device))
        report = _Report(context.progress, plan.kind, done / total, plan.seconds / total)
        own = replace(context, progress=report, deadline=_own_deadline(context, ladder[position:], fitted))
        material = _Material(data, opened.get(plan.teacher or ""), teacher.manifest.digest if teacher else "")
        try:
            one = _fit_one(plan, material, own, plan.kind in fitted if fitted else None)
            fitted[plan.kind] = one
            plans.append(one.plan)
        except ResourceError:
            raise
        except _TooLate as late:
            dropped += [] if plan.kind in fitted else [Dropped(kind=plan.kind, why=str(late))]
        except StepdownError as error:
            dropped.append(Dropped(kind=plan.kind, why=str(error)))
        except KeyboardInterrupt:
            kept = ", ".join(fitted) or "no student"
            report(f"stopped; kept: {kept}, and {_checkpoint(plan, material, context)} of {plan.kind}", 0.0)
            raise
        done += plan.seconds
        report("done", 1.0)
    return FittedLadder(tuple(fitted.values()), tuple(dropped), tuple(plans))


def _own_deadline(
    context: FitContext, coming: Sequence[PlannedStudent], fitted: Mapping[str, FittedStudent]
) -> Deadline | None:
    """When the first of the coming students must be trained.

    All that come get their part of the time, in proportion; where it is too little for all, the first takes what it
    needs and the dearer ones after it are left out, but it leaves them most of the time where there is something else
    already.
    """
    if context.deadline is None:
        return None
    measured = {plan.kind for plan in coming} - fitted.keys()
    own = context.busy * coming[0].seconds
    needed = context.busy * sum(plan.seconds for plan in coming) + context.each_s * len(measured)
    room = max(0.0, context.deadline.left - context.each_s * len(fitted))
    most = OFFER * room if fitted and len(coming) > 1 else room
    seconds = max(room * own / max(needed, 1e-9), min(own, most - context.each_s))
    if not fitted:
        # However late it is: a build whose only student has learned nothing would spend evidence on it.
        seconds = max(seconds, own * _LEAST_OF_FIRST)
    return Deadline(context.deadline.now() + seconds, context.deadline.now)


@dataclass(frozen=True)
class _Material:
    """What a student learns from: the data, and an opened teacher with its hash, where there is one."""

    data: TrainingData
    teacher: Student | None
    teacher_hash: str


def _fit_one(plan: PlannedStudent, material: _Material, context: FitContext, is_again: bool | None) -> FittedStudent:
    """is_again: whether the kind is there already; None for the first student of all, which is trained in any case."""
    key = _key(plan, material, context)
    note = context.work / "finished" / f"{key}.json"
    earlier = _earlier(note, context)
    if earlier:
        finished, folder, manifest = earlier
        return FittedStudent(replace(plan, cuts=finished.cuts), folder, manifest, reused=True)
    checkpoints = _checkpoints(context, key)
    if is_again is not None and not checkpoints.exists():
        _check_time(plan, material.data, context, is_again)
    folder = context.work / "unfinished" / key[:16]
    training = TrainingContext(
        folder=folder,
        home=context.home,
        seed=context.seed,
        seconds=plan.seconds,
        threads=context.threads,
        progress=context.progress,
        teacher=material.teacher,
        teacher_hash=material.teacher_hash,
        network=context.network,
        clock=Clock(context.deadline, plan.cuts),
        checkpoints=checkpoints,
        checkpoint_s=context.checkpoint_s,
    )
    try:
        folder.mkdir(parents=True)
        trained = train_student(plan.kind, material.data, plan.options, training)
        manifest = add_probes(folder, trained, material.data.inputs, context.device)
        placed = place(folder, context.artefacts)
        cuts = training.clock.cuts
        write_note(note, _Finished(kind=plan.kind, artefact=manifest.digest, cuts=cuts))
        shutil.rmtree(checkpoints, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"The student {plan.kind!r} could not be written ({error}).",
            f"Training needs free disk and memory, and a folder that may be written: {context.work}.",
            "Free some space, then run the build again: finished students are kept.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return FittedStudent(replace(plan, cuts=cuts), placed, manifest)


def _key(plan: PlannedStudent, material: _Material, context: FitContext) -> str:
    """The digest of all that an artefact follows from."""
    parts = (
        __version__,
        _MADE,
        plan.kind,
        asdict(plan.options),
        material.data.digest,
        context.seed,
        material.teacher_hash,
    )
    return digest_of((*parts, plan.cuts) if plan.cuts else parts)


def _checkpoints(context: FitContext, key: str) -> Path:
    return context.work / CHECKPOINTS / key[:16]


def _checkpoint(plan: PlannedStudent, material: _Material, context: FitContext) -> str:
    """What there is on disk of a student under way, in words: how old, and of which phase of its training."""
    folder = _checkpoints(context, _key(plan, material, context))
    written = {path.stat().st_mtime: path.stem for path in folder.glob("*.safetensors")}
    if not written:
        return "nothing yet"
    newest = max(written)
    return f"a checkpoint {max(0.0, time.time() - newest):,.0f} s old ({written[newest]})"


class _TooLate(Exception):
    """The clock leaves a student too little time."""


def _check_time(plan: PlannedStudent, data: TrainingData, context: FitContext, is_again: bool) -> None:
    if context.deadline is None:
        return
    left = context.deadline.left / context.busy
    kind = student_kinds().load(plan.kind)
    if left < plan.seconds if is_again else kind.options_for(data.size, left, context.speed) is None:
        raise _TooLate(
            f"It was planned, but {left:.0f} s were left for it when its turn came, which is too little; "
            "the same build again would go on with it, and so would a larger --budget."
        )


def _earlier(note: Path, context: FitContext) -> tuple[_Finished, Path, ArtefactManifest] | None:
    """The artefact of an earlier build with the same key, if it is still there, whole, and answers here as there."""
    try:
        finished = msgspec.json.decode(note.read_bytes(), type=_Finished)
        folder = context.artefacts / finished.artefact
        open_student(folder, device=context.device)
        return finished, folder, read_manifest(folder)
    except (OSError, msgspec.DecodeError, StepdownError):
        return None


def _sweep(context: FitContext) -> None:
    """Remove what a killed build left half-written; the task's build lock says that nobody else is writing there."""
    shutil.rmtree(context.work / "unfinished", ignore_errors=True)
    checkpoints = sorted((context.work / CHECKPOINTS).glob("*"), key=lambda path: path.stat().st_mtime)
    for stale in checkpoints[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(stale, ignore_errors=True)
    for note in (context.work / "finished").glob("*.unfinished"):
        note.unlink(missing_ok=True)
    leftovers: Iterable[Path] = context.artefacts.glob(".*.unfinished") if context.artefacts.is_dir() else ()
    for leftover in leftovers:
        shutil.rmtree(leftover, ignore_errors=True)


def _check_order(ladder: Sequence[PlannedStudent]) -> None:
    seen: set[str] = set()
    for plan in ladder:
        if plan.teacher and plan.teacher not in seen:
            raise UsageError(
                f"The student {plan.kind!r} is to learn from {plan.teacher!r}, which is not trained before it.",
                "A teacher stands before its students in the ladder.",
                "Change the order of the ladder.",
            )
        seen.add(plan.kind)


class _Report:
    """One student's progress as a share of the whole ladder's."""

    def __init__(self, progress: Progress, kind: str, start: float, share: float) -> None:
        self._progress, self._kind, self._start, self._share = progress, kind, start, share

    def __call__(self, what: str, share: float) -> None:
        self._progress(f"{self._kind}: {what}", min(1.0, self._start + self._share * share))


class _Remembering:
    """A teacher that is asked about the same inputs by several students and answers them once."""

    def __init__(self, student: Student) -> None:
        self.kind, self.signal_names = student.kind, student.signal_names
        self._student = student
        self._asked: list[Input] = []
        self._said: Predictions | None = None

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        return self._student.answer(input)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        if self._said is None or self._asked != list(inputs):
            self._asked, self._said = list(inputs), self._student.answer_many(inputs)
        return self._said
