"""A student: a small model that answers the task. What one is asked, and what one is made of; a kind is one file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json, digest_of, without_younger
from stepdown.core.dataset import Answer
from stepdown.core.extraction.form import Form, Role
from stepdown.core.extraction.roles import learn_roles
from stepdown.core.inputs import Input
from stepdown.core.pace import Clock
from stepdown.core.training_time import MachineSpeed, TrainingSize, training_size

Device = Literal["cpu", "cuda"]
"""Where a student computes. One whose runtime knows the CPU alone stays there whatever is named."""

CHECKPOINT_S = 20.0
"""So many seconds of training may be lost to a killed process."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done in [0, 1]."""


@dataclass(frozen=True)
class Predictions:
    """Answers to n inputs. signals: float (n, k), one column per `signal_names` of the student, raw and uncalibrated.

    probabilities: float (n, labels) where the student has them (the teacher of a distillation needs them), else None.
    parts: for answers made of parts, each one's raw probability of being right, by name (fields; of a field that the
    answer lacks: of its absence), else None.
    """

    answers: list[Answer]
    signals: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None
    parts: list[dict[str, float]] | None = None


class Student(Protocol):
    """An opened student, ready to answer. Opening and answering need no torch. Safe to call from several threads."""

    kind: str
    signal_names: tuple[str, ...]
    """Raw signals of being right; by convention "top" (top probability), "margin", "entropy", "truncated" (0/1) …

    One named "abstains" is 1 where the student itself says that it cannot give this answer, and 0 elsewhere.
    """

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """One answer with its signals. The hot path."""

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """Answers to many inputs, batched inside."""


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """One step in how an artefact came to be: "train", "distil", "prune" or "quantise", with what it was given."""

    step: str
    parameters: dict[str, Any] = {}
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Runtime:
    """What computes the answers of a kind. suffixes: of the files that an artefact of it may be made of, formats that
    hold data and cannot run anything when they are read."""

    name: str
    suffixes: frozenset[str]


NUMPY = Runtime("numpy", frozenset({".json", ".safetensors"}))
ONNXRUNTIME = Runtime("onnxruntime", frozenset({".json", ".onnx", ".safetensors"}))


class ArtefactManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an artefact folder holds (`manifest.json`). files: sha256 by relative path. runtime: the name of its kind's,
    "" in version 1."""

    version: int = 2
    kind: str
    runtime: str = ""
    task: str
    family: str
    labels: tuple[str, ...]
    signal_names: tuple[str, ...]
    files: dict[str, str]
    seed: int
    trained_s: float
    learned_from: dict[str, int]
    dataset_hash: str
    lineage: tuple[Lineage, ...] = ()
    options: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """The artefact's own hash: its content, not how long it took, so that the same seed gives the same artefact."""
        return digest_of(without_younger(msgspec.structs.replace(self, trained_s=0.0), ("runtime",)))


@dataclass(frozen=True)
class TrainingData:
    """What a student learns from. targets: answers, from gold where there is some, else the incumbent's.

    sources: "gold" or "incumbent", per row. weights: (n,). soft: float (n, labels), a teacher's probabilities for these
    rows (a larger student's, or the incumbent's recorded ones; rows of NaN where there are none), or None.
    extra_inputs: those without an answer (unlabelled), for distillation only. Nothing of tune, certify or test is here.
    form: the fields of the answers, where the task's family has some; `labels` are then the answers' slices.
    """

    task: str
    family: str
    inputs: list[Input]
    targets: list[Answer]
    sources: list[str]
    weights: NDArray[np.float64]
    labels: tuple[str, ...]
    dataset_hash: str
    soft: NDArray[np.float64] | None = None
    extra_inputs: list[Input] = field(default_factory=list)
    form: Form | None = None

    @cached_property
    def texts(self) -> list[str]:
        """The text of each input."""
        return [input.text for input in self.inputs]

    @cached_property
    def extra_texts(self) -> list[str]:
        """The text of each input without an answer."""
        return [input.text for input in self.extra_inputs]

    @cached_property
    def digest(self) -> str:
        """The sha256 of all that a student learns from: the same texts with other targets count as other data."""
        hasher = hashlib.sha256()
        plain: tuple[Any, ...] = (self.task, self.family, self.labels, self.dataset_hash)
        form = () if self.form is None else (self.form,)
        for part in (*plain, self.inputs, self.targets, self.sources, self.extra_inputs, *form):
            hasher.update(canonical_json(part) + b"\n")
        hasher.update(np.ascontiguousarray(self.weights, dtype=np.float64).tobytes())
        if self.soft is not None:
            hasher.update(np.ascontiguousarray(self.soft, dtype=np.float64).tobytes())
        return hasher.hexdigest()

    @cached_property
    def size(self) -> TrainingSize:
        """How much there is to learn, unlabelled texts included."""
        return training_size([*self.texts, *self.extra_texts], len(self.labels))

    @cached_property
    def answered(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The texts whose answers have fields, and those answers."""
        rows = [(text, each) for text, each in zip(self.texts, self.targets, strict=True) if isinstance(each, dict)]
        return [text for text, _ in rows], [answer for _, answer in rows]

    @cached_property
    def roles(self) -> tuple[Role, ...]:
        """How a student gets each field of the form, learned once from what is answered; () without a form."""
        return learn_roles(self.form, *self.answered) if self.form else ()


@dataclass(frozen=True)
class TrainingContext:
    """Where and how to train. folder: empty, for the artefact. seconds: what the plan expects it to take.

    teacher: an opened, larger student to distil from, or None. home: where shared blobs and caches may be kept. clock:
    what training asks between its steps. checkpoints: where what was reached may be kept, at most every `checkpoint_s`
    seconds; None to keep nothing.
    """

    folder: Path
    home: Path
    seed: int
    seconds: float
    threads: int
    progress: Progress
    teacher: Student | None = None
    teacher_hash: str = ""
    network: bool = False
    clock: Clock = field(default_factory=Clock)
    checkpoints: Path | None = None
    checkpoint_s: float = CHECKPOINT_S

    def fitted(self, parameters: dict[str, Any]) -> Lineage:
        """The step that fitted a student: "distil" where a teacher was asked, else "train"."""
        step, parents = ("distil", (self.teacher_hash,)) if self.teacher else ("train", ())
        return Lineage(step=step, parameters=parameters, parents=parents)


@dataclass(frozen=True)
class Trained:
    """What training leaves besides files. lineage: its steps. pretrained: the base it began with, described."""

    lineage: tuple[Lineage, ...]
    pretrained: dict[str, Any] = field(default_factory=dict)


TIME_OF_A_SCAN = "in the time of a scan"
"""How a reason ends that says nothing of what a build would learn."""


class StudentKind(Protocol):
    """The protocol a module in `students/kinds/` keeps.

    Three names may be left out: `TEACHES = True` for a kind that is the best there is whatever it costs to run;
    `why_not(data: TrainingData) -> str`, which says before any training why the kind cannot learn these answers, naming
    the field, "" where it can; and `out_of_sample(data, seed, folds, threads)`, a cross-validation quicker than
    training each fold, which gives the answers and how likely each is right (n,).
    """

    FAMILIES: tuple[str, ...]
    EXTRA: str
    COST_ORDER: float
    """Rough cost of one answer, where `linear` (about 50 µs on one core) is 1; the ladder is tried cheapest first."""

    Options: type[Any]
    """A frozen dataclass of this kind's options, each with a default and a doc line."""

    def seconds_needed(self, size: TrainingSize, options: Any, speed: MachineSpeed) -> float:
        """A rough guess of training time on this machine, for choosing the ladder."""

    def options_for(self, size: TrainingSize, seconds: float, speed: MachineSpeed) -> Any | None:
        """The options that make the best use of at most `seconds` on this machine, or None when that is too little."""

    def train(self, data: TrainingData, options: Any, context: TrainingContext) -> Trained:
        """Train and write the artefact's files into context.folder; `students.train.train_student` seals them."""

    def examples(self) -> TrainingData:
        """A tiny task that this kind learns in seconds; the battery over all kinds trains on it."""
