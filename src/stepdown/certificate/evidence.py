"""Evidence: the table that a certificate rests on, as one file anyone can read, and its hashes.

JSON lines. The first line is the header: the kind, the candidate (rungs, calibrators and path, all fixed on tune) and
whatever else holds for every row. Each further line is a row. Rows stand in the order of a hash of their ids: an order
that nobody chose, as the betting test needs and as a second reader can check.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.observations import Floats, Judged, Observations, Support
from stepdown.core.canonical import canonical_json, digest, digest_of
from stepdown.core.contract import Evidence as Reference
from stepdown.core.errors import InputError

LARGEST_FILE = 2 * 1024**3

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of evidence; lists have one entry for each rung. Losses are None where there is no gold (judged)."""

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


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every row. cost_ceiling_usd: no request costs more; the cost test rests on that."""

    version: int = 1
    kind: Reference
    support: Support
    rows: int
    candidate: Candidate
    cost_ceiling_usd: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The candidate, what its rungs did on the certify rows, and their confidences (rungs, n) there."""

    candidate: Candidate
    seen: Observations
    confidences: Floats
    cost_ceiling_usd: float | None = None

    @property
    def n(self) -> int:
        return self.seen.n

    @property
    def rows_hash(self) -> str:
        """The hash of which rows these are and what their references say, whatever student is tested on them."""
        pairs = zip(self.seen.ids, self.seen.references, strict=True)
        return digest_of([self.seen.reference, sorted(pairs)])

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
        )
        return b"\n".join([canonical_json(header), *map(canonical_json, _rows(self))]) + b"\n"

    def write(self, path: Path) -> None:
        """Write the file. OSError when the disk does not take it."""
        path.write_bytes(self.to_bytes())


def gather(candidate: Candidate, seen: Observations, cost_ceiling_usd: float | None = None) -> Evidence:
    """The evidence for a candidate from the certify rows of all students; rows are put in hash order.

    cost_ceiling_usd: the most that escalating one request can cost; by default the dearest row, which makes the cost
    claim hold for traffic no dearer than what was seen. Raises ValueError when a rung's student was not observed.
    """
    position = {entrant.artefact: index for index, entrant in enumerate(seen.entrants)}
    missing = [entrant.kind for entrant in candidate.entrants if entrant.artefact not in position]
    if missing:
        raise ValueError(f"Got observations without {', '.join(missing)}; expected every rung of the candidate.")
    own = seen.students([position[entrant.artefact] for entrant in candidate.entrants])
    own = own.rows(np.array(sorted(range(seen.n), key=lambda row: digest(seen.ids[row].encode())), dtype=np.int64))
    if cost_ceiling_usd is None and own.escalation_cost_usd is not None and own.n:
        cost_ceiling_usd = float(own.escalation_cost_usd.max())
    return Evidence(candidate, own, candidate.confidences(own), cost_ceiling_usd)


def read_evidence(path: Path) -> Evidence:
    """The evidence in a file. Raises InputError naming the line that is not what it should be."""
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise InputError(
            f"{path} is not a file of at most {LARGEST_FILE // 1024**3} GiB.",
            "Expected the evidence that was written beside the certificate.",
            "Give its path.",
        )
    return parse_evidence(path.read_bytes(), str(path))


def parse_evidence(data: bytes, name: str = "evidence") -> Evidence:
    """The evidence in the bytes of a file. Raises InputError."""
    lines = data.split(b"\n")
    header = _decode(lines[0], Header, name, 1)
    rows = [_decode(line, Row, name, number) for number, line in enumerate(lines[1:], start=2) if line]
    if len(rows) != header.rows:
        raise InputError(
            f"{name} has {len(rows)} rows.",
            f"Its header says {header.rows}.",
            "Take the whole file from where the certificate was issued.",
        )
    try:
        evidence = _evidence(header, rows)
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{name} does not fit together: {error}", "", "Take the file as it was written.") from None
    if evidence.to_bytes() != data:
        raise InputError(
            f"{name} is not as it was written.",
            "Its lines say the same in other bytes, or more than a reader of this version knows.",
            "Take the file from where the certificate was issued.",
        )
    return evidence


def _decode(line: bytes, kind: type[T], name: str, number: int) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(
            f"Line {number} of {name} cannot be read: {error}.",
            "Expected the evidence as it was written beside the certificate.",
            "Take the file from where the certificate was issued.",
        ) from None


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
        )


def _evidence(header: Header, rows: Sequence[Row]) -> Evidence:
    rungs = len(header.candidate.entrants)
    judged = None
    if header.kind == "judged":
        verdicts = _table([row.judged_losses or [] for row in rows], rungs)
        judged = Judged(verdicts, _column([row.judged_incumbent_loss for row in rows]))
    costs = [row.escalation_cost_usd for row in rows]
    timed = [row.latencies_s for row in rows]
    seen = Observations(
        ids=tuple(row.id for row in rows),
        reference=header.kind,
        references=tuple(row.reference for row in rows),
        entrants=header.candidate.entrants,
        signals=tuple(_signals([row.signals[rung] for row in rows]) for rung in range(rungs)),
        losses=_table([row.losses for row in rows], rungs),
        incumbent_loss=_column([row.incumbent_loss for row in rows]),
        support=header.support,
        slices=tuple(row.slices for row in rows),
        escalation_cost_usd=None if None in costs or not costs else _column(costs),
        latency_s=None if None in timed or not timed else _table([each or [] for each in timed], rungs),
        judged=judged,
    )
    return Evidence(header.candidate, seen, _table([row.confidences for row in rows], rungs), header.cost_ceiling_usd)


def _table(rows: Sequence[Sequence[float | None]], rungs: int) -> Floats:
    """Rows (n, rungs) as a table (rungs, n), None as NaN. Raises ValueError when a row has another length."""
    if any(len(row) != rungs for row in rows):
        raise ValueError(f"A row has not one entry for each of {rungs} rungs.")
    return np.array(rows, dtype=np.float64).reshape(len(rows), rungs).T.copy()


def _signals(rows: Sequence[Sequence[float]]) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)


def _column(values: Sequence[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)


def _without_nan(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
