"""Observations of several students on one split, as plain numbers for every family of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.contract import Evidence as Reference
from stepdown.runtime.cascade import choose_rungs

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Support = Literal["zero_one", "bounded"]

WORST = 1.0
"""The excess loss that a row counts with where a student differs from the incumbent and nobody said who is right."""

SEPARATOR = "\x1f"
"""Between the values of one slice name, where a row belongs to several: an answer has several fields."""


class CandidateStudent(msgspec.Struct, frozen=True, kw_only=True):
    """A student that may become a rung. cost_usd: what one answer costs on the user's own machine."""

    kind: str
    artefact: str
    signal_names: tuple[str, ...] = ()
    cost_usd: float = 0.0


@dataclass(frozen=True)
class JudgedLosses:
    """A judge's losses in [0, 1] for the same answers: known for every row, trusted for none."""

    losses: Floats
    incumbent_loss: Floats

    def rows(self, chosen: Integers) -> JudgedLosses:
        return JudgedLosses(self.losses[:, chosen], self.incumbent_loss[chosen])


@dataclass(frozen=True)
class Observations:
    """n rows of one split, answered by s students, cheapest first. Raises ValueError where shapes or ranges disagree.

    reference: what losses are against. With "agreement" the incumbent is the reference, so its loss is 0. With "judged"
    a row without gold has NaN for every loss, and `judged` holds the verdicts.
    references: each row's reference value as text; it goes into the evidence's hash.
    signals: per student, (n, k). losses: (s, n) and incumbent_loss: (n,), in [0, 1]. support: "zero_one" where the
    family's loss can only be 0 or 1; declared by the family, not read off the data.
    escalation_cost_usd: (n,), the incumbent's price for each row, or None where it is unknown.
    latency_s: (s, n), each student's time for one request, NaN where it was not timed; or None.
    units: what is independent, for each row; by default each row is a unit of its own.
    agrees: (s, n), where a student's answer is the incumbent's own, so that their losses are equal whatever is right.
    With it "gold" rows may have NaN for every loss: rows that nobody labelled. Where a student then differs from the
    incumbent, the worst case counts.
    """

    ids: tuple[str, ...]
    reference: Reference
    references: tuple[str, ...]
    candidate_students: tuple[CandidateStudent, ...]
    signals: tuple[Floats, ...]
    losses: Floats
    incumbent_loss: Floats
    support: Support = "zero_one"
    slices: tuple[dict[str, str], ...] = ()
    escalation_cost_usd: Floats | None = None
    latency_s: Floats | None = None
    judged: JudgedLosses | None = None
    units: tuple[str, ...] = ()
    agrees: Bools | None = None

    def __post_init__(self) -> None:
        rows, students = len(self.ids), len(self.candidate_students)
        if not self.slices:
            object.__setattr__(self, "slices", tuple({} for _ in range(rows)))
        if not self.units:
            object.__setattr__(self, "units", self.ids)
        _shape("units", len(self.units), rows)
        if self.agrees is not None:
            _shape("agrees", self.agrees.shape, (students, rows))
        _shape("references", len(self.references), rows)
        _shape("slices", len(self.slices), rows)
        _shape("signals", [len(signal) for signal in self.signals], [rows] * students)
        _shape("losses", self.losses.shape, (students, rows))
        _shape("incumbent_loss", self.incumbent_loss.shape, (rows,))
        if self.escalation_cost_usd is not None:
            _shape("escalation_cost_usd", self.escalation_cost_usd.shape, (rows,))
        if self.latency_s is not None:
            _shape("latency_s", self.latency_s.shape, (students, rows))
        if len(set(self.ids)) != rows:
            raise ValueError("Got the same row id twice; expected each row of a split once.")
        self._check_losses()

    def _check_losses(self) -> None:
        everything = np.concatenate([self.losses.ravel(), self.incumbent_loss])
        partly = self.reference == "judged" or (self.reference == "gold" and self.agrees is not None)
        if not partly and np.isnan(everything).any():
            raise ValueError(f"Got a row without a loss; expected every row of {self.reference} evidence to have one.")
        if self.reference == "judged" and self.judged is None:
            raise ValueError("Got judged evidence without verdicts; expected a judge's loss for every row.")
        if self.judged is not None:
            judged = np.concatenate([self.judged.losses.ravel(), self.judged.incumbent_loss])
            if np.isnan(judged).any():
                raise ValueError("Got a row without a verdict; expected a judge's loss for every row.")
            everything = np.concatenate([everything, judged])
        known = everything[~np.isnan(everything)]
        if ((known < 0) | (known > 1)).any():
            raise ValueError("Got a loss outside [0, 1]; expected 0 for a right answer and 1 for a wrong one.")
        own = np.concatenate([self.losses.ravel(), self.incumbent_loss])
        if self.support == "zero_one" and not np.isin(own[~np.isnan(own)], (0.0, 1.0)).all():
            raise ValueError("Got a loss between 0 and 1 with support 'zero_one'; expected support 'bounded'.")
        if self.reference == "agreement" and self.incumbent_loss.any():
            raise ValueError("Got agreement evidence in which the incumbent errs; expected its loss to be 0.")

    @property
    def n(self) -> int:
        return len(self.ids)

    def slices_named(self, name: str) -> dict[str, NDArray[np.bool_]]:
        """The slices of one name, by value: which rows (n,) belong to each. A row may belong to several, or to none."""
        values = [set(row.get(name, "").split(SEPARATOR)) - {""} for row in self.slices]
        return {value: np.array([value in row for row in values], dtype=bool) for value in sorted(set().union(*values))}

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a reference value."""
        return ~np.isnan(self.incumbent_loss)

    def rows(self, chosen: Integers) -> Observations:
        """The same observations of fewer rows, in the order given."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in chosen),
            references=tuple(self.references[row] for row in chosen),
            slices=tuple(self.slices[row] for row in chosen),
            signals=tuple(signal[chosen] for signal in self.signals),
            losses=self.losses[:, chosen],
            incumbent_loss=self.incumbent_loss[chosen],
            escalation_cost_usd=None if self.escalation_cost_usd is None else self.escalation_cost_usd[chosen],
            latency_s=None if self.latency_s is None else self.latency_s[:, chosen],
            judged=None if self.judged is None else self.judged.rows(chosen),
            units=tuple(self.units[row] for row in chosen),
            agrees=None if self.agrees is None else self.agrees[:, chosen],
        )

    def students(self, chosen: Sequence[int]) -> Observations:
        """The same rows seen by fewer students, in the order given."""
        index = np.asarray(chosen, dtype=np.int64)
        judged = self.judged
        return replace(
            self,
            candidate_students=tuple(self.candidate_students[student] for student in chosen),
            signals=tuple(self.signals[student] for student in chosen),
            losses=self.losses[index],
            latency_s=None if self.latency_s is None else self.latency_s[index],
            judged=None if judged is None else JudgedLosses(judged.losses[index], judged.incumbent_loss),
            agrees=None if self.agrees is None else self.agrees[index],
        )


@dataclass(frozen=True)
class Outcome:
    """The result of a cascade on n rows at one point of its path.

    rung: (n,), who answers, −1 where it escalates. excess: (n,), loss less the incumbent's, exactly 0 where it
    escalates; of judged rows NaN where there is no gold. judged_excess: the same by the judge, or None.
    cost_usd: (n,) or None where the incumbent's price is unknown. latency_s: (n,), NaN where it escalates or was not
    timed, or None.
    """

    rung: Integers
    excess: Floats
    judged_excess: Floats | None
    cost_usd: Floats | None
    latency_s: Floats | None

    @property
    def offload(self) -> float:
        return float((self.rung >= 0).mean()) if self.rung.size else 0.0


def outcome(seen: Observations, confidences: Floats, thresholds: Sequence[float]) -> Outcome:
    """The outcome of thresholds (s,) on rows with confidences (s, n)."""
    rung = choose_rungs(confidences, thresholds)
    judged = seen.judged
    return Outcome(
        rung=rung,
        excess=_excess(rung, seen),
        judged_excess=None if judged is None else _difference(rung, judged.losses, judged.incumbent_loss),
        cost_usd=_cost(rung, seen),
        latency_s=_latency(rung, seen.latency_s),
    )


def needs_label(rung: Integers, seen: Observations) -> Bools:
    """Which rows (n,) have no gold and are answered by a rung whose answer is not the incumbent's."""
    if seen.agrees is None:
        return np.zeros(seen.n, dtype=bool)
    differs = ~_of_rung(seen.agrees, rung).astype(bool)
    return np.asarray((rung >= 0) & differs & ~seen.labelled, dtype=bool)


def _excess(rung: Integers, seen: Observations) -> Floats:
    taken = _difference(rung, seen.losses, seen.incumbent_loss)
    if seen.agrees is not None:
        taken = np.where((rung >= 0) & _of_rung(seen.agrees, rung).astype(bool), 0.0, taken)
    if seen.reference == "gold":
        taken = np.where(np.isnan(taken), np.where(rung >= 0, WORST, 0.0), taken)
    return taken


def _difference(rung: Integers, losses: Floats, incumbent_loss: Floats) -> Floats:
    taken = _of_rung(losses, rung) - incumbent_loss
    return np.where(rung >= 0, taken, np.where(np.isnan(incumbent_loss), np.nan, 0.0))


def _cost(rung: Integers, seen: Observations) -> Floats | None:
    if not seen.candidate_students:
        return seen.escalation_cost_usd
    spent = np.cumsum([candidate_student.cost_usd for candidate_student in seen.candidate_students])
    local = spent[rung]  # −1 reads the last: an escalated row has asked every rung
    if seen.escalation_cost_usd is None:
        return np.asarray(local, dtype=np.float64) if (rung >= 0).all() else None
    return np.asarray(local + np.where(rung >= 0, 0.0, seen.escalation_cost_usd), dtype=np.float64)


def _latency(rung: Integers, latency_s: Floats | None) -> Floats | None:
    if latency_s is None or not latency_s.size:
        return None
    return np.where(rung >= 0, _of_rung(np.cumsum(latency_s, axis=0), rung), np.nan)


def _of_rung(table: Floats | Bools, rung: Integers) -> Floats:
    """The entry (n,) of a table (s, n) for the rung of each row; any for those that escalate."""
    if not table.shape[0]:
        return np.zeros(rung.shape[0])
    return np.asarray(np.take_along_axis(table, np.maximum(rung, 0)[None, :], axis=0)[0], dtype=np.float64)


def _shape(name: str, got: object, expected: object) -> None:
    if got != expected:
        raise ValueError(f"Got {name} of size {got}; expected {expected}, one for each student and row.")
