"""Which of a record's figures are shown: the split and reference everything is read against, the
student that stands for a build without a cascade."""

from __future__ import annotations

from dataclasses import dataclass

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import Quality, ShownMetric, Speed, StudentMeasurement
from stepdown.core.record import BuildRecord
from stepdown.core.shown_rows import CAUTION, shown_rows
from stepdown.core.statement import is_local_only
from stepdown.report.format import PERCENT, SCORE, Unit, clean, sample, wording
from stepdown.report.loss_words import ERROR, LossWords, complement, loss_words

# A record older than the words for its metrics has these; how surely something is known is not about any one option.
_SHOWN = {
    "macro_f1": ShownMetric(name="macro-F1", complement=True),
    "calibration_error": ShownMetric(name="calibration error"),
    "brier": ShownMetric(name="Brier score"),
}
_LAST = ("calibration_error", "brier")
_ELSEWHERE = ("error", "agreement", "risk_coverage")


@dataclass(frozen=True)
class Reading:
    """The split and reference that the figures of the report are read on, and the words for the contract's loss.

    n: how many rows that are, 0 where nothing was measured.
    """

    split: str
    reference: str
    words: LossWords = ERROR
    n: int = 0

    @property
    def rows(self) -> str:
        """In words, with what must be known of them."""
        return rows_in_words(self.split, self.reference, self.n)

    @property
    def error_name(self) -> str:
        """What `shown_error` is called."""
        if self.reference == "gold":
            return self.words.name
        return f"{self.words.name} with the incumbent" if self.words.measure else "Disagreement with the incumbent"

    @property
    def loss_name(self) -> str:
        """What `error` is called, where down is better."""
        return self.words.as_loss if self.reference == "gold" or self.words.measure else self.error_name.lower()

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

    def shown_error(self, qualities: tuple[Quality, ...]) -> Estimate | None:
        """The same as people read it: the error, or the measure that the loss is 1 minus."""
        return self.words.shown(self.error(qualities))

    def agreement(self, qualities: tuple[Quality, ...]) -> Estimate | None:
        """The share of answers like the incumbent's, on the same split; the metric is its loss."""
        return complement(Reading(self.split, "incumbent").metric(qualities, "agreement", "error"))


def read(record: BuildRecord) -> Reading:
    """The best split and reference on which the cascade, else any student, was measured; never the evidence."""
    words = loss_words(record.loss)
    of_students = _counts([quality for student in record.students for quality in student.quality])
    for counts in (_counts(list(record.cascade.quality)) if record.cascade else {}, of_students):
        rows = shown_rows(counts)
        if rows is not None:
            return Reading(*rows, words, counts[rows])
    return Reading("tune", "gold", words)


def _counts(qualities: list[Quality]) -> dict[tuple[str, str], int]:
    """Rows by split and reference."""
    return {
        (quality.split, quality.reference): max((m.n for m in quality.metrics.values()), default=0)
        for quality in qualities
    }


def rows_in_words(split: str, reference: str, n: int) -> str:
    """ "the test rows (n = 2,010), against gold answers"; of tune, that thresholds were chosen on it."""
    against = "gold answers" if reference == "gold" else "the incumbent's own answers"
    notes = "; ".join(note for note in (sample(n), CAUTION if split == "tune" else "") if note)
    return f"the {clean(split)} rows{f' ({notes})' if notes else ''}, against {against}"


def curve_of_evidence(record: BuildRecord) -> bool:
    """Whether an older version made the record: it measured students, and drew the curve, on the evidence."""
    return any(quality.split == "certify" for student in record.students for quality in student.quality)


def examples_of_evidence(record: BuildRecord) -> bool:
    """Whether the record's disagreements are rows of the evidence: of an older version without a test split."""
    measured = {quality.split for student in record.students for quality in student.quality}
    return curve_of_evidence(record) and "test" not in measured


def rest_goes_to(record: BuildRecord) -> str:
    """Who answers what no rung is sure of: the incumbent, or nobody where nothing may leave the machine."""
    return "nobody" if is_local_only(record.certificate) else "the incumbent"


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


def parts_known(record: BuildRecord) -> int:
    """How many labels, or fields, the answers can have."""
    if record.part == "label":
        return len(record.dataset.labels)
    return len({role.field for role in record.roles} | record.refused.keys())


def kind_in_words(record: BuildRecord, kind: str) -> str:
    """What a kind of student is, as the record says it; "" where an older one does not."""
    return clean(record.kinds.get(kind, ""))


def rung_kinds(record: BuildRecord) -> list[str]:
    """The kinds in the cascade, cheapest first, as the certificate names them."""
    rungs = record.certificate.cascade.get("rungs")
    if not isinstance(rungs, list | tuple):
        return []
    return [clean(rung.get("kind", "")) for rung in rungs if isinstance(rung, dict)]


@dataclass(frozen=True)
class MetricRow:
    """A metric beside the contract's loss: its file's name, what people call it and how its figure is written."""

    metric: str
    name: str
    unit: Unit
    complement: bool

    def of(self, reading: Reading, qualities: tuple[Quality, ...]) -> Estimate | None:
        loss = reading.metric(qualities, self.metric)
        return complement(loss) if self.complement else loss


def metric_rows(record: BuildRecord) -> list[MetricRow]:
    """Every metric that the record says how to read, except the contract's own loss; calibration comes last."""
    known = record.shown or _SHOWN
    own = record.loss.replace("-", "_") if loss_words(record.loss).share else ""
    names = [name for name in known if name not in (*_ELSEWHERE, own)]
    return [_metric_row(name, known[name]) for name in sorted(names, key=_LAST.__contains__)]


def _metric_row(metric: str, shown: ShownMetric) -> MetricRow:
    name = clean(shown.name) or wording(metric)
    unit = PERCENT if shown.complement and "F1" not in name else SCORE
    return MetricRow(metric, name[:1].upper() + name[1:], unit, shown.complement)
