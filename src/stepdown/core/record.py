"""A build's record: all that was decided and measured, kept as JSON. The report is drawn from it and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import DatasetManifest
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Role
from stepdown.core.measurements import Disagreement, FieldEscalation, Quality, ShownMetric, Speed, StudentMeasurement
from stepdown.core.trivial import Trivial


class IncumbentMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """The incumbent on the same rows. latency is None where the traffic has none; costs rest on the price library."""

    model: str
    quality: tuple[Quality, ...]
    cost_per_1k: Estimate | None
    latency_p50: Estimate | None = None
    latency_p95: Estimate | None = None
    calls_per_month: Estimate | None = None
    price_source: str = ""


class CascadeMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """The cascade as served. cost_per_1k includes the incumbent's share; latency is that of local answers."""

    offload: Estimate
    quality: tuple[Quality, ...]
    speed: Speed
    cost_per_1k: Estimate | None
    shares: dict[str, float]


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of risk against coverage. risk: the cascade's loss on the rows that it answers itself.

    excess: the excess loss over all rows at this coverage. certified: whether this is the chosen point.
    """

    coverage: float
    risk: Estimate
    excess: Estimate
    incumbent_risk: float
    certified: bool = False


class RoiInput(msgspec.Struct, frozen=True, kw_only=True):
    """One number the ROI rests on, with the range it may lie in and where it comes from (measured, priced, assumed)."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """The monthly saving when one input is at its low and at its high, all others held."""

    name: str
    at_low: float
    at_high: float


class Roi(msgspec.Struct, frozen=True, kw_only=True):
    """What stepping down is worth. Money in USD; intervals come from the uncertainty of the inputs."""

    inputs: tuple[RoiInput, ...]
    saving_per_month: Estimate
    one_off_cost: Estimate
    payback_months: Estimate | None
    roi_12_months: Estimate
    hours_saved_per_month: Estimate | None
    energy_saved_kwh_per_month: Estimate | None
    sensitivity: tuple[Sensitivity, ...]


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A student that was not trained or not used, and why."""

    kind: str
    why: str


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One build. seconds: how long each stage took. plan: every choice that followed from contract, data and budget.

    loss: the one that the contract is about, by name. shown: how people read each metric. roles: of answers that have
    fields, how a student gets each and how many of the training answers could teach it; refused: the fields that none
    can fill, with the reason. field_escalation: by student that is sure of single fields, what leaving only those to
    the incumbent of which it is not would save. trivial: what the incumbent's commonest answer would reach, on rows
    that are no evidence. kinds: what each kind of student is, for people.
    """

    version: int = 1
    task: str
    family: str
    created_at: float
    stepdown_version: str
    seed: int
    budget_s: float
    seconds: dict[str, float]
    contract: Contract
    dataset: DatasetManifest
    excluded: dict[str, int]
    incumbent: IncumbentMeasurement
    students: tuple[StudentMeasurement, ...]
    dropped: tuple[Dropped, ...]
    cascade: CascadeMeasurement | None
    risk_coverage: tuple[CurvePoint, ...]
    certificate: Certificate
    roi: Roi | None
    disagreements: tuple[Disagreement, ...]
    environment: dict[str, Any]
    plan: dict[str, Any]
    loss: str = "error"
    shown: dict[str, ShownMetric] = {}
    roles: tuple[Role, ...] = ()
    refused: dict[str, str] = {}
    field_escalation: tuple[FieldEscalation, ...] = ()
    trivial: Trivial | None = None
    kinds: dict[str, str] = {}

    @property
    def part(self) -> str:
        """The word for what the rows of `Quality.labels` are."""
        return "field" if self.roles or self.refused else "label"
