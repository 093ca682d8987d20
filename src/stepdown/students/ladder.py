"""Which students to train: from the data, the contract and the time there is. Every choice comes with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stepdown.core.contract import Contract
from stepdown.core.kinds import Kinds
from stepdown.core.pace import Cuts
from stepdown.core.record import Dropped
from stepdown.core.students import StudentKind, TrainingData
from stepdown.core.training_time import TrainingBudget
from stepdown.students.choice import Given, plan_options
from stepdown.students.kinds import student_kinds

COST_ORDER_S = 30e-6
"""Seconds of one answer per unit of COST_ORDER on a fast machine: excluded is only what is too slow even there."""
CORE_USD_PER_S = 0.04 / 3600.0
"""A cheap core; the real cost is measured and certified later."""
OFFER = 0.4
"""Of the time left, the share that a kind may take while a more costly one is still waiting."""
_OVERTIME = 3.0
"""The cheapest kind is planned where its quickest training takes no more than so many times the time there is."""
_DAY_S = 86_400.0
_WIDER, _HALVINGS = 1.25, 4
_ROUND_S = 5.0
"""What is said of budgets is rounded up to so many seconds."""
_AGAIN = 0.1
"""Of all the time, what may be spent on training cheap students again, by what the best one says."""
KEPT_CHECKPOINTS = 2
"""Of students whose training was stopped, so many can be gone on with: each takes up to some hundred megabytes."""


@dataclass(frozen=True)
class PlannedStudent:
    """A student to train. seconds: what training should take. teacher: the kind it is distilled from, or None.

    cuts: where the clock made an earlier training of this plan shorter, by phase; it is made shorter there again.
    """

    kind: str
    options: Any
    seconds: float
    teacher: str | None
    why: str
    cuts: Mapping[str, Cuts] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the build's record."""
        return asdict(self)


@dataclass(frozen=True)
class LadderWishes:
    """unable: kinds to leave out, with the reason. options: those that the user gave, by kind."""

    unable: Mapping[str, str] = field(default_factory=dict)
    options: Given = field(default_factory=dict)


def choose_ladder(
    budget: TrainingBudget,
    family: str,
    contract: Contract,
    wishes: LadderWishes | None = None,
    kinds: Kinds[StudentKind] | None = None,
) -> tuple[list[PlannedStudent], list[Dropped]]:
    """The ladder in order of training, the quickest first, and what was left out with the reason.

    wishes: what to leave out, and what the user chose. Where there is a teacher and time for it, the cheapest kinds
    come a second time after it, to learn from what it says. Nothing is trained or timed here; the same arguments give
    the same ladder.
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
    shared = _share_out(names, candidates, budget, wishes.options)
    dropped += [
        Dropped(kind=name, why=_too_short(names, candidates, budget, wishes.options, (name, offered)))
        for name, offered in shared.short.items()
    ]
    planned = [
        PlannedStudent(name, options, needed, None, _why(name, needed, budget.seconds))
        for name, (options, needed) in shared.plans.items()
    ]
    planned.sort(key=lambda plan: (_teaches(candidates[plan.kind]), plan.seconds))
    teacher = next(reversed(shared.plans), "")
    taught = [
        PlannedStudent(name, *shared.plans[name], teacher, f"{name} again, by what {teacher} says.")
        for name in shared.again
    ]
    return [*planned, *taught], dropped


def why_not(data: TrainingData, kinds: Kinds[StudentKind] | None = None) -> dict[str, str]:
    """Which kinds say of these very answers that they cannot learn them, and why; nothing is trained."""
    found = (kinds or student_kinds()).all()
    asked = {name: getattr(kind, "why_not", None) for name, kind in found.items() if data.family in kind.FAMILIES}
    reasons = {name: ask(data) for name, ask in asked.items() if ask is not None}
    return {name: reason for name, reason in reasons.items() if reason}


@dataclass(frozen=True)
class _Shared:
    """How the time is shared out. plans: options and expected seconds by kind, cheapest first. again: those that are to
    be trained again by what the last says. short: those that the time does not allow, with the seconds left for each.
    """

    plans: dict[str, tuple[Any, float]]
    again: list[str]
    short: dict[str, float]


def _share_out(names: list[str], kinds: dict[str, StudentKind], budget: TrainingBudget, given: Given) -> _Shared:
    names, dropped = list(names), dict[str, float]()
    while True:
        shared = _share_among(names, kinds, budget, given)
        if not shared.short:
            return replace(shared, short=dropped)
        # The most costly goes first: what it would have taken may be enough for the others.
        last = next(name for name in reversed(names) if name in shared.short)
        names.remove(last)
        dropped[last] = shared.short[last]


def _share_among(names: list[str], kinds: dict[str, StudentKind], budget: TrainingBudget, given: Given) -> _Shared:
    plans: dict[str, tuple[Any, float]] = {}
    short: dict[str, float] = {}
    again: list[str] = []
    left, spare = budget.seconds, _AGAIN * budget.seconds
    for position, name in enumerate(names):
        is_last = position == len(names) - 1
        offered = max(0.0, (left if is_last else left * OFFER) - budget.each_s)
        if not position:
            # The cheapest may take all there is and somewhat more, which the clock then cuts: without it is nothing.
            offered = left
        options = plan_options(kinds[name], budget, offered, given.get(name, {}))
        if options is None and not position:
            options = plan_options(kinds[name], budget, _OVERTIME * offered, given.get(name, {}))
        if options is None:
            short[name] = offered
            continue
        needed = kinds[name].seconds_needed(budget.size, options, budget.speed)
        plans[name] = (options, needed)
        left = max(0.0, left - needed - budget.each_s)
        if not is_last and hasattr(options, "soft_share") and needed <= spare:
            again.append(name)
            left, spare = max(0.0, left - needed), spare - needed
    return _Shared(plans, again, short)


def _too_short(
    names: list[str], kinds: dict[str, StudentKind], budget: TrainingBudget, given: Given, short: tuple[str, float]
) -> str:
    """Why there is too little time for a kind: what its quickest plan takes here, and the budget that lets it in."""
    name, offered = short
    task = f"Training it on {budget.size.rows:,} rows with {budget.size.labels:,} labels"
    quickest = _least(lambda seconds: plan_options(kinds[name], budget, seconds, given.get(name, {})) is not None, 1.0)
    longer = replace(budget, each_s=max(budget.each_s, budget.long_each_s))
    enough = _least(
        lambda seconds: name in _share_out(names, kinds, replace(longer, seconds=seconds), given).plans, budget.seconds
    )
    if quickest is None or enough is None:
        return f"{task} takes more than a day on this machine: no --budget below that lets it in."
    whole = _ROUND_S * math.ceil((budget.around_s + enough / budget.share) / _ROUND_S)
    return (
        f"{task} takes at least about {quickest:.0f} s on this machine, and beside the other kinds {offered:.0f} s of "
        f"the {budget.seconds:.0f} s for training are left for it; a --budget of about {whole:.0f}s would let it in."
    )


def _least(is_enough: Callable[[float], bool], start: float) -> float | None:
    """About the fewest seconds that are enough; None where a day is not."""
    high = max(1.0, start)
    while not is_enough(high):
        high *= _WIDER
        if high > _DAY_S:
            return None
    low = high / _WIDER
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


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


def _why(name: str, needed: float, seconds: float) -> str:
    return f"{name} takes about {needed:.0f} s of the {seconds:.0f} s for training."
