"""Evidence: the table that a certificate rests on, as one file anyone can read, and its hashes.

JSON lines. The first line is the header: the kind, the candidate (rungs, calibrators and path, all fixed on tune), what
the rows were drawn from and whatever else holds for every row. Each further line is a row. Rows stand in the order of
the draw: an order that nobody chose, as the betting test needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.observations import Floats, Observations, Support
from stepdown.core.canonical import canonical_json, digest, digest_of, without_younger
from stepdown.core.certificate import Population
from stepdown.core.contract import Evidence as Reference


class Basis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the evidence was drawn from. excluded: calls of the task that could not be drawn, by reason. drawn: how many
    calls the whole draw has; what is tested may be a beginning of it. objection: why these rows cannot be taken for a
    random sample after all; nothing is tested on them then."""

    population: Population = Population()
    unit: str = "call"
    drawn: int = 0
    excluded: dict[str, int] = {}
    objection: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of evidence; lists have one entry for each rung. Losses are None where there is no gold.

    unit: what is independent, where it is not the row. agrees: whether the rung's answer is the incumbent's. key: the
    hash of the row's input and time, by which the ledger knows it under whatever id.
    """

    id: str
    reference: str
    signals: list[list[float]]
    confidences: list[float]
    losses: list[float | None]
    incumbent_loss: float | None
    judged_losses: list[float] | None = None
    judged_incumbent_loss: float | None = None
    slices: dict[str, str] = {}
    escalation_cost_usd: float | None = None
    latencies_s: list[float | None] | None = None
    unit: str | None = None
    agrees: list[bool] | None = None
    key: str = ""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every row. cost_ceiling_usd: no request costs more; the cost test rests on that.

    basis: what the rows were drawn from. stages: how many rows, from the first, each look at this candidate had, this
    one last. final: whether this look may use all that is left of the error.
    """

    version: int = 1
    kind: Reference
    support: Support
    rows: int
    candidate: Candidate
    cost_ceiling_usd: float | None = None
    basis: Basis = Basis()
    stages: tuple[int, ...] = ()
    final: bool = True


_YOUNGER_ROW = ("unit", "agrees", "key")
_YOUNGER_HEADER = ("basis", "stages", "final")


@dataclass(frozen=True)
class Terms:
    """What holds for all rows of evidence, as its header has it."""

    cost_ceiling_usd: float | None = None
    basis: Basis = field(default_factory=Basis)
    stages: tuple[int, ...] = ()
    final: bool = True


@dataclass(frozen=True)
class Evidence:
    """The candidate, what its rungs did on the certify rows, and their confidences (rungs, n) there.

    keys: the content keys of the rows, () where a row is known by its id. terms: what holds for all rows.
    """

    candidate: Candidate
    seen: Observations
    confidences: Floats
    keys: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)

    @property
    def cost_ceiling_usd(self) -> float | None:
        return self.terms.cost_ceiling_usd

    @property
    def basis(self) -> Basis:
        return self.terms.basis

    @property
    def stages(self) -> tuple[slice, ...]:
        """The rows that each look added; the last slice is of this look."""
        ends = self.terms.stages or (self.n,)
        return tuple(slice(start, end) for start, end in zip((0, *ends), ends, strict=False))

    @property
    def n(self) -> int:
        return self.seen.n

    @property
    def rows_hash(self) -> str:
        """The hash of everything that a test reads of these rows, whatever their ids: their references, and what judge,
        clock and price list say of them. The students' own answers follow from the candidate."""
        if not self.keys:
            pairs = zip(self.seen.ids, self.seen.references, strict=True)
            return digest_of([self.seen.reference, sorted(pairs)])
        return digest_of([self.seen.reference, self.terms.cost_ceiling_usd, self.stage_hashes])

    @property
    def stage_hashes(self) -> list[str]:
        """The hash of all that a test reads of the rows that each look added."""
        rows = list(zip(self.keys, self.seen.references, self.seen.units, *self._read(), strict=True))
        return [digest_of(rows[stage]) for stage in self.stages]

    def _read(self) -> Iterator[list[Any]]:
        """For each row the incumbent's loss, the judge's verdicts, the price and the timings, where known."""
        seen = self.seen
        yield _without_nan(seen.incumbent_loss)
        if seen.judged is not None:
            yield seen.judged.losses.T.tolist()
            yield seen.judged.incumbent_loss.tolist()
        if seen.escalation_cost_usd is not None:
            yield seen.escalation_cost_usd.tolist()
        if seen.latency_s is not None:
            yield [_without_nan(row) for row in seen.latency_s.T]

    @property
    def content_hash(self) -> str:
        """The hash of the evidence file."""
        return digest(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The evidence file."""
        header = Header(
            kind=self.seen.reference,
            support=self.seen.support,
            rows=self.n,
            candidate=self.candidate,
            cost_ceiling_usd=self.cost_ceiling_usd,
            basis=self.terms.basis,
            stages=self.terms.stages,
            final=self.terms.final,
        )
        head = without_younger(header, _YOUNGER_HEADER)
        head["candidate"] = self.candidate.table
        rows = (canonical_json(without_younger(row, _YOUNGER_ROW)) for row in _rows(self))
        return b"\n".join([canonical_json(head), *rows]) + b"\n"

    def write(self, path: Path) -> None:
        """Write the file. OSError when the disk does not take it."""
        path.write_bytes(self.to_bytes())


def gather(candidate: Candidate, seen: Observations, terms: Terms = Terms(), keys: Sequence[str] = ()) -> Evidence:
    """The evidence for a candidate from the certify rows of all students, in the order of the draw.

    terms.cost_ceiling_usd: the most that escalating one request can cost; the claim of the cost holds for traffic no
    dearer. Raises ValueError when a rung's student was not observed.
    """
    position = {candidate_student.artefact: index for index, candidate_student in enumerate(seen.candidate_students)}
    missing = [
        candidate_student.kind
        for candidate_student in candidate.candidate_students
        if candidate_student.artefact not in position
    ]
    if missing:
        raise ValueError(f"Got observations without {', '.join(missing)}; expected every rung of the candidate.")
    own = seen.students([position[candidate_student.artefact] for candidate_student in candidate.candidate_students])
    return Evidence(candidate, own, candidate.confidences(own), tuple(keys), terms or Terms())


def _rows(evidence: Evidence) -> Iterator[Row]:
    seen, judged = evidence.seen, evidence.seen.judged
    for row in range(seen.n):
        yield Row(
            id=seen.ids[row],
            reference=seen.references[row],
            signals=[table[row].tolist() for table in seen.signals],
            confidences=evidence.confidences[:, row].tolist(),
            losses=_without_nan(seen.losses[:, row]),
            incumbent_loss=_without_nan(seen.incumbent_loss[row : row + 1])[0],
            judged_losses=None if judged is None else judged.losses[:, row].tolist(),
            judged_incumbent_loss=None if judged is None else float(judged.incumbent_loss[row]),
            slices=seen.slices[row],
            escalation_cost_usd=None if seen.escalation_cost_usd is None else float(seen.escalation_cost_usd[row]),
            latencies_s=None if seen.latency_s is None else _without_nan(seen.latency_s[:, row]),
            unit=None if seen.units[row] == seen.ids[row] else seen.units[row],
            agrees=None if seen.agrees is None else seen.agrees[:, row].tolist(),
            key=evidence.keys[row] if evidence.keys else "",
        )


def _without_nan(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
