"""Drawing the evidence: the eligible calls, and a random sample of them. Pure; the caller journals the draw.

Evidence is a random sample of calls as production makes them, in whole units. It is never what somebody chose to label:
gold that came otherwise is learned from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepdown.core.canonical import digest
from stepdown.core.contract import Evidence
from stepdown.core.dataset import Example, SplitName
from stepdown.core.draw import Draw, Scope, call_key, pack_keys, rank
from stepdown.curation.options import CurationOptions
from stepdown.curation.split_order import drift, why_not_by_time
from stepdown.curation.units import whole_units

SCARCE = 1.25
"""Up to this many times the evidence wanted, every call of a declared random sample becomes evidence."""

SPANNING_SHARE = 0.02
"""The share of the latest calls whose units reach back before them, up to which they are a sample by themselves."""

GROWN = 2.0
"""So many times the calls of the last draw make a new one due, where calls have no times to tell new ones by."""


@dataclass(frozen=True)
class DrawScope:
    """What each row may be used for, by id. wish: the split that its label's owner wants. trusted: rows whose gold may
    be evidence.

    complete: every call as production makes them has such gold. evidence: the kind that the contract asks for.
    """

    wish: Mapping[str, SplitName]
    trusted: frozenset[str]
    complete: bool
    evidence: Evidence
    scope: Scope
    eligible: frozenset[str]


def draw_scope(examples: Sequence[Example], wish: Mapping[str, SplitName], options: CurationOptions) -> DrawScope:
    """Which rows the evidence may be drawn from."""
    basis = {
        example.id: options.gold[example.id].basis
        for example in examples
        if example.gold is not None and example.id in options.gold
    }
    trusted = frozenset(name for name, given in basis.items() if given != "volunteered")
    natural = [
        example
        for example in examples
        if example.id not in options.seen.escalated and example.timestamp >= options.whole_since
    ]
    complete = bool(natural) and all(example.id in trusted for example in natural)
    scope, eligible = _eligible(natural, wish, basis, complete, options.against)
    return DrawScope(wish, trusted, complete, options.against, scope, frozenset(eligible))


def _eligible(
    natural: Sequence[Example], wish: Mapping[str, SplitName], basis: Mapping[str, str], complete: bool, kind: Evidence
) -> tuple[Scope, set[str]]:
    """The scope of the draw, and the ids of the calls that it may hold."""
    if kind == "judged":
        return "judged", {
            example.id for example in natural if example.judged is not None and wish.get(example.id) != "test"
        }
    if kind == "agreement":
        return "traffic", {example.id for example in natural if wish.get(example.id) not in ("test", "tune")}
    declared = {
        example.id
        for example in natural
        if basis.get(example.id) == "random-sample" or (complete and example.id in basis)
    }
    if named := {name for name in declared if wish.get(name) == "certify"}:
        return "split-column", named
    if sample := {name for name in declared if basis[name] == "random-sample" and wish.get(name) not in _TAKEN}:
        return "random-sample", sample
    free = {example.id for example in natural if wish.get(example.id) not in _TAKEN}
    return "traffic", free or {example.id for example in natural if wish.get(example.id) == "train"}


_TAKEN: frozenset[SplitName] = frozenset(("train", "tune", "test"))


def draw_evidence(examples: Sequence[Example], standing: DrawScope, options: CurationOptions) -> Draw:
    """The last draw where it is still valid, else a new one.

    A draw from the traffic stands while all of its calls are there and until as many new calls have come as a new one
    would take; a new one leaves out what was drawn before. What somebody else drew is drawn again as it grows. A draw
    that is made for any reason but new calls (calls of the last one have gone, or another unit is named) replaces the
    one before, so that it gains nobody a fresh start.
    """
    last = next((draw for draw in reversed(options.draws) if _is_like(draw, standing, options)), None)
    wanted = _wanted(examples, standing, options)
    here = {call_key(example.id) for example in examples}
    gone = last is not None and any(key not in here for key in last.places)
    if last is not None and not gone and standing.scope == "traffic":
        return _new(examples, standing, options, wanted) if _is_due(examples, standing, last, wanted) else last
    before = last if gone else options.draws[-1] if last is None and options.draws else None
    new = _new(examples, standing, options, wanted, before)
    return last if last is not None and last.keys == new.keys else new


def _is_like(draw: Draw, standing: DrawScope, options: CurationOptions) -> bool:
    return (draw.scope, draw.unit) == (standing.scope, options.seen.unit)


def _is_due(examples: Sequence[Example], standing: DrawScope, last: Draw, wanted: int) -> bool:
    fresh = [example for example in examples if example.id in standing.eligible and last.place(example.id) is None]
    if last.last > 0:
        return sum(example.timestamp > last.last for example in fresh) >= max(wanted, last.rows)
    return len(fresh) + last.rows >= GROWN * last.calls


def _wanted(examples: Sequence[Example], standing: DrawScope, options: CurationOptions) -> int:
    usable = sum(standing.wish.get(example.id) != "test" for example in examples)
    wanted = options.rows_to_certify(usable)
    if standing.scope == "split-column":
        return len(standing.eligible)
    if standing.scope == "judged":
        return max(wanted, min(len(standing.eligible), len(examples) // 2))
    if standing.scope == "random-sample" and len(standing.eligible) <= SCARCE * wanted:
        return len(standing.eligible)
    if any(standing.wish.get(name) == "train" for name in standing.eligible):
        return min(wanted, len(standing.eligible) // 2)  # what their owner meant for learning is left to it by half
    return wanted


def _new(
    examples: Sequence[Example],
    standing: DrawScope,
    options: CurationOptions,
    wanted: int,
    before: Draw | None = None,
) -> Draw:
    again = standing.scope != "traffic"
    # Left out is what stepdown itself drew, at random. To leave out what somebody chose would bend what remains.
    known = [draw for draw in options.draws if draw.scope == "traffic"]
    earlier: set[int] = set() if again else {key for draw in known for key in draw.places}
    fresh = [example for example in examples if example.id in standing.eligible and call_key(example.id) not in earlier]
    # Where everything has been drawn before, the same calls are drawn again, and the ledger counts on.
    eligible = fresh or [example for example in examples if example.id in standing.eligible]
    window = ""
    if standing.scope == "traffic":
        eligible, window = _live(eligible, wanted, options) or _latest(eligible, wanted, options)
    by_unit = whole_units(eligible)
    # Of the traffic, the names of all units go into the salt: whoever sends a call can choose some name, but not with
    # it whether that unit is drawn. What its owner drew keeps its order as it grows.
    names = digest("\x1f".join(sorted(by_unit)).encode("utf-8", "surrogatepass"))
    salt = f"{options.task} {standing.scope}" if again else f"{options.task} {len(options.draws)} {names}"
    chosen: list[Example] = []
    for name in sorted(by_unit, key=lambda each: rank(salt, each)):
        if len(chosen) >= wanted:
            break
        chosen += by_unit[name]
    times = [example.timestamp for example in eligible if example.timestamp > 0]
    return Draw(
        task=options.task,
        scope=standing.scope,
        unit=options.seen.unit,
        salt=salt,
        calls=len(eligible),
        units=len(by_unit),
        first=min(times, default=0.0),
        last=_nearly_last(times),
        largest=max((len(calls) for calls in by_unit.values()), default=1),
        window=window,
        complete=standing.complete,
        keys=pack_keys(example.id for example in chosen),
        replaces=before.digest if before else "",
    )


def _nearly_last(times: list[float]) -> float:
    """The time of the last call but for one in a thousand: a clock that runs ahead must not end all later draws."""
    return sorted(times)[math.ceil(0.999 * len(times)) - 1] if times else 0.0


def _live(eligible: list[Example], wanted: int, options: CurationOptions) -> tuple[list[Example], str] | None:
    """The random holdback, where it has as many calls as are wanted: beside the calls of before a cascade was live, of
    which every one is there, the few that were held back would count for too little."""
    held = [example for example in eligible if example.id in options.seen.holdback]
    if len(held) < wanted or len(held) == len(eligible):
        return None
    latest, window = _latest(held, wanted, options)
    return latest, f"the random holdback of live traffic{', ' if window else ''}{window}"


def _latest(eligible: list[Example], wanted: int, options: CurationOptions) -> tuple[list[Example], str]:
    """The latest calls, about as many as are wanted, and what is said of them; all, where time tells little.

    Units that live on (clients, say) are drawn from the whole time instead: those with a call in the window would be
    the busy ones, and their calls before it could not be learned from.
    """
    if why_not_by_time(eligible) or not wanted:
        return eligible, ""
    cut = sorted(example.timestamp for example in eligible)[-min(wanted, len(eligible))]
    before = {example.unit for example in eligible if example.timestamp < cut}
    latest = [example for example in eligible if example.timestamp >= cut]
    if sum(example.unit in before for example in latest) > SPANNING_SHARE * len(latest):
        return eligible, ""
    return latest, "the latest calls" + drift(eligible, wanted, options.seed, options.slice_of)
