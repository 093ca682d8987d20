"""The path: threshold vectors in the order in which they will be tested, chosen on tune and on nothing else.

A point accepts all that the point before it accepts, and saves more. Sources: Angelopoulos, Bates, Candès, Jordan & Lei
(2021), Learn then Test, arXiv:2110.01052 (a fixed sequence costs no error); Laufer-Goldshtein, Fisch, Barzilay &
Jaakkola (2023), Efficiently controlling multiple risks with Pareto testing, ICLR (order the sequence on other data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepdown.certificate.candidate import NEVER, Candidate, all_confidences, fit_all
from stepdown.certificate.forecast import PathForecast, expected_saving
from stepdown.certificate.observations import Floats, Observations, Outcome, outcome
from stepdown.core.certificate import PathPoint

STRICTEST, LEVEL = 0.025, 0.01
"""The share that the strictest threshold accepts, and what each further one adds. Below that nothing would be said of a
student: one that answers one call in a hundred errs on no more of all calls than that."""

MOST_POINTS = 120
MOST_RUNGS = 3
RUNG_MUST_EARN = 0.01
_HOPEFUL = 0.1
_CLEARLY_SAFER = 0.005
_EXAMPLES = 5


@dataclass(frozen=True)
class Tuning:
    """Observations on tune, with the calibrators fitted there and the confidences (s, n) that they give."""

    seen: Observations
    calibrators: tuple[dict[str, Any], ...]
    confidences: Floats


@dataclass(frozen=True)
class Walk:
    """A path with its forecast from tune. students: their positions among those observed."""

    students: tuple[int, ...]
    thresholds: tuple[tuple[float, ...], ...]
    outcomes: tuple[Outcome, ...]
    savings: Floats
    chances: Floats

    @property
    def value(self) -> float:
        return expected_saving(self.savings, self.chances)

    def part(self, kept: Sequence[int]) -> Walk:
        return Walk(
            self.students,
            tuple(self.thresholds[index] for index in kept),
            tuple(self.outcomes[index] for index in kept),
            self.savings[list(kept)],
            self.chances[list(kept)],
        )

    @property
    def likely_end(self) -> Outcome:
        """The last point that is more likely than not to pass, where the walk will probably stop."""
        passing = np.flatnonzero(self.chances >= 0.5)
        return self.outcomes[int(passing[-1]) if passing.size else -1]


def choose_candidate(task: str, forecast: PathForecast) -> Candidate:
    """The rungs and the path with the most saving to expect under the contract. Deterministic.

    A further rung must earn 1 % more. Among single students that save alike, the cheapest that is not clearly worse
    (by more than one standard error of the paired difference) than the best is taken. Raises NotEnoughData when tune
    has no labelled row.
    """
    seen = forecast.seen.rows(np.flatnonzero(forecast.seen.labelled))
    contract = forecast.contract
    forecast = replace(forecast, seen=seen)
    calibrators = fit_all(seen)
    tuning = Tuning(seen, calibrators, all_confidences(calibrators, seen))
    singles = [_walk(tuning, forecast, (student,)) for student in range(len(seen.candidate_students))]
    if not singles:
        return _candidate(task, tuning, None, "There was no student to choose from.", contract.slices)
    walk, why = _best_single(singles, tuning)
    walk, reasons = _more_rungs(walk, tuning, forecast)
    return _candidate(task, tuning, walk, " ".join([why, *reasons]), contract.slices)


def _best_single(singles: list[Walk], tuning: Tuning) -> tuple[Walk, str]:
    most = max(walk.value for walk in singles)
    # A saving may be below 0: students that hardly ever answer cost more than they save.
    alike = [walk for walk in singles if walk.value >= most - RUNG_MUST_EARN * abs(most)]
    best = min(alike, key=lambda walk: float(walk.likely_end.excess.mean()))
    chosen = next(walk for walk in alike if not _clearly_worse(walk, best))
    kind = tuning.seen.candidate_students[chosen.students[0]].kind
    if len(alike) == 1:
        return chosen, f"{kind} has the most saving to expect ({most:.1%} of the incumbent's cost)."
    others = ", ".join(tuning.seen.candidate_students[walk.students[0]].kind for walk in alike if walk is not chosen)
    return chosen, f"{kind} saves as much as {others} and is the cheapest that is not clearly worse than the best."


def _clearly_worse(walk: Walk, best: Walk) -> bool:
    difference = walk.likely_end.excess - best.likely_end.excess
    return bool(difference.mean() > difference.std() / max(1.0, difference.size) ** 0.5)


def _more_rungs(walk: Walk, tuning: Tuning, forecast: PathForecast) -> tuple[Walk, list[str]]:
    reasons = []
    while len(walk.students) < MOST_RUNGS:
        others = [student for student in range(len(tuning.seen.candidate_students)) if student not in walk.students]
        wider = [_walk(tuning, forecast, tuple(sorted({*walk.students, student}))) for student in others]
        if not wider:
            break
        best = max(wider, key=lambda each: each.value)
        added = next(student for student in best.students if student not in walk.students)
        kind, gain = tuning.seen.candidate_students[added].kind, best.value - walk.value
        if gain < RUNG_MUST_EARN * max(walk.value, 1e-9):
            reasons.append(f"A further rung would not pay: {kind} would add {max(gain, 0.0):.1%}, less than 1 %.")
            break
        reasons.append(f"{kind} is added because it saves {gain:.1%} more.")
        walk = best
    return walk, reasons


def _walk(tuning: Tuning, forecast: PathForecast, students: tuple[int, ...]) -> Walk:
    seen, confidences = tuning.seen.students(students), tuning.confidences[list(students)]
    levels = [_levels(row) for row in confidences]
    steps = _greedy(levels, seen, confidences, forecast)
    savings = np.array([forecast.saving(result) for _, result in steps])
    chances = np.array([forecast.chance(result) for _, result in steps])
    walk = Walk(students, tuple(at for at, _ in steps), tuple(result for _, result in steps), savings, chances)
    return _safest_first(_thinned(walk))


def _levels(confidence: Floats) -> list[float]:
    """Falling thresholds that accept about LEVEL more each, from "never" to "always".

    Each lies between two confidences seen, so that a difference in the last digit changes no decision.
    """
    falling = -np.unique(-confidence)
    ordered = -np.sort(-confidence)
    levels = [NEVER]
    for share in np.arange(STRICTEST, 1.0, LEVEL):
        value = ordered[int(np.ceil(share * ordered.size)) - 1]
        position = int(np.searchsorted(-falling, -value))
        below = falling[position + 1] if position + 1 < falling.size else 0.0
        threshold = float(np.round((value + below) / 2, 6))
        threshold = threshold if below < threshold <= value else float(value)
        if 0.0 < threshold < levels[-1]:
            levels.append(threshold)
    return [*levels, 0.0]


def _greedy(
    levels: list[list[float]], seen: Observations, confidences: Floats, forecast: PathForecast
) -> list[tuple[tuple[float, ...], Outcome]]:
    """Lower, one notch at a time, the threshold that adds the least risk for what it saves."""
    notch = [0] * len(levels)
    here = outcome(seen, confidences, [level[0] for level in levels])
    steps: list[tuple[tuple[float, ...], Outcome]] = []
    while True:
        best: tuple[float, int, Outcome] | None = None
        for rung, own in enumerate(levels):
            if notch[rung] + 1 == len(own):
                continue
            at = [level[notch[other] + (other == rung)] for other, level in enumerate(levels)]
            result = outcome(seen, confidences, at)
            price = _price_of_step(here, result, forecast)
            if best is None or price < best[0]:
                best = (price, rung, result)
        if best is None or here.offload == 1.0:
            return steps
        here = best[2]
        notch[best[1]] += 1
        steps.append((tuple(level[notch[rung]] for rung, level in enumerate(levels)), here))


def _price_of_step(here: Outcome, there: Outcome, forecast: PathForecast) -> float:
    """Risk added for each unit saved; half a row of risk is added so that a lucky notch is not taken for a free one."""
    gain = forecast.saving(there) - forecast.saving(here)
    risk = float(there.excess.mean() - here.excess.mean()) + 0.5 / max(1, there.excess.size)
    return risk / gain if gain > 1e-12 else np.inf


def _thinned(walk: Walk) -> Walk:
    """At most MOST_POINTS points, each saving more than the one before."""
    kept, most = [], -np.inf
    for index, saving in enumerate(walk.savings):
        if saving > most + 1e-12:
            kept.append(index)
            most = saving
    if not kept:
        kept = [len(walk.savings) - 1]
    if len(kept) > MOST_POINTS:
        kept = [kept[index] for index in np.unique(np.linspace(0, len(kept) - 1, MOST_POINTS).round().astype(int))]
    return walk.part(kept)


def _safest_first(walk: Walk) -> Walk:
    """Drop points that a later, safer one makes pointless, then start where the walk is worth most.

    The sequence ends at the first failure, so a point that is likelier to fail than one that saves more only stands in
    its way; and so does a strict end at which the evidence is too small to show anything.
    """
    kept, safest = [], -np.inf
    for index in reversed(range(len(walk.chances))):
        if safest < walk.chances[index] + _CLEARLY_SAFER:
            kept.append(index)
        safest = max(safest, walk.chances[index])
    left = walk.part(kept[::-1])
    starts = [left.part(range(start, len(left.chances))) for start in range(len(left.chances))]
    return max(starts, key=lambda part: part.value)


def _candidate(task: str, tuning: Tuning, walk: Walk | None, why: str, slices: tuple[str, ...]) -> Candidate:
    students = walk.students if walk else ()
    points = tuple(
        PathPoint(thresholds=at, tune_offload=result.offload, tune_excess_loss=float(result.excess.mean()))
        for at, result in (zip(walk.thresholds, walk.outcomes, strict=True) if walk else ())
    )
    return Candidate(
        task=task,
        candidate_students=tuple(tuning.seen.candidate_students[student] for student in students),
        calibrators=tuple(tuning.calibrators[student] for student in students),
        points=points,
        tune_reference=tuning.seen.reference,
        tune_n=tuning.seen.n,
        why=why,
        slices=tuple(sorted({(name, value) for name in slices for value in tuning.seen.slices_named(name)})),
        examples=_examples(tuning, students),
        hopeful=int(np.flatnonzero(walk.chances >= _HOPEFUL)[-1])
        if walk and (walk.chances >= _HOPEFUL).any()
        else None,
    )


def _examples(tuning: Tuning, students: Sequence[int]) -> tuple[str, ...]:
    """Tune rows on which the rungs were surest and wrong where the incumbent was right."""
    examples: list[str] = []
    for student in students:
        worse = tuning.seen.losses[student] - tuning.seen.incumbent_loss
        wrong = np.flatnonzero(worse > 0.5)
        surest = wrong[np.argsort(-tuning.confidences[student][wrong], kind="stable")]
        examples += [tuning.seen.ids[row] for row in surest[:_EXAMPLES] if tuning.seen.ids[row] not in examples]
    return tuple(examples)
