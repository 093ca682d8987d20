"""The build that is measured: curate and draw, answer, choose on tune, wait for labels, test; all but the training.

As `stepdown build` does it (`loop.curating`, `loop.measuring`, `loop.certifying`, `loop.keeping`), with students that
are there already and a person who fills in every labels file. Gold comes in between two builds; since a draw stands
whatever is labelled, the calls are curated once and gold is entered in the rows of the draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, cast

import msgspec

from benchmarks._evidence.rooms import Order
from stepdown.build.certify import gold_to_check, next_look, population, rows_to_test, with_drawn_gold
from stepdown.build.curate import incumbent_verdicts
from stepdown.build.job import BuildRequest, Job
from stepdown.build.label_plan import first_plan, label_next, rows_planned, to_label
from stepdown.build.measured_students import MeasuredStudents
from stepdown.build.prepare import check_loss
from stepdown.certificate import claims, planning
from stepdown.certificate.candidate import fit_all
from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Basis, Evidence, Terms, gather
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.gold_objection import objection
from stepdown.certificate.ledger import attempt
from stepdown.certificate.observations import CandidateStudent, Observations
from stepdown.certificate.path import choose_candidate
from stepdown.certificate.split_answers import (
    Grader,
    SplitAnswers,
    answer_split,
    calibration_kind,
    content_keys,
    observe,
    observe_evidence,
    observe_judged,
)
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import Answer, Dataset
from stepdown.core.draw import ATTEMPTED, Draw
from stepdown.core.errors import ContractError, NotEnoughData
from stepdown.core.events import Event, next_event
from stepdown.core.family import Family, families, loss_named
from stepdown.core.store import Gold, Store, Verdict
from stepdown.core.tasks import Task
from stepdown.core.vocabulary import GoldReading
from stepdown.curation.curate import curate
from stepdown.curation.options import CurationOptions
from stepdown.project.evidence_draws import keep_draw, plan_labels, read_draws
from stepdown.stats import paired_binary
from stepdown.stats.spending import attempt_error

MOST_LOOKS = 6
"""So many labels files one person fills in for one candidate."""


class Events:
    """The journal of a store, and nothing else of it."""

    def __init__(self) -> None:
        self.kept: list[Event] = []

    def append(self, kind: str, task: str, data: dict[str, Any], at: float) -> Event:
        self.kept.append(next_event(self.kept[-1] if self.kept else None, at, kind, task, data))
        return self.kept[-1]

    def events(self, kind: str | None = None, task: str | None = None) -> Iterator[Event]:
        return (one for one in self.kept if kind in (None, one.kind) and task in (None, one.task))


@dataclass(frozen=True)
class Desk:
    """What the rooms of the loop read of a job."""

    store: Events
    task: Task
    contract: Contract

    @property
    def home(self) -> Desk:
        return self

    @property
    def family(self) -> Family:
        return families().load(self.task.family)

    @property
    def request(self) -> BuildRequest:
        return BuildRequest(self.task.name)

    @property
    def reading(self) -> GoldReading:
        return GoldReading()

    def clock(self) -> float:
        return float(len(self.store.kept))


@dataclass(frozen=True)
class Seen:
    """What the rooms of the loop read of the measured students."""

    answered: dict[str, SplitAnswers]
    candidate_students: list[CandidateStudent]
    calibrators: tuple[dict[str, Any], ...]


@dataclass
class Project:
    """One project folder."""

    seed: int
    store: Events = field(default_factory=Events)
    labelled: dict[str, Answer] = field(default_factory=dict)
    curated: dict[tuple[int, str, str], tuple[object, Dataset]] = field(default_factory=dict)

    def build(self, order: Order) -> Certificate | None:
        """Builds, with every labels file filled in between two of them, until nothing is left to label."""
        contract = Contract(**order.contract)
        desk = Desk(self.store, order.task, contract)
        try:
            check_loss(order.task, contract)
            dataset = self._curate(order, contract)
            certificate = None
            for _ in range(MOST_LOOKS):
                certificate, wanted = self._look(order, desk, dataset)
                if certificate.verdict == "certified" or not self._label(order, wanted):
                    return certificate
        except (NotEnoughData, ContractError):
            return None
        return certificate

    def _curate(self, order: Order, contract: Contract) -> Dataset:
        key = (id(order.calls), order.task.name, order.judge)
        if key not in self.curated:
            gold = {name: Gold(id=name, gold=value, basis=order.given_basis) for name, value in order.given.items()}
            gold |= {name: Gold(id=name, gold=value, basis="drawn") for name, value in self.labelled.items()}
            options = CurationOptions(
                gold=gold,
                verdicts=incumbent_verdicts(_verdicts(order)),
                seed=self.seed,
                against=contract.against,
                unit=contract.unit,
                draws=read_draws(cast(Store, self.store), order.task.name),
                whole_since=order.whole_since,
            )
            dataset = curate(order.calls, order.task, options)
            keep_draw(cast(Store, self.store), dataset.draw, 0.0)
            self.curated = {key: (order.calls, dataset)}
        return self.curated[key][1]

    def _label(self, order: Order, wanted: Sequence[str]) -> bool:
        """A person fills in the labels file, from its top as far as they have come by now. Whether it is filled."""
        if order.ask is None or not wanted:
            return False
        allowed = len(wanted) if order.most_labels is None else order.most_labels - len(self.labelled)
        self.labelled |= order.ask(wanted[: max(0, allowed)])
        return allowed >= len(wanted)

    def _look(self, order: Order, desk: Desk, dataset: Dataset) -> tuple[Certificate, list[str]]:
        """One build: its certificate or refusal, and the calls of its labels file."""
        job, contract = cast(Job, desk), desk.contract
        store = cast(Store, self.store)
        grader = Grader(families().load(order.task.family), loss_named(order.task.family, contract.loss))
        candidate_students = [
            CandidateStudent(kind=one.kind, artefact=one.artefact, signal_names=one.signal_names)
            for one in order.students
        ]
        draw = dataset.draw
        if draw is None:
            raise ValueError("Got a dataset without a draw; expected one as `curate` makes it.")
        tuned = answer_split(order.students, dataset, "tune")
        if not tuned.examples:
            raise NotEnoughData("There is nothing to tune on.", "", "")
        tune = observe(tuned, candidate_students, grader, calibration_kind(tuned.examples), None)
        answered = self._with_labels(answer_split(order.students, dataset, "certify"))
        seen = _evidence_rows(order, contract, answered, candidate_students, grader)
        error = attempt_error(1.0 - contract.confidence, 1)
        candidate = choose_candidate(order.task.name, PathForecast(tune, contract, max(len(set(seen.units)), 1), error))
        measured = cast(MeasuredStudents, Seen({"tune": tuned, "certify": answered}, candidate_students, fit_all(tune)))
        basis = Basis(
            population=population(job, draw),
            unit=draw.unit,
            drawn=seen.n,
            excluded=dict(dataset.unusable),
            objection=objection(gold_to_check(job, measured), draw.scope),
        )
        whole = gather(candidate, seen, Terms(None, basis), content_keys(answered.examples))
        if order.whole_draw:
            plan_labels(store, draw, whole.n, 0.0)
        evidence, is_ready = rows_to_test(job, draw, whole, first_plan(whole, tune, contract))
        certificate = self._test(desk, dataset, evidence, is_ready and not basis.objection)
        while (wider := next_look(job, draw, whole, evidence, certificate)) is not None:
            evidence = wider
            certificate = self._test(desk, dataset, evidence, True)
        return certificate, self._to_label(store, draw, dataset, whole, label_next(certificate, whole, evidence.n))

    def _test(self, desk: Desk, dataset: Dataset, evidence: Evidence, is_ready: bool) -> Certificate:
        spent = attempt(self.store.events(ATTEMPTED), evidence, desk.contract)
        if is_ready:
            self.store.append(ATTEMPTED, desk.task.name, spent.event, at=desk.clock())
        else:
            spent = msgspec.structs.replace(spent, number=0)
        return certify(evidence, desk.contract, spent, dataset.manifest, Issue(0.0))

    def _to_label(self, store: Store, draw: Draw, dataset: Dataset, whole: Evidence, wanted: int) -> list[str]:
        if not wanted:
            return []
        found = to_label(dataset, whole, rows_planned(store, draw, whole, wanted))
        if found.examples:
            plan_labels(store, draw, found.rows, 0.0)
        return [one.id for one in found.examples if one.id not in self.labelled]

    def _with_labels(self, answered: SplitAnswers) -> SplitAnswers:
        return replace(
            answered,
            examples=[
                msgspec.structs.replace(one, gold=self.labelled[one.id], gold_basis="drawn")
                if one.id in self.labelled
                else one
                for one in answered.examples
            ],
        )


def _evidence_rows(
    order: Order,
    contract: Contract,
    answered: SplitAnswers,
    candidate_students: Sequence[CandidateStudent],
    grader: Grader,
) -> Observations:
    if contract.against == "judged":
        own = SplitAnswers(with_drawn_gold(answered.examples), answered.predictions)
        return observe_judged(own, candidate_students, grader, _verdicts(order), None)
    return observe_evidence(answered, candidate_students, grader, contract.against, None)


def _verdicts(order: Order) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for one in order.verdicts:
        found.setdefault(one.id, []).append(Verdict(id=one.id, loss=one.loss, answer=one.answer, judge=order.judge))
    return found


@cache
def remember() -> None:
    """Keep what pure functions of small counts gave, which samples of many seeds repeat, and leave out the hash of the
    evidence file, which nobody reads here: half of the time."""
    unread = "content_hash"
    setattr(Evidence, unread, property(lambda _: ""))
    for module, name in ((paired_binary, "p_value"), (planning, "labels_for_paired"), (claims, "proportion_interval")):
        setattr(module, name, lru_cache(500_000)(getattr(module, name)))


def new_journal(seed: int) -> Project:
    """A project without a journal yet."""
    remember()
    return Project(seed)
