"""What a scan can say, before any training, of the saving and of the labels that a proof would need."""

from __future__ import annotations

import math

from stepdown.core.estimates import Estimate
from stepdown.evaluation.roi import (
    RoiInputs,
    machine_per_month,
    measured,
    roi,
    unknown_volume,
)
from stepdown.evaluation.scan.facts import ScanFacts
from stepdown.stats import power

POWER = 0.9
EVIDENCE_SHARE = 0.2


def monthly_saving(facts: ScanFacts) -> Estimate | None:
    """USD a month at the cheap student's offload, by the ROI's own model; None without a price or a student.

    Where the volume is unknown it is that of 100,000 calls a month.
    """
    price, student, calls = facts.calls.cost_per_1k, facts.cheap, facts.calls.calls_per_month
    if price is None or student is None:
        return None
    return roi(
        RoiInputs(
            calls_per_month=measured("calls_per_month", calls) if calls else unknown_volume(),
            offload=measured("offload", student.offload, "share"),
            incumbent_usd_per_1k=measured("incumbent_usd_per_1k", price, "USD"),
            machine_usd_per_month=machine_per_month(facts.machine),
        )
    ).saving_per_month


def dollars(value: float) -> str:
    """Whole US dollars, the sign before them."""
    return f"{'-' if value < 0 else ''}${abs(value):,.0f}"


def labels_needed(facts: ScanFacts) -> int | None:
    """Gold labels as evidence for the margin at the cheap student's offload; None when no amount would do.

    Of the calls that are drawn only those need one on which the student differs from the incumbent. Where only the
    incumbent's answers are known, either is taken to be right as often as the other where they differ.
    """
    student, contract = facts.cheap, facts.contract
    if student is None or student.offload.value <= 0.0:
        return None
    worse, better = student.worse_rate, student.better_rate
    differs, most = student.differs_rate, facts.calls.calls
    if student.reference != "gold":
        # Agreement undersells a student; what it will be allowed to answer by gold is not known, all of it at most.
        differs = student.disagreement.value
        worse = better = differs / 2
        most = max(1, round(EVIDENCE_SHARE * facts.calls.calls))
    goal = power.Goal(margin=contract.margin, error=1.0 - contract.confidence, power=POWER)
    calls = power.labels_for_paired(worse, better, goal)
    return None if calls is None else max(1, math.ceil(min(calls, most) * min(1.0, differs)))
