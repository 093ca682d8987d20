"""The dimensions of a scan: each with its figure, its rating for stepping down, and the reason in plain words.

The thresholds are judgements, named here once. Ratings: good, fair and poor as reasons to step down; unknown where the
traffic does not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from stepdown.core.estimates import Estimate
from stepdown.core.trivial import PROPOSAL
from stepdown.evaluation.scan.facts import FEWEST_ROWS, ScanFacts
from stepdown.evaluation.scan.worth import dollars, labels_needed, monthly_saving

Rating = Literal["good", "fair", "poor", "unknown"]


class Dimension(msgspec.Struct, frozen=True, kw_only=True):
    """One dimension. figure: as a person reads it; estimate: the number behind it, where there is one."""

    name: str
    figure: str
    rating: Rating
    reason: str
    estimate: Estimate | None = None


def rate_all(facts: ScanFacts) -> tuple[Dimension, ...]:
    """Every dimension, in the order of the report."""
    return tuple(judge(facts) for judge in JUDGES)


def cost(facts: ScanFacts) -> Dimension:
    spent = facts.calls.cost_per_1k
    if spent is None:
        return _unknown("cost", "The calls could not be priced. Give a price in the settings.")
    rating = _rated(spent.value, 0.2, 0.02)
    words = {
        "good": "A small model on rented CPU costs cents per thousand; there is much to save.",
        "fair": "There is something to save, but volume decides.",
        "poor": "The large model is already about as cheap as any server.",
    }
    figure = f"${spent.value:.3g} per 1,000 calls ({spent.low:.3g} to {spent.high:.3g})"
    return Dimension(name="cost", figure=figure, rating=rating, reason=words[rating], estimate=spent)


def latency(facts: ScanFacts) -> Dimension:
    middle, late = facts.calls.latency_p50, facts.calls.latency_p95
    if middle is None:
        return _unknown("latency", "The traffic has no latencies. A small model answers in about a millisecond.")
    rating = _rated(middle.value, 0.3, 0.05)
    tail = f", p95 {late.value * 1e3:,.0f} ms" if late else ""
    words = {
        "good": "Users or pipelines wait for this; a small model answers in about a millisecond.",
        "fair": "A small model would be quicker, though few would notice.",
        "poor": "The large model is quick already.",
    }
    figure = f"p50 {middle.value * 1e3:,.0f} ms{tail}"
    return Dimension(name="latency", figure=figure, rating=rating, reason=words[rating], estimate=middle)


def privacy(facts: ScanFacts) -> Dimension:
    share = facts.calls.personal_data_share
    if facts.contract.privacy == "local-only":
        reason = "The contract keeps requests on this machine: what a small model cannot answer, nobody answers."
        return Dimension(name="privacy", figure="local-only", rating="good", reason=reason)
    if share is None:
        return _unknown("privacy", "The inputs were not searched for personal data.")
    reason = (
        "Personal data leaves your machines in these calls; calls that a small model answers do not."
        if share > 0.0
        else "No personal data was found, so privacy is no reason either way."
    )
    rating: Rating = "good" if share > 0.0 else "fair"
    return Dimension(name="privacy", figure=f"{share:.1%} of inputs hold personal data", rating=rating, reason=reason)


def context_length(facts: ScanFacts) -> Dimension:
    long = facts.inputs.characters_p95
    rating = _rated(-long, -2000.0, -8000.0)
    words = {
        "good": "The part that varies fits a small encoder whole.",
        "fair": "Some inputs are longer than a small encoder reads (about 2,000 characters); their ends are cut.",
        "poor": "Inputs are long; a small encoder would read only their beginning.",
    }
    figure = f"inputs of {facts.inputs.characters_p50:,.0f} characters, p95 {long:,.0f}"
    return Dimension(name="context length", figure=figure, rating=rating, reason=words[rating])


def instructions(facts: ScanFacts) -> Dimension:
    given = facts.instructions
    if given is None:
        return _unknown("instructions", "The calls share no prompt template, so there is no constant part to read.")
    rating = "poor" if given.messages > 3 else _rated(-given.words, -800, -3000)
    words = {
        "good": "A short, constant instruction: a student learns it from the answers and need not read it.",
        "fair": "A long instruction; a student must learn all of its rules from the answers.",
        "poor": "The prompt is a policy or a conversation rather than one question; a student sees only answers.",
    }
    figure = f"{given.words:,} words, {given.rules} rules or listed choices, {given.messages} messages"
    return Dimension(name="instructions", figure=figure, rating=rating, reason=words[rating])


def answer_entropy(facts: ScanFacts) -> Dimension:
    answers = facts.answers
    if answers.n < FEWEST_ROWS:
        return _unknown("answer entropy", f"Only {answers.n} answers could be read; too few to tell.")
    figure = (
        f"{answers.entropy_bits:.2f} bits: {answers.distinct:,} different answers, as spread as "
        f"{answers.effective:,.0f}"
    )
    if answers.mostly_new:
        reason = "Nearly every answer is new: this is free text, not a choice among known answers."
        return Dimension(name="answer entropy", figure=figure, rating="poor", reason=reason)
    rows_each = answers.n / answers.effective
    rating = _rated(rows_each, 50.0, 10.0)
    reason = f"About {rows_each:,.0f} rows for each equally common answer to learn from."
    if answers.fields:
        kinds = (
            "all of one kind"
            if answers.effective < 1.01
            else f"in kind as spread as {answers.effective:,.1f} equal ones"
        )
        figure = f"{answers.fields:,} fields, {answers.distinct:,} different answers, {kinds}"
        reason = f"About {rows_each:,.0f} rows for each equally common kind of answer to learn from."
    return Dimension(name="answer entropy", figure=figure, rating=rating, reason=reason)


def trivial_answer(facts: ScanFacts) -> Dimension:
    trivial = facts.trivial
    if trivial is None:
        return _unknown("trivial answer", "No answer can be read.")
    right, what = (
        1.0 - trivial.loss.value,
        "right by gold" if trivial.reference == "gold" else "the large model's own answer",
    )
    figure = f"always “{trivial.name}”: {what} on {right:.1%} (n = {trivial.loss.n:,})"
    passes, by_label = trivial.passes(facts.contract.margin), "label" in facts.contract.slices
    rating: Rating = "poor" if passes and not by_label else "fair" if passes else "good"
    reason = (
        "It would not keep the margin: a student has to learn something."
        if not passes
        else "It would keep the margin too, but not each label's."
        if by_label
        else f"It would keep the margin too. Add {PROPOSAL} to the contract, so that each label counts."
    )
    return Dimension(name="trivial answer", figure=figure, rating=rating, reason=reason, estimate=trivial.excess)


def volume(facts: ScanFacts) -> Dimension:
    monthly, rows = facts.calls.calls_per_month, facts.answers.n
    rating = _rated(rows, 2000, 200)
    words = {
        "good": "Enough recorded answers to learn from and to prove it on.",
        "fair": "Enough to try; a tight margin may need more evidence than there is.",
        "poor": "Too few recorded answers to learn from, let alone to prove anything.",
    }
    spread = f"; {monthly.value:,.0f} calls a month" if monthly else "; calls a month unknown"
    figure = f"{rows:,} usable answers of {facts.calls.calls:,} calls{spread}"
    return Dimension(name="volume", figure=figure, rating=rating, reason=words[rating], estimate=monthly)


def duplicates(facts: ScanFacts) -> Dimension:
    conflicts = facts.answers.conflict_share
    rating = _rated(-conflicts, -0.05, -0.2)
    steady = "The large model answers the same question the same way."
    reason = (
        steady
        if conflicts == 0.0
        else f"On repeated inputs, {conflicts:.0%} of its answers are not its usual one: nobody can agree with those."
    )
    figure = f"{facts.inputs.duplicate_share:.1%} of inputs repeat another exactly"
    return Dimension(name="duplicates", figure=figure, rating=rating, reason=reason)


def cheap_student(facts: ScanFacts) -> Dimension:
    student = facts.cheap
    if student is None:
        return _unknown("cheap student", f"None was tried: {facts.no_student}.")
    rating = _rated(student.offload.value, 0.5, 0.1)
    agreement = 1.0 - student.disagreement.value
    right = ""
    if student.error is not None and student.incumbent_error is not None:
        right = f"; by gold {1 - student.error.value:.1%} right (n = {student.error.n}), the large model "
        right += f"{1 - student.incumbent_error.value:.1%}"
    figure = f"agrees with the large model on {agreement:.1%} (n = {student.n}){right}"
    reason = (
        f"Cross-validated, it could answer {student.offload.value:.0%} ({student.offload.low:.0%} to "
        f"{student.offload.high:.0%}) of the traffic within the margin of {facts.contract.margin:g}, held against "
        f"{'gold' if student.reference == 'gold' else 'the large model itself'}. Larger students usually reach more."
    )
    return Dimension(name="cheap student", figure=figure, rating=rating, reason=reason, estimate=student.offload)


def labels(facts: ScanFacts) -> Dimension:
    if facts.contract.against == "agreement":
        reason = "The contract is against the large model's own answers, so nobody has to label anything."
        return Dimension(name="labels needed", figure="0 labels", rating="good", reason=reason)
    needed = labels_needed(facts)
    if needed is None:
        reason = "No number can be given: the cheap student reaches nothing that the margin would allow to be proved."
        return _unknown("labels needed", reason)
    missing = max(0, needed - facts.gold)
    rating: Rating = "good" if missing == 0 else "fair" if missing <= 5000 else "poor"
    figure = f"about {needed:,} labels as evidence; {facts.gold:,} there"
    reason = (
        f"To prove the margin of {facts.contract.margin:g} at {facts.contract.confidence:.0%} with 90 % chance, if the "
        f"cheap student is a fair guide."
    )
    return Dimension(name="labels needed", figure=figure, rating=rating, reason=reason)


def saving(facts: ScanFacts) -> Dimension:
    estimate = monthly_saving(facts)
    if estimate is None:
        return _unknown("saving", "Without a price and a student that could answer there is no saving to estimate.")
    rating: Rating = "good" if estimate.low > 0.0 else "fair" if estimate.value > 0.0 else "poor"
    per = "a month" if facts.calls.calls_per_month else "per 100,000 calls a month"
    figure = f"{dollars(estimate.value)} {per} ({dollars(estimate.low)} to {dollars(estimate.high)})"
    reason = "The large model's price × what a student could answer, less a machine, upkeep and shadow requests."
    return Dimension(name="saving", figure=figure, rating=rating, reason=reason, estimate=estimate)


JUDGES: tuple[Callable[[ScanFacts], Dimension], ...] = (
    cost,
    latency,
    privacy,
    context_length,
    instructions,
    answer_entropy,
    trivial_answer,
    volume,
    duplicates,
    cheap_student,
    labels,
    saving,
)


def _rated(value: float, good: float, fair: float) -> Rating:
    """Higher is better; negate what is not."""
    return "good" if value >= good else "fair" if value >= fair else "poor"


def _unknown(name: str, reason: str) -> Dimension:
    return Dimension(name=name, figure="unknown", rating="unknown", reason=reason)
