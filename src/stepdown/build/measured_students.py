"""Students with their measurements and answers, as the later stages of a build read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepdown.certificate.field_confidence import Calibrators
from stepdown.certificate.observations import CandidateStudent, Observations
from stepdown.certificate.split_answers import SplitAnswers
from stepdown.core.dataset import Example, SplitName
from stepdown.core.inputs import Input
from stepdown.core.measurements import StudentMeasurement
from stepdown.core.shown_rows import SHOWN_SPLITS, Rows, shown_rows
from stepdown.core.store import Verdict
from stepdown.core.students import Student


@dataclass(frozen=True)
class MeasuredStudents:
    """Students with their measurements, their answers on each split, and the observations of tune.

    calibrators: one for each student, fitted on tune. fields: those of its fields, by name, where it is sure of each.
    verdicts: a judge's verdicts, by call.
    """

    students: tuple[Student, ...]
    measurements: tuple[StudentMeasurement, ...]
    answered: dict[SplitName, SplitAnswers]
    candidate_students: tuple[CandidateStudent, ...]
    tune: Observations
    calibrators: tuple[dict[str, object], ...]
    fields: tuple[Calibrators, ...]
    verdicts: Mapping[str, Sequence[Verdict]]

    @property
    def kept(self) -> list[int]:
        """The positions of the students that no other student dominates."""
        return [place for place, measurement in enumerate(self.measurements) if not measurement.dominated_by]


def references_in(examples: list[Example]) -> list[str]:
    """The references that these rows have: "gold", "incumbent"."""
    has_gold = any(example.gold is not None for example in examples)
    has_incumbent = any(example.incumbent is not None for example in examples)
    return [name for name, there in (("gold", has_gold), ("incumbent", has_incumbent)) if there]


def rows_to_show(measured: MeasuredStudents) -> Rows | None:
    """The split and reference that single students, labels and rows may be shown on; None where all is evidence."""
    counts: dict[tuple[str, str], int] = {}
    for split in SHOWN_SPLITS:
        examples = measured.answered[split].examples
        counts[split, "gold"] = sum(example.gold is not None for example in examples)
        counts[split, "incumbent"] = sum(example.incumbent is not None for example in examples)
    return shown_rows(counts)


def sample_inputs(examples: list[Example], most: int = 500) -> list[Input]:
    """Real inputs for timing, spread over the rows."""
    step = max(1, len(examples) // most)
    return [example.student_input for example in examples[::step]][:most]
