"""Which of a record's figures are shown: the split and reference everything is read against, the
student that stands for a build without a cascade, the words for kinds."""

from __future__ import annotations

from dataclasses import dataclass

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import Quality, Speed, StudentMeasurement
from stepdown.core.record import BuildRecord
from stepdown.report.format import clean, wording

# Gold is worth more than agreement; rows that nothing was chosen on are worth more than rows that something was.
_PREFERRED = (
    ("test", "gold"),
    ("certify", "gold"),
    ("test", "incumbent"),
    ("certify", "incumbent"),
    ("tune", "gold"),
    ("tune", "incumbent"),
)

_KINDS = {
    "linear": "word and character n-grams with a linear head",
    "static": "static token embeddings distilled from an encoder, with a linear head",
    "frozen": "a small pretrained encoder left as it is, with a head trained on this task",
    "encoder": "a small encoder fine-tuned on this task",
    "tagger": "a small encoder with a head per token",
    "seq2seq": "a small encoder-decoder",
    "decoder": "a small causal language model",
}


@dataclass(frozen=True)
class Reading:
    """The split and reference that the figures of the report are read on."""

    split: str
    reference: str

    @property
    def rows(self) -> str:
        """In words."""
        against = "gold answers" if self.reference == "gold" else "the incumbent's own answers"
        return f"the {clean(self.split)} rows, against {against}"

    @property
    def error_name(self) -> str:
        return "Error" if self.reference == "gold" else "Disagreement with the incumbent"

    def of(self, qualities: tuple[Quality, ...]) -> Quality | None:
        for quality in qualities:
            if (quality.split, quality.reference) == (self.split, self.reference):
                return quality
        return None

    def metric(self, qualities: tuple[Quality, ...], *names: str) -> Estimate | None:
        """The first of the metrics `names` that was measured here."""
        quality = self.of(qualities)
        return next((quality.metrics[name] for name in names if name in quality.metrics), None) if quality else None

    def error(self, qualities: tuple[Quality, ...]) -> Estimate | None:
        """The loss that the contract is about; the share of answers unlike the incumbent's where there is no gold."""
        return self.metric(qualities, "error")

    def macro_f1(self, qualities: tuple[Quality, ...]) -> Estimate | None:
        """Macro-F1 as people read it; the metric is its loss, 1 − F1."""
        return complement(self.metric(qualities, "macro_f1"))

    def agreement(self, qualities: tuple[Quality, ...]) -> Estimate | None:
        """The share of answers like the incumbent's, on the same split; the metric is its loss."""
        return complement(Reading(self.split, "incumbent").metric(qualities, "agreement", "error"))


def read(record: BuildRecord) -> Reading:
    """The best split and reference on which the cascade, else any student, was measured."""
    measured = [quality for student in record.students for quality in student.quality]
    if record.cascade is not None and record.cascade.quality:
        measured = list(record.cascade.quality)
    found = [(quality.split, quality.reference) for quality in measured]
    for preferred in _PREFERRED:
        if preferred in found:
            return Reading(*preferred)
    return Reading(*found[0]) if found else Reading("certify", "gold")


def best_student(record: BuildRecord) -> StudentMeasurement | None:
    """The undominated student with the least error."""
    reading = read(record)
    errors = [(reading.error(student.quality), student) for student in record.students if not student.dominated_by]
    known = [(error.value, index, student) for index, (error, student) in enumerate(errors) if error is not None]
    if known:
        return min(known)[2]
    return record.students[0] if record.students else None


def shown_speed(record: BuildRecord) -> tuple[str, Speed] | None:
    """Whose speed stands for the build, and its figures: the cascade's, else the best student's."""
    if record.cascade is not None:
        return "the cascade", record.cascade.speed
    student = best_student(record)
    return (f"the student {clean(student.kind)}", student.speed) if student else None


def incumbent_name(record: BuildRecord) -> str:
    """The incumbent without its publisher: "Qwen/Qwen3-30B-A3B" → "Qwen3-30B-A3B"."""
    return clean(record.incumbent.model).rstrip("/").rsplit("/", 1)[-1] or "the incumbent"


def kind_in_words(kind: str) -> str:
    """What a kind of student is, "" for a kind this page does not know."""
    return _KINDS.get(kind, "")


def rung_kinds(record: BuildRecord) -> list[str]:
    """The kinds in the cascade, cheapest first, as the certificate names them."""
    rungs = record.certificate.cascade.get("rungs")
    if not isinstance(rungs, list | tuple):
        return []
    return [clean(rung.get("kind", "")) for rung in rungs if isinstance(rung, dict)]


def metric_in_words(name: str) -> str:
    return {"macro_f1": "Macro-F1", "f1": "F1"}.get(name, wording(name).capitalize())


def complement(estimate: Estimate | None) -> Estimate | None:
    """1 − a loss, with its interval."""
    if estimate is None:
        return None
    return Estimate(
        value=1 - estimate.value,
        low=1 - estimate.high,
        high=1 - estimate.low,
        n=estimate.n,
        method=estimate.method,
        confidence=estimate.confidence,
        estimated=estimate.estimated,
    )
