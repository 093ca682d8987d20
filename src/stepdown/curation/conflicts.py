"""The same input answered in different ways: counted everywhere, settled by majority where it is learned from."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, Excluded
from stepdown.curation.normal_text import text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome


def conflicts(examples: list[Example], options: CurationOptions) -> Outcome:
    """In train, one answer per input: the majority's (the earliest of those that tie); gold's over the incumbent's.

    Evidence keeps every answer as it came. Where gold contradicts itself evenly it is not learned from: neither side
    can be trusted more than the incumbent.
    """
    alike: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        alike[text_key(example.text)].append(example)
    settled: dict[str, Example] = {}
    excluded: list[Excluded] = []
    counts: Counter[str] = Counter()
    for same in alike.values():
        counts["inputs_answered_differently"] += _differ(same, "incumbent")
        counts["calls_among_them"] += len(same) if _differ(same, "incumbent") else 0
        counts["inputs_with_contradicting_gold"] += _differ(same, "gold")
        for example in _settle([one for one in same if one.split == "train"]):
            settled[example.id] = example
            if example.incumbent is None and example.gold is None:
                excluded.append(Excluded(id=example.id, reason="gold contradicts itself", detail="and no other answer"))
    gone = {one.id for one in excluded}
    kept = [settled.get(example.id, example) for example in examples if example.id not in gone]
    names = ("inputs_answered_differently", "calls_among_them", "inputs_with_contradicting_gold")
    return Outcome(kept, excluded, {name: counts[name] for name in names})


def _settle(same: list[Example]) -> list[Example]:
    if len(same) < 2:
        return []
    answers = [one.incumbent for one in same if one.incumbent is not None]
    answer = majority(answers) or (answers[0] if answers else None)
    gold = majority([one.gold for one in same])
    return [msgspec.structs.replace(one, incumbent=answer, gold=gold) for one in same]


def majority(answers: list[Answer | None]) -> Answer | None:
    """The most frequent answer; None when there is none, or when the first place is shared."""
    counted = Counter(canonical_json(answer) for answer in answers if answer is not None)
    ranked = counted.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return msgspec.json.decode(ranked[0][0])


def _differ(same: list[Example], side: str) -> bool:
    values = [getattr(example, side) for example in same]
    return len(same) > 1 and len({canonical_json(value) for value in values if value is not None}) > 1


def collapse(examples: list[Example], options: CurationOptions) -> Outcome:
    """The first of each set of equal train inputs stays, with the weight 1 + ln(how often it came).

    Equal inputs carry one settled answer by now (see conflicts), so the rest teach nothing but their frequency. The
    logarithm keeps a greeting that is a third of the traffic from being a third of what a small model minds.
    """
    alike: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.split == "train":
            alike[text_key(example.text)].append(example)
    first = {same[0].id: same for same in alike.values()}
    kept: list[Example] = []
    excluded: list[Excluded] = []
    for example in examples:
        if example.split != "train":
            kept.append(example)
        elif example.id in first:
            times = len(first[example.id])
            kept.append(msgspec.structs.replace(example, weight=example.weight * (1 + math.log(times))))
    for same in first.values():
        reason = "collapsed into one training example"
        excluded.extend(Excluded(id=one.id, reason=reason, kin=same[0].id) for one in same[1:])
    heaviest = max((len(same) for same in first.values()), default=0)
    return Outcome(kept, excluded, {"collapsed": len(excluded), "most_calls_in_one": heaviest})
