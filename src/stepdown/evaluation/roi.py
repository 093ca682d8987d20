"""The value of stepping down in money, time and energy, with the uncertainty of every input propagated.

Nothing here is invented in silence: each number is a RoiInput with a range and a source, and one that nobody measured
or stated says "assumed". With an unknown volume, everything is per 100,000 calls a month, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.core.record import Roi, RoiInput, Sensitivity
from stepdown.evaluation.cost import HOURS_PER_MONTH, MachinePrice
from stepdown.evaluation.energy import JOULES_PER_KWH
from stepdown.stats.monte_carlo import Triangular, propagate

Calculate = Callable[[Mapping[str, float]], float]

DRAWS = 2000
CONFIDENCE = 0.95
NEVER_MONTHS = 120.0
"""A payback later than this is given as this: no forecast of a task's traffic reaches further."""
UNKNOWN_VOLUME = 100_000.0


def stated(name: str, value: float, unit: str, source: str) -> RoiInput:
    """A number that is known, or stated by the user: no range."""
    return RoiInput(name=name, value=value, low=value, high=value, unit=unit, source=source)


def ranged(name: str, values: tuple[float, float, float], unit: str, source: str) -> RoiInput:
    """A number with its range: (low, value, high)."""
    low, value, high = values
    return RoiInput(name=name, value=value, low=low, high=high, unit=unit, source=source)


def measured(name: str, estimate: Estimate, unit: str = "") -> RoiInput:
    """A number that was measured or priced, with its interval."""
    kind = "estimated" if estimate.estimated else "measured"
    source = f"{kind}: {estimate.method}, n = {estimate.n}"
    return ranged(name, (estimate.low, estimate.value, estimate.high), unit or estimate.unit, source)


def unknown_volume() -> RoiInput:
    """The stand-in for an unknown volume: 100,000 calls a month."""
    return stated("calls_per_month", UNKNOWN_VOLUME, "calls", "assumed: volume unknown, per 100,000 calls")


def machine_per_month(machine: MachinePrice) -> RoiInput:
    """The machine that serves, rented all month whether busy or not."""
    low, value, high = (
        price * HOURS_PER_MONTH for price in (machine.usd_per_hour_low, machine.usd_per_hour, machine.usd_per_hour_high)
    )
    return ranged("machine_usd_per_month", (low, value, high), "USD", machine.source)


class RoiInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that the ROI rests on. The first three describe the task and have no default; the rest may be replaced.

    labels: those that people still have to give, once. shadow_share: of the requests answered locally, those sent to
    the incumbent too, to keep watch. machine_capacity: requests per second that one machine can answer.
    Latencies and energies are of one request; None where unknown, and what rests on them is then None.
    """

    calls_per_month: RoiInput
    offload: RoiInput
    incumbent_usd_per_1k: RoiInput
    machine_usd_per_month: RoiInput = machine_per_month(MachinePrice())
    machine_capacity: RoiInput = ranged("machine_capacity", (20.0, 100.0, 500.0), "requests/s", "assumed")
    licence_usd_per_month: RoiInput = stated("licence_usd_per_month", 0.0, "USD", "stepdown is free (Apache-2.0)")
    shadow_share: RoiInput = ranged("shadow_share", (0.01, 0.02, 0.05), "share", "assumed")
    upkeep_hours_per_month: RoiInput = ranged("upkeep_hours_per_month", (0.0, 1.0, 4.0), "hours", "assumed")
    labels: RoiInput = stated("labels", 0.0, "labels", "none needed")
    usd_per_label: RoiInput = ranged("usd_per_label", (0.05, 0.15, 1.0), "USD", "assumed: crowd to in-house expert")
    engineer_hours: RoiInput = ranged("engineer_hours", (4.0, 16.0, 60.0), "hours", "assumed: set-up and review")
    usd_per_engineer_hour: RoiInput = ranged("usd_per_engineer_hour", (50.0, 100.0, 180.0), "USD", "assumed")
    build_machine_hours: RoiInput = ranged("build_machine_hours", (0.1, 1.0, 10.0), "hours", "assumed")
    usd_per_build_hour: RoiInput = ranged("usd_per_build_hour", (0.03, 0.08, 0.5), "USD", "assumed: a 2-vCPU cloud VM")
    incumbent_latency_s: RoiInput | None = None
    own_latency_s: RoiInput | None = None
    incumbent_joules: RoiInput | None = None
    own_joules: RoiInput | None = None

    @property
    def known(self) -> dict[str, RoiInput]:
        """Every input that is not None, by field name."""
        inputs = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in inputs.items() if value is not None}


def roi(inputs: RoiInputs, seed: int = 0) -> Roi:
    """The ROI with 95 % intervals by Monte Carlo (each input triangular over its range) and one-at-a-time sensitivity.

    Values are at the inputs' own values; the intervals hold their values. payback_months is None where nothing is saved
    at the inputs' values. Raises ValueError for an input whose range does not hold its value.
    """
    known = inputs.known
    for name, given in known.items():
        if not given.low <= given.value <= given.high:
            raise ValueError(f"Got {name} = {given.value} outside its range {given.low} to {given.high}.")
    latencies = {"incumbent_latency_s", "own_latency_s"} <= known.keys()
    joules = {"incumbent_joules", "own_joules"} <= known.keys()
    saving = _estimate(_saving, known, seed, "USD/month")
    return Roi(
        inputs=tuple(known.values()),
        saving_per_month=saving,
        one_off_cost=_estimate(_one_off, known, seed, "USD"),
        payback_months=_estimate(_payback, known, seed, "months") if saving.value > 0.0 else None,
        roi_12_months=_estimate(_twelve_months, known, seed, "ratio"),
        hours_saved_per_month=_estimate(_hours, known, seed, "hours/month") if latencies else None,
        energy_saved_kwh_per_month=_estimate(_kilowatt_hours, known, seed, "kWh/month") if joules else None,
        sensitivity=_sensitivity(known),
    )


def _saving(at: Mapping[str, float]) -> float:
    """USD a month: what the incumbent no longer gets, less machines, licence and upkeep. Shadowed calls save none."""
    spared = at["calls_per_month"] * at["offload"] * (1.0 - at["shadow_share"]) / 1000.0 * at["incumbent_usd_per_1k"]
    upkeep = at["upkeep_hours_per_month"] * at["usd_per_engineer_hour"]
    return spared - _machines(at) * at["machine_usd_per_month"] - at["licence_usd_per_month"] - upkeep


def _machines(at: Mapping[str, float]) -> int:
    """Whole machines, one at least, for a traffic whose peak is three times its mean."""
    peak_per_second = 3.0 * at["calls_per_month"] / (HOURS_PER_MONTH * 3600.0)
    return max(1, math.ceil(peak_per_second / at["machine_capacity"]))


def _one_off(at: Mapping[str, float]) -> float:
    labelling = at["labels"] * at["usd_per_label"]
    engineers = at["engineer_hours"] * at["usd_per_engineer_hour"]
    return labelling + engineers + at["build_machine_hours"] * at["usd_per_build_hour"]


def _payback(at: Mapping[str, float]) -> float:
    saving = _saving(at)
    return min(NEVER_MONTHS, _one_off(at) / saving) if saving > 0.0 else NEVER_MONTHS


def _twelve_months(at: Mapping[str, float]) -> float:
    """(12 months' saving − one-off cost) ÷ one-off cost; a cost below one dollar counts as one dollar."""
    cost = _one_off(at)
    return (12.0 * _saving(at) - cost) / max(cost, 1.0)


def _hours(at: Mapping[str, float]) -> float:
    spared = at["incumbent_latency_s"] * at["offload"] - at["own_latency_s"]
    return at["calls_per_month"] * spared / 3600.0


def _kilowatt_hours(at: Mapping[str, float]) -> float:
    spared = at["incumbent_joules"] * at["offload"] * (1.0 - at["shadow_share"]) - at["own_joules"]
    return at["calls_per_month"] * spared / JOULES_PER_KWH


def _estimate(calculate: Calculate, known: Mapping[str, RoiInput], seed: int, unit: str) -> Estimate:
    sources = {name: Triangular(given.low, given.value, given.high) for name, given in known.items()}
    # The same seed for every result: each draw is one imagined world, and its results belong together.
    drawn = propagate(calculate, sources, np.random.default_rng(seed), draws=DRAWS, error=1.0 - CONFIDENCE)
    value = calculate({name: given.value for name, given in known.items()})
    return Estimate(
        value=value,
        low=min(drawn.lower, value),
        high=max(drawn.upper, value),
        n=DRAWS,
        method="Monte Carlo over the inputs' ranges",
        unit=unit,
        estimated=True,
    )


def _sensitivity(known: Mapping[str, RoiInput]) -> tuple[Sensitivity, ...]:
    """The monthly saving with one input at its low and at its high, the rest held; the widest swing first."""
    middle = {name: given.value for name, given in known.items()}
    swings = [
        Sensitivity(
            name=name, at_low=_saving({**middle, name: given.low}), at_high=_saving({**middle, name: given.high})
        )
        for name, given in known.items()
    ]
    moving = [swing for swing in swings if swing.at_low != swing.at_high]
    return tuple(sorted(moving, key=lambda each: -abs(each.at_high - each.at_low)))
