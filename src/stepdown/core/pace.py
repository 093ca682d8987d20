"""How many steps of a plan there is time for: asked before each step, written down where time was short, replayed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Cuts = tuple[tuple[int, int], ...]
"""(step, steps in all from then on), in the order in which the clock changed them."""

WARMUP = 0.1
LEAST_STEPS = 0.1
"""Of the planned steps, those that are taken however late it is: what has learned nothing is worse than nothing."""
_LOOK_S = 0.25
_RECENT_S = 6.0
_SEEN = 4
"""Steps that must be seen before a rate is believed; the first of a training are slow."""
_LESS, _MORE = 0.96, 1.2
"""Only a change beyond these is worth writing down."""


@dataclass(frozen=True)
class Deadline:
    """When to be done, on a clock that only runs forward. now: its seconds."""

    at: float
    now: Callable[[], float]

    @property
    def left(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self.at - self.now())

    def part(self, share: float) -> Deadline:
        """The end of the first `share` of what is left."""
        return Deadline(self.at - (1.0 - share) * self.left, self.now)


class Pace:
    """The number of steps, and how large each is, of one phase of training.

    Rates rise over the first `warm` steps (a tenth of the plan) and fall to zero in a line. Where the clock says that
    the steps would take too long, there are fewer of them and the line falls faster, so that training ends well
    whenever it must end; where time comes back, so do steps, up to the plan. cuts: an earlier training's, made again at
    the same steps. A tenth of the steps is taken however late it is.
    """

    def __init__(
        self, planned: int, deadline: Deadline | None = None, cuts: Cuts = (), warm: int | None = None
    ) -> None:
        self.planned = self.total = planned
        self.cuts: list[tuple[int, int]] = []
        self._warm = max(1, round(WARMUP * planned) if warm is None else warm)
        self._from = (self._warm, 1.0)
        self._coming = deque(cuts)
        self._deadline = deadline
        self._marks: deque[tuple[float, int]] = deque()
        self._least = math.ceil(LEAST_STEPS * planned)

    def goes_on(self, step: int) -> bool:
        """Whether there is a step number `step`, from 0. To be asked before each."""
        while self._coming and self._coming[0][0] <= step:
            self._change(*self._coming.popleft())
        if self._deadline is not None:
            self._watch(step, self._deadline)
        return step < self.total

    def rate(self, step: int) -> float:
        """The share of the peak rate for this step, in [0, 1]."""
        start, share = self._from
        falling = share * (self.total - step) / max(1, self.total - start)
        return max(0.0, min(1.0, (step + 1) / self._warm, falling))

    def _watch(self, step: int, deadline: Deadline) -> None:
        now = deadline.now()
        if self._marks and now - self._marks[-1][0] < _LOOK_S and now < deadline.at:
            return
        self._marks.append((now, step))
        while len(self._marks) > 2 and self._marks[1][0] < now - _RECENT_S and self._marks[1][1] <= step - _SEEN:
            self._marks.popleft()
        since, first = self._marks[0]
        if now >= deadline.at:
            possible = step
        elif step - first < _SEEN or now <= since:
            return
        else:
            possible = step + int((deadline.at - now) * (step - first) / (now - since))
        wanted = min(self.planned, max(possible, self._least))
        left, allowed = self.total - step, wanted - step
        if allowed < _LESS * left - 1 or allowed > _MORE * left + 1:
            self._change(step, wanted)

    def _change(self, step: int, total: int) -> None:
        if step < self._warm:
            # Still rising: a shorter plan rises in proportion, and falls from the top.
            self._warm = max(1, step, round(self._warm * total / max(1, self.total)))
            self._from = (self._warm, 1.0)
        else:
            self._from = (step, self.rate(step))
        self.total = total
        self.cuts.append((step, total))


@dataclass
class Clock:
    """A student's time. deadline: when it must be done, None for a training that may take what it takes.

    replayed: the cuts of an earlier training, by phase; with them no clock is asked.
    """

    deadline: Deadline | None = None
    replayed: Mapping[str, Cuts] = field(default_factory=dict)
    _paces: dict[str, Pace] = field(default_factory=dict)

    def pace(self, phase: str, planned: int, share: float = 1.0, cuts: Cuts = (), warm: int | None = None) -> Pace:
        """The pace of a phase that may take this share of the time that is left. cuts: made before it was stopped."""
        deadline = self.deadline.part(share) if self.deadline else None
        self._paces[phase] = Pace(planned, deadline, cuts or self.replayed.get(phase, ()), warm)
        return self._paces[phase]

    @property
    def cuts(self) -> dict[str, Cuts]:
        """What was cut of each phase so far; phases that went as planned are not there."""
        return {phase: tuple(pace.cuts) for phase, pace in self._paces.items() if pace.cuts}
