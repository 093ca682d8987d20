"""Evidence read back from its file, checked to be the file that was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from stepdown.certificate.evidence import Evidence, Header, Row, Terms
from stepdown.certificate.observations import Bools, Floats, JudgedLosses, Observations
from stepdown.core.errors import InputError

LARGEST_FILE = 2 * 1024**3

T = TypeVar("T")


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
        raise InputError(f"{name} is inconsistent: {error}", "", "Take the file as it was written.") from None
    if evidence.to_bytes() != data:
        raise InputError(
            f"{name} has changed since it was written.",
            "Its lines hold the same values in other bytes, or fields that this version does not know.",
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


def _evidence(header: Header, rows: Sequence[Row]) -> Evidence:
    rungs = len(header.candidate.candidate_students)
    judged = None
    if header.kind == "judged":
        verdicts = _table([row.judged_losses or [] for row in rows], rungs)
        judged = JudgedLosses(verdicts, _column([row.judged_incumbent_loss for row in rows]))
    costs = [row.escalation_cost_usd for row in rows]
    timed = [row.latencies_s for row in rows]
    agrees = [row.agrees for row in rows]
    seen = Observations(
        ids=tuple(row.id for row in rows),
        reference=header.kind,
        references=tuple(row.reference for row in rows),
        candidate_students=header.candidate.candidate_students,
        signals=tuple(_signals([row.signals[rung] for row in rows]) for rung in range(rungs)),
        losses=_table([row.losses for row in rows], rungs),
        incumbent_loss=_column([row.incumbent_loss for row in rows]),
        support=header.support,
        slices=tuple(row.slices for row in rows),
        escalation_cost_usd=None if None in costs or not costs else _column(costs),
        latency_s=None if None in timed or not timed else _table([each or [] for each in timed], rungs),
        judged=judged,
        units=tuple(row.id if row.unit is None else row.unit for row in rows),
        agrees=None if None in agrees or not agrees else _flags([each or [] for each in agrees], rungs),
    )
    terms = Terms(header.cost_ceiling_usd, header.basis, header.stages, header.final)
    keys = tuple(row.key for row in rows) if any(row.key for row in rows) else ()
    return Evidence(header.candidate, seen, _table([row.confidences for row in rows], rungs), keys, terms)


def _table(rows: Sequence[Sequence[float | None]], rungs: int) -> Floats:
    """Rows (n, rungs) as a table (rungs, n), None as NaN. Raises ValueError when a row has another length."""
    if any(len(row) != rungs for row in rows):
        raise ValueError(f"A row does not have one entry for each of {rungs} rungs.")
    return np.array(rows, dtype=np.float64).reshape(len(rows), rungs).T.copy()


def _flags(rows: Sequence[Sequence[bool]], rungs: int) -> Bools:
    if any(len(row) != rungs for row in rows):
        raise ValueError(f"A row does not have one entry for each of {rungs} rungs.")
    return np.array(rows, dtype=bool).reshape(len(rows), rungs).T.copy()


def _signals(rows: Sequence[Sequence[float]]) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)


def _column(values: Sequence[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)
