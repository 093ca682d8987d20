"""The verdict of a scan: step down, these labels only, look closer, or stay with the large model. With its reasons."""

from __future__ import annotations

from typing import Literal

import msgspec

from stepdown.core.estimates import Estimate
from stepdown.core.students import TIME_OF_A_SCAN
from stepdown.core.trivial import trivial_sentences
from stepdown.evaluation.scan.dimensions import Dimension, rate_all
from stepdown.evaluation.scan.facts import LabelFact, ScanFacts
from stepdown.evaluation.scan.worth import dollars, labels_needed, monthly_saving

Verdict = Literal["step down", "use an SLM for these labels only", "look closer", "stay with the large model"]

STEP_DOWN: Verdict = "step down"
THESE_LABELS: Verdict = "use an SLM for these labels only"
LOOK_CLOSER: Verdict = "look closer"
STAY: Verdict = "stay with the large model"

MOST_OF_THE_TRAFFIC = 0.5
WORTH_THE_TROUBLE = 0.1
STILL_LEARNING = 0.02


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A scan's verdict and all that it rests on. labels: those that a small model would do well, with their share of
    the traffic; given whenever there are some, and what the verdict is about where it says "these labels only"."""

    version: int = 1
    task: str
    verdict: Verdict
    reasons: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    labels: tuple[LabelFact, ...]
    labels_share: float
    labels_needed: int | None
    saving_per_month: Estimate | None
    facts: ScanFacts


def scan(facts: ScanFacts) -> ScanReport:
    """Should this task step down? A pure function of the facts."""
    saving, fit = monthly_saving(facts), labels_within_margin(facts)
    share = sum(label.share for label in fit)
    verdict, reasons = _decide(facts, saving, fit, share)
    reasons = [*reasons, *_trivial(facts)]
    return ScanReport(
        task=facts.task,
        verdict=verdict,
        reasons=tuple(reasons),
        dimensions=rate_all(facts),
        labels=fit,
        labels_share=share,
        labels_needed=None if facts.contract.against == "agreement" else labels_needed(facts),
        saving_per_month=saving,
        facts=facts,
    )


def _trivial(facts: ScanFacts) -> list[str]:
    """That always answering the same would keep the margin, where it would."""
    trivial, contract = facts.trivial, facts.contract
    if trivial is None or facts.cheap is None or not trivial.passes(contract.margin):
        return []
    return trivial_sentences(trivial, contract.margin, contract.slices)


def labels_within_margin(facts: ScanFacts) -> tuple[LabelFact, ...]:
    """Labels whose excess loss is within half of slice_margin (or the margin, if larger), and surely within it all."""
    contract = facts.contract
    level = max(contract.margin, contract.slice_margin / 2)
    return tuple(
        label
        for label in (facts.cheap.labels if facts.cheap else ())
        if label.excess.value <= level and label.excess.high <= max(contract.slice_margin, level)
    )


def _decide(
    facts: ScanFacts, saving: Estimate | None, fit: tuple[LabelFact, ...], share: float
) -> tuple[Verdict, list[str]]:
    """The first rule that holds, from what cannot be done, over what does not pay, to what can be reached."""
    return _cannot(facts) or _does_not_pay(facts, saving) or _reaches(facts, saving, fit, share)


def _cannot(facts: ScanFacts) -> tuple[Verdict, list[str]] | None:
    answers = facts.answers
    if answers.mostly_new:
        reason = f"{answers.distinct:,} of {answers.n:,} answers are different: this is free text, not a choice."
        return STAY, [reason, "There is nothing here for a small classifier to choose from."]
    if facts.cheap is not None:
        return None
    if answers.distinct == 1 and answers.n:
        return LOOK_CLOSER, [f"{facts.no_student[:1].upper()}{facts.no_student[1:]}.", "Is this call needed at all?"]
    reason = f"No student could be tried: {facts.no_student}."
    if facts.no_student.endswith(TIME_OF_A_SCAN):
        return LOOK_CLOSER, [reason, "That says nothing of what one learns in a build: build one and see."]
    return STAY, [reason]


def _does_not_pay(facts: ScanFacts, saving: Estimate | None) -> tuple[Verdict, list[str]] | None:
    """Only a measured volume can prove that it does not pay; and privacy or latency may be worth the money."""
    monthly = facts.calls.calls_per_month
    other_gains = facts.contract.privacy == "local-only" or facts.contract.latency_p95_ms is not None
    if saving is None or monthly is None or saving.high > 0.0 or other_gains:
        return None
    return STAY, [
        f"At {monthly.value:,.0f} calls a month nothing is saved: {dollars(saving.value)} a month "
        f"({dollars(saving.low)} to {dollars(saving.high)}), machine, upkeep and shadow requests counted.",
    ]


def _reaches(
    facts: ScanFacts, saving: Estimate | None, fit: tuple[LabelFact, ...], share: float
) -> tuple[Verdict, list[str]]:
    student = facts.cheap
    if student is None:
        raise ValueError("Got facts without a student; expected a task that was not decided before.")
    offload = student.offload
    reason = (
        f"Within the margin of {facts.contract.margin:g}, a cheap student could answer {offload.value:.0%} of the "
        f"traffic ({offload.low:.0%} to {offload.high:.0%}, n = {offload.n}, cross-validated)."
    )
    if offload.value >= MOST_OF_THE_TRAFFIC:
        doubt = _doubt(saving)
        return (LOOK_CLOSER, [reason, doubt]) if doubt else (STEP_DOWN, [reason, *_gains(facts, saving)])
    if share >= WORTH_THE_TROUBLE and len(fit) < facts.answers.distinct:
        return THESE_LABELS, [reason, f"On {len(fit)} of its answers it is reliable: {share:.0%} of the traffic."]
    rising = _still_learning(facts)
    if rising or offload.value >= WORTH_THE_TROUBLE:
        return LOOK_CLOSER, [reason, *([rising] if rising else ["A larger student may reach more: build one and see."])]
    return STAY, [reason, "No group of answers is reliable enough, and more rows do not seem to help."]


def _doubt(saving: Estimate | None) -> str:
    if saving is None or saving.value > 0.0:
        return ""
    return f"But it may not pay: {dollars(saving.value)} a month ({dollars(saving.low)} to {dollars(saving.high)})."


def _gains(facts: ScanFacts, saving: Estimate | None) -> list[str]:
    per = "a month" if facts.calls.calls_per_month else "per 100,000 calls a month"
    if saving is None:
        return ["What it saves is unknown: the calls could not be priced."]
    return [f"That saves about {dollars(saving.value)} {per} ({dollars(saving.low)} to {dollars(saving.high)})."]


def _still_learning(facts: ScanFacts) -> str:
    points = facts.cheap.learning if facts.cheap else ()
    if len(points) < 2 or points[-2].loss.value - points[-1].loss.value < STILL_LEARNING:
        return ""
    return (
        f"It is still learning: from {points[-2].rows:,} to {points[-1].rows:,} rows its loss fell from "
        f"{points[-2].loss.value:.1%} to {points[-1].loss.value:.1%}. Collect more traffic."
    )
