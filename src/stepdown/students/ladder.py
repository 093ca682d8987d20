"""Which students to train: from the data, the contract and the time there is. Every choice comes with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stepdown.core.contract import Contract
from stepdown.core.kinds import Kinds
from stepdown.core.record import Dropped
from stepdown.core.students import StudentKind, TrainingData
from stepdown.students.choice import Given, plan_options
from stepdown.students.kinds import student_kinds

COST_ORDER_S = 30e-6
"""Seconds of one answer per unit of COST_ORDER on a fast machine: excluded is only what is too slow even there."""
CORE_USD_PER_S = 0.04 / 3600.0
"""A cheap core; the real cost is measured and certified later."""
_OFFER = 0.4
"""Of the time left, the share that a kind may take while a more costly one is still waiting."""


@dataclass(frozen=True)
class PlannedStudent:
    """A student to train. seconds: what training should take. teacher: the kind it is distilled from, or None."""

    kind: str
    options: Any
    seconds: float
    teacher: str | None
    why: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the build's record."""
        return asdict(self)


@dataclass(frozen=True)
class LadderWishes:
    """unable: kinds to leave out, with the reason. options: those that the user gave, by kind."""

    unable: Mapping[str, str] = field(default_factory=dict)
    options: Given = field(default_factory=dict)


def choose_ladder(
    rows: int,
    labels: int,
    contract: Contract,
    seconds: float,
    family: str,
    wishes: LadderWishes | None = None,
    kinds: Kinds[StudentKind] | None = None,
) -> tuple[list[PlannedStudent], list[Dropped]]:
    """The ladder in order of training (a teacher before its students), and what was left out with the reason.

    seconds: for training all of them. wishes: what to leave out, and what the user chose. Nothing
    is trained or timed here; the same arguments give the same ladder.
    """
    found, wishes = (kinds or student_kinds()).all(), wishes or LadderWishes()
    candidates = {name: kind for name, kind in found.items() if family in kind.FAMILIES}
    dropped = []
    for name, kind in list(candidates.items()):
        reason = wishes.unable.get(name) or _breaks_contract(kind, contract)
        if reason:
            dropped.append(Dropped(kind=name, why=reason))
            del candidates[name]
    names = sorted(candidates, key=lambda name: (_teaches(candidates[name]), candidates[name].COST_ORDER, name))
    while True:
        plans, short = _share_out(names, candidates, rows, labels, seconds, wishes.options)
        if not short:
            break
        # The most costly goes first: what it would have taken may be enough for the others.
        last = next(name for name in reversed(names) if name in short)
        names.remove(last)
        dropped.append(Dropped(kind=last, why=short[last]))
    teacher = names[-1] if len(names) > 1 else None
    planned = [
        PlannedStudent(name, options, needed, _teacher_of(name, teacher, options), _why(name, needed, seconds))
        for name, (options, needed) in plans.items()
    ]
    return sorted(planned, key=lambda plan: plan.teacher is not None), dropped


def why_not(data: TrainingData, kinds: Kinds[StudentKind] | None = None) -> dict[str, str]:
    """Which kinds say of these very answers that they cannot learn them, and why; nothing is trained."""
    found = (kinds or student_kinds()).all()
    asked = {name: getattr(kind, "why_not", None) for name, kind in found.items() if data.family in kind.FAMILIES}
    reasons = {name: ask(data) for name, ask in asked.items() if ask is not None}
    return {name: reason for name, reason in reasons.items() if reason}


def _share_out(
    names: list[str], kinds: dict[str, StudentKind], rows: int, labels: int, seconds: float, given: Given
) -> tuple[dict[str, tuple[Any, float]], dict[str, str]]:
    """Options and expected seconds by kind, cheapest first; and why, for those that the time does not allow."""
    plans: dict[str, tuple[Any, float]] = {}
    short: dict[str, str] = {}
    left = seconds
    for position, name in enumerate(names):
        offered = left if position == len(names) - 1 else left * _OFFER
        options = plan_options(kinds[name], rows, labels, offered, given.get(name, {}))
        if options is None:
            short[name] = (
                f"Training it on {rows:,} rows with {labels:,} labels takes longer than the {offered:.0f} s that the "
                "budget leaves for it; a larger --budget would let it in."
            )
            continue
        needed = kinds[name].seconds_needed(rows, labels, options)
        plans[name] = (options, needed)
        left = max(0.0, left - needed)
    return plans, short


def _breaks_contract(kind: StudentKind, contract: Contract) -> str:
    """Why a kind cannot meet the contract even at its fastest, or ""."""
    answer_s = kind.COST_ORDER * COST_ORDER_S
    if contract.latency_p95_ms is not None and answer_s * 1e3 > contract.latency_p95_ms:
        return (
            f"One answer takes about {answer_s * 1e3:.2g} ms at best and the contract allows "
            f"{contract.latency_p95_ms:g} ms at p95."
        )
    cost_per_1k = 1000.0 * answer_s * CORE_USD_PER_S
    if contract.cost_per_1k is not None and cost_per_1k > contract.cost_per_1k:
        return (
            f"A thousand answers cost about ${cost_per_1k:.2g} of machine time and the contract allows "
            f"${contract.cost_per_1k:g}."
        )
    return ""


def _teaches(kind: StudentKind) -> bool:
    """Whether a kind is the best there is whatever it costs to run: it gets the time that is left, and teaches."""
    return bool(getattr(kind, "TEACHES", False))


def _teacher_of(name: str, teacher: str | None, options: Any) -> str | None:
    """The ladder's best kind (one that TEACHES, else the most costly) teaches every other one that can be taught."""
    return teacher if teacher != name and hasattr(options, "soft_share") else None


def _why(name: str, needed: float, seconds: float) -> str:
    return f"{name} takes about {needed:.0f} s of the {seconds:.0f} s for training."
