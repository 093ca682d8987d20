"""The verdict in one sentence, in plain words, and what to do next when it is a refusal."""

from __future__ import annotations

import math

from stepdown.core.certificate import Claim
from stepdown.core.record import BuildRecord
from stepdown.report.format import (
    MEGABYTES,
    PERCENT,
    bounded,
    clean,
    count,
    duration,
    plural,
    points,
    quantity,
    usd,
)
from stepdown.report.loss_words import ERROR, LossWords, loss_words
from stepdown.report.notes import trivial_passes
from stepdown.report.reading import best_student, incumbent_name, read, rung_kinds


def certified(record: BuildRecord) -> bool:
    return record.certificate.verdict == "certified"


def verdict_sentence(record: BuildRecord) -> str:
    """The verdict in one sentence that needs no knowledge of stepdown."""
    return _certified(record) if certified(record) else _refused(record)


def claim_in_words(claim: Claim, confidence: float, evidence: str, words: LossWords = ERROR) -> str:
    """ "at most 1.3 points more error at 95 % confidence": the bound that was shown, and not what was measured."""
    sure = quantity(confidence, PERCENT)
    # The test rejected at the limit, so the limit holds even where the bound is a looser method's.
    bound = min(claim.bound, claim.limit) if claim.holds else claim.bound
    if evidence == "agreement" and words.share:
        differ = "answers unlike the incumbent's on at most"
        return f"{differ} {_share(bound)} of calls at {sure} confidence"
    if evidence == "agreement":
        own = "against the incumbent's own answers"
        return f"a {words.noun} of at least {_share(1 - bound)} {own} at {sure} confidence"
    if not bounded(bound):
        return f"an unknown amount of {words.noun} {words.more(1.0)}"
    if bound < 0:
        return f"at least {words.difference(bound)} at {sure} confidence"
    more = words.unchanged if bound == 0 else f"at most {words.difference(bound)}"
    return f"{more} at {sure} confidence"


def next_steps(record: BuildRecord) -> list[str]:
    """What the owner of a refused task can do, most useful first; empty when it was certified."""
    if certified(record):
        return []
    certificate, steps = record.certificate, []
    task = clean(record.task)
    if certificate.labels_needed and certificate.evidence == "agreement":
        steps.append(
            f"Record about {plural(certificate.labels_needed, 'more call')} of {task} and build again, or label some: "
            "gold needs fewer."
        )
    elif certificate.labels_needed:
        more = "call" if not certificate.attempt else "more call"
        steps.append(
            f"Label about {plural(certificate.labels_needed, more)} that stepdown drew, add them with "
            f"“stepdown import --gold FILE”, and build {task} again. "
            "stepdown has written the file of the calls to label."
        )
    claim = certificate.excess_loss
    if claim is not None and claim.estimate > claim.limit:
        steps.append(
            f"Give the students more data or more time: they had {plural(_learned(record), 'example')} and "
            f"a budget of {duration(record.budget_s)}. Gold labels help most where the incumbent is often wrong."
        )
        worst = _worst_parts(record)
        if worst and record.part == "label":
            steps.append(f"Step down a part: leave {worst} with the incumbent and certify the other labels.")
        elif worst:
            steps.append(f"Look at {worst} first: there the students lose most, and gold labels of them help most.")
        steps.append(
            f"Or ask for less: the contract allows {loss_words(record.loss).difference(record.contract.margin)} than "
            f"{incumbent_name(record)}."
        )
    if not steps:
        steps.append("Change what the reasons name, then build again.")
    steps.append(
        f"Until then nothing changes in production: {incumbent_name(record)}, or a build that answered before, goes on "
        "answering."
    )
    return steps


def models_in_words(record: BuildRecord) -> str:
    """ "A 22 MB model", "2 small models (25 MB together)"."""
    number = max(1, len(rung_kinds(record)))
    size = record.cascade.speed.size_mb if record.cascade is not None else math.nan
    written = quantity(size, MEGABYTES, 2) if bounded(size) and size > 0 else "small"
    article = "An" if written.startswith(("8", "11", "18")) else "A"
    return f"{article} {written} model" if number == 1 else f"{number} small models ({written} together)"


def _certified(record: BuildRecord) -> str:
    claim = record.certificate.excess_loss
    sentence = (
        f"{models_in_words(record)} on your own {_machine(record)} can answer {_offload(record)} of "
        f"{clean(record.task)} calls like those of the evidence in place of {incumbent_name(record)}"
    )
    if claim is not None:
        evidence, words = record.certificate.evidence, loss_words(record.loss)
        sentence += ", with " + claim_in_words(claim, record.contract.confidence, evidence, words)
    return f"{sentence}{_money(record)}.{_pays(record)}{_trivial(record)}"


def _offload(record: BuildRecord) -> str:
    """The share answered without the incumbent as its interval: "96.6 to 98.1 %"; the share alone where it has none."""
    offload = record.cascade.offload if record.cascade is not None else None
    value = offload.value if offload is not None else record.certificate.offload
    if offload is None or not offload.low < offload.high:
        # A share that rounds to the whole is said as the whole only where it is.
        return quantity(math.floor(value * 1000) / 1000 if 0 <= value < 1 else value, PERCENT)
    low = quantity(math.floor(offload.low * 1000) / 1000, PERCENT).removesuffix(PERCENT.after)
    return f"{low} to {quantity(offload.high, PERCENT)}"


def _trivial(record: BuildRecord) -> str:
    """A note for where always giving the commonest answer would pass too, so that the proof shows little."""
    if record.trivial is None or not trivial_passes(record):
        return ""
    within = "is" if record.trivial.excess.value <= record.contract.margin else "may be"
    return f" But always answering “{record.trivial.name}” {within} within the margin too."


def _refused(record: BuildRecord) -> str:
    certificate, claim = record.certificate, record.certificate.excess_loss
    words = loss_words(record.loss)
    start = f"{clean(record.task)} should stay with {incumbent_name(record)} for now: "
    if certificate.labels_needed and not certificate.attempt:
        return (
            f"{start}of {plural(certificate.n_drawn, 'call')} drawn, {count(certificate.labels_needed)} wait for a "
            "label, and nothing was tested yet."
        )
    if certificate.labels_needed:
        looks = ""
        if claim is not None and claim.estimate <= claim.limit:
            measured = _more_or_less(claim.estimate, words)
            looks = f" The small model looks good enough (measured: {measured}), but that is not yet proof."
        are = "is" if certificate.n == 1 else "are"
        unit = "recorded call" if certificate.evidence == "agreement" else "labelled example"
        return (
            f"{start}{plural(certificate.n, unit)} {are} too few to prove the contract; "
            f"about {count(certificate.labels_needed)} more are needed.{looks}"
        )
    if claim is not None and claim.estimate > claim.limit:
        makes = "has" if words.measure else "makes"
        finding = f"{words.difference(claim.estimate)} where the contract allows {points(claim.limit)}"
        return f"{start}the best cascade that was built {makes} {finding}."
    student, reading = best_student(record), read(record)
    error = reading.error(student.quality) if student else None
    if certificate.reasons:
        return start + _sentence_end(clean(certificate.reasons[0]))
    if student and error:
        if not words.share:
            reached = f"has a {words.noun} of {quantity(1 - error.value, PERCENT)}"
            return f"{start}the best student, {clean(student.kind)}, {reached}."
        return f"{start}the best student, {clean(student.kind)}, is wrong on {quantity(error.value, PERCENT)}."
    return start + "no cascade honours the contract."


def _machine(record: BuildRecord) -> str:
    machine = record.cascade.speed.machine.lower() if record.cascade is not None else ""
    return "machine" if "gpu" in machine or "cuda" in machine else "CPU"


def _money(record: BuildRecord) -> str:
    ours = record.cascade.cost_per_1k if record.cascade is not None else None
    theirs = record.incumbent.cost_per_1k
    if ours is None or theirs is None or not (bounded(ours.value) and bounded(theirs.value)):
        return ""
    return f"; {usd(ours.value)} per thousand instead of {usd(theirs.value)}"


def _pays(record: BuildRecord) -> str:
    """That the cascade costs more than it saves, where it is expected to; the volume decides it."""
    roi = record.roi
    saving = roi.saving_per_month if roi is not None else None
    if roi is None or saving is None or not bounded(saving.value) or saving.value >= 0:
        return ""
    calls = next((one.value for one in roi.inputs if one.name == "calls_per_month"), math.nan)
    volume = f" at {plural(round(calls), 'call')} a month" if bounded(calls) else ""
    sure = "probably does" if saving.high > 0 else "does"
    return f" But it {sure} not pay{volume}: all in all it would cost {usd(-saving.value)} a month more than it saves."


def _more_or_less(excess: float, words: LossWords) -> str:
    if not bounded(excess):
        return "nothing"
    return f"{points(excess)} {words.more(excess)}"


def _share(value: float) -> str:
    return quantity(value, PERCENT, 2)


def _sentence_end(text: str) -> str:
    text = text.strip()
    text = text[:1].lower() + text[1:] if text[1:2].islower() else text
    return text if text.endswith((".", "!", "?")) else text + "."


def _learned(record: BuildRecord) -> int:
    return record.dataset.counts.get("train", 0)


def _worst_parts(record: BuildRecord) -> str:
    """Up to three labels or fields whose slices fail, else those on which the cascade loses most to the incumbent."""
    failed = [
        claim.name.split("=", 1)[-1] for claim in record.certificate.claims if "=" in claim.name and not claim.holds
    ]
    quality = read(record).of(record.cascade.quality) if record.cascade is not None else None
    rows = [row for row in quality.labels if row.incumbent_error is not None] if quality else []
    losing = sorted(rows, key=lambda row: -row.n * (row.error.value - (row.incumbent_error or row.error).value))
    lost = [row.name for row in losing if row.incumbent_error and row.error.value > row.incumbent_error.value]
    return ", ".join(f"“{clean(name)}”" for name in (failed or lost)[:3])
