"""The plan of a build on disk: in the record of one that is finished, and beside the work of one that was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import InputError, UnknownKind
from stepdown.core.pace import Cuts
from stepdown.core.record import Dropped
from stepdown.project.home import write_whole
from stepdown.students.kinds import student_kinds
from stepdown.students.ladder import KEPT_CHECKPOINTS, PlannedStudent

MOST_PLAN_BYTES = 16 << 20


def read_plan(path: Path) -> list[PlannedStudent]:
    """The students of a build's record (`record.json`), with the steps that its clock allowed. Raises InputError."""
    try:
        return [_planned(one) for one in msgspec.json.decode(_content(path), type=_Record).plan.students]
    except (OSError, ValueError, msgspec.MsgspecError, UnknownKind) as error:
        raise InputError(
            f"No plan can be read from {path} ({error}).",
            "It must be the record.json of a build by this version of stepdown, whose students all stand here too.",
            "Name such a file after --plan, or build without it.",
        ) from error


@dataclass(frozen=True)
class KeptPlan:
    """The plan of a build under way, so that the same build begun again takes it, whatever else runs here by then.

    work: the task's own folder for unfinished work. key: the digest of what the plan follows from.
    """

    work: Path
    key: str

    def read(self) -> tuple[list[PlannedStudent], list[Dropped]] | None:
        """The students and those left out, as they were planned; None where no such build was stopped."""
        try:
            stored = msgspec.json.decode(_content(self._path), type=_Plan)
            return [_planned(one) for one in stored.students], list(stored.left_out)
        except (OSError, ValueError, msgspec.MsgspecError, UnknownKind):
            return None

    def write(self, plan: Sequence[PlannedStudent], left_out: Sequence[Dropped]) -> None:
        """Keep it, and of other builds that were stopped as many as checkpoints are kept of."""
        content = canonical_json({"students": [one.as_dict() for one in plan], "left_out": left_out})
        write_whole(self._path, content)
        for stale in sorted(self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)[
            :-KEPT_CHECKPOINTS
        ]:
            stale.unlink(missing_ok=True)

    def remove(self) -> None:
        """Its students are trained: the next build plans anew."""
        self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.work / "plans" / f"{self.key[:16]}.json"


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if len(content) > MOST_PLAN_BYTES:
        raise ValueError(f"it has {len(content):,} bytes")
    return content


def _planned(stored: _StoredStudent) -> PlannedStudent:
    options = msgspec.convert(stored.options, type=student_kinds().load(stored.kind).Options)
    return PlannedStudent(stored.kind, options, stored.seconds, stored.teacher, stored.why, stored.cuts)


class _StoredStudent(msgspec.Struct, frozen=True):
    kind: str
    options: dict[str, Any]
    seconds: float
    teacher: str | None
    why: str
    cuts: dict[str, Cuts] = {}


class _Plan(msgspec.Struct, frozen=True):
    students: list[_StoredStudent]
    left_out: tuple[Dropped, ...] = ()


class _Record(msgspec.Struct, frozen=True):
    plan: _Plan
