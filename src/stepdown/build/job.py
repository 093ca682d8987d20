"""One build under way: what was asked for, and what its stages share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from stepdown.certificate.split_answers import Grader
from stepdown.core.contract import Contract, Evidence, TaskSettings
from stepdown.core.family import Family, Loss, families, loss_named
from stepdown.core.pace import Deadline
from stepdown.core.store import Store
from stepdown.core.students import Device, Progress
from stepdown.core.tasks import Task
from stepdown.core.vocabulary import GoldReading
from stepdown.evaluation.cost import MachinePrice
from stepdown.evaluation.quality import QualityOptions
from stepdown.evaluation.speed import SpeedOptions
from stepdown.project.home import Home
from stepdown.students.choice import Given, StudentChoice, read_choice

_WHOLE_TIMING_S = 90.0
"""From this budget on, latencies are measured for as long as ever."""


@dataclass(frozen=True)
class BuildRequest:
    """What a build is asked for. margin, confidence and against override the contract's where they are not None;
    kinds and options (as text) of students go before those of stepdown.toml.

    plan: an earlier build's record, whose students are trained as they were then, whatever the clock says. begun: when
    the command began, by time.monotonic; its budget counts from there.
    """

    task: str
    budget_s: float = 360.0
    plan: Path | None = None
    begun: float = field(default_factory=time.monotonic)
    seed: int = 0
    threads: int = 2
    margin: float | None = None
    confidence: float | None = None
    against: Evidence | None = None
    kinds: tuple[str, ...] = ()
    options: Given = field(default_factory=dict)

    def choice(self, family: str, settings: TaskSettings) -> StudentChoice:
        """The students to train. Raises UnknownKind, UsageError."""
        return read_choice(family, self.kinds or settings.kinds, settings.students, self.options)

    def contract(self, said: Contract) -> Contract:
        """The contract with this request's demands on top. Raises ContractError."""
        asked = {"margin": self.margin, "confidence": self.confidence, "against": self.against}
        return msgspec.structs.replace(said, **{name: value for name, value in asked.items() if value is not None})


@dataclass(frozen=True)
class Job:
    """What the stages of one build share. seconds: by stage, filled as they end; busy_s: this process's own share."""

    home: Home
    store: Store
    request: BuildRequest
    progress: Progress
    task: Task
    contract: Contract
    choice: StudentChoice = field(default_factory=StudentChoice)
    seconds: dict[str, float] = field(default_factory=dict)
    busy_s: dict[str, float] = field(default_factory=dict)

    @property
    def family(self) -> Family:
        return families().load(self.task.family)

    @property
    def loss(self) -> Loss:
        """The loss that the contract is about. Raises ContractError where the family has no such loss."""
        return loss_named(self.task.family, self.contract.loss)

    @property
    def grading(self) -> QualityOptions:
        """How the quality of answers is measured."""
        return QualityOptions(self.loss.name, self.request.seed, self.task.form)

    @property
    def grader(self) -> Grader:
        """What answers are held against references by."""
        return Grader(self.family, self.loss, self.contract.slices)

    @property
    def reading(self) -> GoldReading:
        """How the labels of gold are read."""
        return self.home.settings.task(self.task.name).gold_reading

    @property
    def device(self) -> Device:
        """Where students answer."""
        return self.home.settings.machine.device

    @property
    def machine(self) -> MachinePrice:
        return machine_price(self.home)

    @property
    def deadline(self) -> Deadline:
        """When the budget is spent."""
        return Deadline(self.request.begun + self.request.budget_s, time.monotonic)

    @property
    def timing_share(self) -> float:
        """Of the time that requests are timed for in a long build, what a short one takes."""
        return min(1.0, self.request.budget_s / _WHOLE_TIMING_S)

    @property
    def timing(self) -> SpeedOptions:
        """How long students and cascade are timed for."""
        whole = SpeedOptions()
        return replace(
            whole, latency_s=self.timing_share * whole.latency_s, throughput_s=self.timing_share * whole.throughput_s
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say that a stage begins, and note how long it took."""
        self.progress(name, 0.0)
        started, busy = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.busy_s[name] = round(time.process_time() - busy, 3)


def machine_price(home: Home) -> MachinePrice:
    """The machine of the settings; the documented default where they say nothing. A stated figure has no range."""
    said, default = home.settings.machine, MachinePrice()
    changed: dict[str, float | str] = {}
    if said.usd_per_hour is not None:
        price = said.usd_per_hour
        changed |= {"usd_per_hour": price, "usd_per_hour_low": price, "usd_per_hour_high": price}
    if said.utilisation is not None:
        share = said.utilisation
        changed |= {"utilisation": share, "utilisation_low": share, "utilisation_high": share}
    if said.vcpus is not None:
        changed |= {"vcpus": said.vcpus}
    if changed:
        changed |= {"name": "the machine in stepdown.toml", "source": "stepdown.toml"}
    return msgspec.structs.replace(default, **changed)
