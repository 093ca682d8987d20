"""A student's confidence in each field of an answer, calibrated on tune."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.calibrate import confidences
from stepdown.certificate.split_answers import SplitAnswers, calibration_kind, references_of
from stepdown.core.calibrator import Calibrator
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example
from stepdown.core.errors import TamperedError
from stepdown.core.students import Predictions
from stepdown.stats.calibration import fit_calibrator

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Parts = Callable[[Answer], Mapping[str, Any]]
Calibrators = dict[str, dict[str, Any]]
"""By field's name, a calibrator as plain numbers; its signals are those of `field_signals`."""
OpenCalibrators = dict[str, Calibrator]


@dataclass(frozen=True)
class FieldTable:
    """n rows of one student by f fields: every field that it decides about, or that an answer or reference has.

    raw: (n, f), the student's own probability of a field being right, NaN where it did not decide about it. given,
    there: (n, f), whether its answer and the reference have the field. wrong, incumbent_wrong: (n, f), whether the
    field is missing, too many, or has another value. sure: (n,), the calibrated confidence in the whole answer, 0 where
    the student abstains.
    """

    names: tuple[str, ...]
    raw: Floats
    given: Booleans
    there: Booleans
    wrong: Booleans
    incumbent_wrong: Booleans
    sure: Floats


def read_fields(
    examples: Sequence[Example], predictions: Predictions, sure: Floats, parts: Parts
) -> tuple[FieldTable | None, str]:
    """The table of the rows that have a reference, and which reference that is ("gold" or "agreement").

    None where there are no such rows, or the student says nothing of single fields.
    """
    kind = calibration_kind(examples)
    references = references_of(examples, kind)
    kept = [row for row, reference in enumerate(references) if reference is not None]
    if predictions.parts is None or not kept:
        return None, kind
    fields_of_rows = [_values(predictions.answers[row], parts) for row in kept]
    wanted = [_values(references[row], parts) for row in kept]
    theirs = [_values(examples[row].incumbent, parts) for row in kept]
    chances = [predictions.parts[row] for row in kept]
    names = tuple(sorted(set().union(*fields_of_rows, *wanted, *theirs, *chances)))
    raw = [[chance.get(name, np.nan) for name in names] for chance in chances]
    table = FieldTable(
        names=names,
        raw=np.array(raw, dtype=np.float64).reshape(len(kept), len(names)),
        given=_table([[name in row for name in names] for row in fields_of_rows], names),
        there=_table([[name in row for name in names] for row in wanted], names),
        wrong=_differing(fields_of_rows, wanted, names),
        incumbent_wrong=_differing(theirs, wanted, names),
        sure=np.asarray(sure, dtype=np.float64)[kept],
    )
    return table, kind


def _values(answer: Answer | None, parts: Parts) -> dict[str, bytes]:
    return {} if answer is None else {name: canonical_json(value) for name, value in parts(answer).items()}


def _differing(one: list[dict[str, bytes]], other: list[dict[str, bytes]], names: tuple[str, ...]) -> Booleans:
    pairs = zip(one, other, strict=True)
    return _table([[said.get(name) != wanted.get(name) for name in names] for said, wanted in pairs], names)


def _table(rows: list[list[bool]], names: tuple[str, ...]) -> Booleans:
    return np.array(rows, dtype=bool).reshape(len(rows), len(names))


def field_signals(raw: Floats, given: Booleans) -> Floats:
    """The signals (n, 2) of a field's calibrator: the log-odds of the raw probability, and whether it is given."""
    held = np.clip(raw, 1e-9, 1.0 - 1e-9)
    return np.column_stack([np.log(held / (1.0 - held)), given.astype(np.float64)])


def table_of(
    answered: SplitAnswers, place: int, calibrator: Mapping[str, object], parts: Parts
) -> tuple[FieldTable | None, str]:
    """`read_fields` of the student at that place. calibrator: of its confidence in the whole answer."""
    if not answered.predictions:
        return None, ""
    predictions = answered.predictions[place]
    return read_fields(answered.examples, predictions, confidences(calibrator, predictions.signals), parts)


def fit_fields(table: FieldTable) -> Calibrators:
    """A calibrator for each field that the student decides about, from the rows on which it does not abstain."""
    calibrators: Calibrators = {}
    for place, name in enumerate(table.names):
        known = ~np.isnan(table.raw[:, place]) & (table.sure > 0.0)
        if known.any():
            signals = field_signals(table.raw[known, place], table.given[known, place])
            calibrators[name] = fit_calibrator(signals, (~table.wrong[known, place]).astype(np.float64)).to_dict()
    return calibrators


def field_confidences(table: FieldTable, calibrators: Calibrators) -> Floats:
    """The calibrated probability (n, f) of each field being right; NaN where the student did not decide about it, 0 in
    rows on which it abstains and for fields that tune knows nothing of."""
    confidences = np.where(np.isnan(table.raw), np.nan, 0.0)
    for place, name in enumerate(table.names):
        known = ~np.isnan(table.raw[:, place]) & (table.sure > 0.0)
        if name in calibrators and known.any():
            signals = field_signals(table.raw[known, place], table.given[known, place])
            confidences[known, place] = Calibrator.from_dict(calibrators[name]).probabilities(signals)
    return confidences


def open_fields(calibrators: Calibrators) -> OpenCalibrators:
    """The calibrators of a build, ready for use. Raises TamperedError where the numbers are not a calibrator's."""
    try:
        return {name: Calibrator.from_dict(calibrator) for name, calibrator in calibrators.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise TamperedError(
            f"The confidences by field cannot be read: {error}",
            "Expected them as the build wrote them.",
            "Build the task again.",
        ) from None


def confidences_of(
    answer: Answer, chances: Mapping[str, float], parts: Parts, calibrators: OpenCalibrators
) -> dict[str, float]:
    """The calibrated probability of each field of one answer being right, where it is known."""
    confidences = {}
    for name in parts(answer):
        if name in chances and name in calibrators:
            signals = field_signals(np.array([chances[name]]), np.array([True]))
            confidences[name] = float(calibrators[name].probabilities(signals)[0])
    return confidences
