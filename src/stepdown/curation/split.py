"""Four disjoint splits in whole units, the evidence drawn first. docs/curation.md has the rules and their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stepdown.core.contract import Evidence
from stepdown.core.dataset import SPLITS, Example, Excluded, SplitName
from stepdown.core.draw import Draw
from stepdown.core.errors import InputError, NotEnoughData
from stepdown.core.store import Gold
from stepdown.curation.drawing import DrawScope, draw_evidence, draw_scope
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome
from stepdown.curation.split_order import hashed, latest_first, why_not_by_time

LEAST_TRAIN = 10
LEAST_GOLD_TO_TUNE = 200
PLENTY = 15_000
TEST_SHARE, MOST_TEST = 0.05, 2_000
SHARES_A_UNIT = "of one unit with evidence, and not drawn"
OTHER_SIDE = "of one unit with rows of another split"


def split(examples: list[Example], options: CurationOptions) -> Outcome:
    """The examples with their splits: evidence is drawn first, then tune and test; the rest is train. Gold's split
    column is obeyed.

    A row of a unit that is evidence, without having been drawn, is excluded. Repetitions of an input may stand on both
    sides, as they will in production: only units are kept whole. Raises NotEnoughData when nothing is left to learn
    from, InputError for an unknown split in gold.
    """
    wish = {
        example.id: own
        for example in examples
        if example.gold is not None and (own := own_split(options.gold[example.id]))
    }
    standing = draw_scope(examples, wish, options)
    draw = draw_evidence(examples, standing, options)
    sides = _Sides(examples, standing, draw)
    tuned_on = _deal_tune(sides, options)
    _deal_test(sides, options)
    kept, excluded = sides.place(options)
    if tuned_on == "agreement":
        kept = [msgspec.structs.replace(example, gold=None) if example.split == "tune" else example for example in kept]
    _check(kept, len(examples))
    findings = {
        "evidence": standing.evidence,
        "drawn_from": draw.scope,
        "window": draw.window,
        "tune_measured_against": tuned_on,
        "why_not_by_time": "" if draw.window else why_not_by_time(examples),
        **_describe(kept),
    }
    return Outcome(kept, excluded, findings, draw)


@dataclass
class _Sides:
    """Whole units assigned to splits; units without a split are train."""

    examples: list[Example]
    standing: DrawScope
    draw: Draw
    of_unit: dict[str, SplitName] = field(default_factory=dict)

    def __post_init__(self) -> None:
        drawn = {example.unit for example in self.examples if self.draw.place(example.id) is not None}
        self.of_unit = dict.fromkeys(drawn, "certify")
        for name in ("test", "tune"):
            wished = {example.unit for example in self.examples if self.standing.wish.get(example.id) == name}
            self.of_unit = dict.fromkeys(wished - self.of_unit.keys(), name) | self.of_unit

    def free(self, usable: Iterable[Example]) -> list[Example]:
        """The rows of `usable` whose unit has no split yet."""
        return [example for example in usable if example.unit not in self.of_unit]

    def take(self, side: SplitName, usable: list[Example], wanted: int, options: CurationOptions) -> None:
        """Assign units to a split until it has `wanted` more of the usable rows: the latest, or hashed."""
        rows = Counter(example.unit for example in usable)
        taken = 0
        for unit in latest_first(usable) if self.draw.window else hashed(list(rows), options.seed):
            if taken >= wanted:
                break
            self.of_unit[unit] = side
            taken += rows[unit]

    def place(self, options: CurationOptions) -> tuple[list[Example], list[Excluded]]:
        kept: list[Example] = []
        excluded: list[Excluded] = []
        for example in self.examples:
            side = self.of_unit.get(example.unit, "train")
            place = self.draw.place(example.id)
            reason = self._why_out(example, side, place is not None, options)
            if reason:
                excluded.append(Excluded(id=example.id, reason=reason))
            else:
                if side == "certify" and example.gold_basis == "volunteered":
                    example = msgspec.structs.replace(example, gold=None)  # noqa: PLW2901 - it is no evidence
                kept.append(msgspec.structs.replace(example, split=side, place=place if side == "certify" else None))
        return kept, excluded

    def _why_out(self, example: Example, side: SplitName, drawn: bool, options: CurationOptions) -> str:
        """Why a row cannot be in its unit's split; "" when it can."""
        if side == "certify":
            return "" if drawn else SHARES_A_UNIT
        wish = self.standing.wish.get(example.id)
        if side == "train" and wish == "certify" and self.standing.evidence != "agreement":
            # Its owner keeps it for evidence, which it may not be; nobody said that it may be learned from.
            return "meant for evidence by the owner of its gold, and not drawn"
        if wish == "test" and side != "test":
            return OTHER_SIDE
        if side in ("tune", "test") and example.id in options.seen.escalated:
            return OTHER_SIDE
        if example.incumbent is None and example.gold is None:
            return options.seen.unread.get(example.id, "no usable answer")
        return ""


def _deal_tune(sides: _Sides, options: CurationOptions) -> Evidence:
    """Rows to tune on: gold where all of them can have such as may be evidence, else the incumbent's answers.

    Gold that somebody picked would bend the confidences fitted to it: it is learned from.
    """
    standing = sides.standing
    usable = [example for example in sides.examples if standing.wish.get(example.id) != "test"]
    natural = [example for example in usable if example.id not in options.seen.escalated]
    own = [example for example in natural if sides.of_unit.get(example.unit) == "tune"]
    missing = options.rows_to_tune(len(usable)) - len(own)
    free = sides.free(natural)
    # What its owner means for learning is left to it while there is anything else, and by three quarters after that.
    rest = [example for example in free if standing.wish.get(example.id) != "train"]
    spare, limit = (rest, missing) if rest else (free, min(missing, len(free) // 4))
    if (
        standing.complete
        and standing.evidence != "agreement"
        and len(own) + min(limit, len(spare)) >= min(LEAST_GOLD_TO_TUNE, len(own) + missing)
    ):
        sides.take("tune", spare, limit, options)
        return standing.evidence
    answered = [example for example in spare if example.incumbent is not None]
    bare = [example for example in answered if example.gold is None]
    sides.take("tune", bare if len(bare) >= limit else answered, limit, options)
    return "agreement"


def _deal_test(sides: _Sides, options: CurationOptions) -> None:
    if "test" in sides.of_unit.values():
        return
    natural = [
        example
        for example in sides.examples
        if example.id not in options.seen.escalated and example.incumbent is not None
    ]
    spare = sides.free(natural)
    wanted = int(min(len(spare) - PLENTY, MOST_TEST, TEST_SHARE * len(sides.examples)))
    if wanted > 0:
        sides.take("test", spare, wanted, options)


def _check(kept: list[Example], calls: int) -> None:
    train = [example for example in kept if example.split == "train"]
    if len(train) < LEAST_TRAIN:
        counts = Counter(example.split for example in kept)
        raise NotEnoughData(
            f"Of {calls} usable calls {len(train)} are left for training ({_count(counts)}).",
            f"At least {LEAST_TRAIN} are needed, and in practice some hundreds.",
            "Import more calls, name a finer unit, or leave the split column of gold empty, so that stepdown chooses.",
        )


def _count(counts: Counter[SplitName]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in SPLITS)


def _describe(kept: list[Example]) -> dict[str, Any]:
    """Rows per split, the units of the evidence, and how many of its rows repeat an input that is learned from."""
    counts = Counter(example.split for example in kept)
    certify = [example for example in kept if example.split == "certify"]
    learned = {example.text for example in kept if example.split == "train"}
    return {
        "rows": {name: counts[name] for name in SPLITS},
        "certify_units": len({example.unit for example in certify}),
        "certify_rows_also_learned_from": sum(example.text in learned for example in certify),
    }


_NAMES: dict[str, SplitName | None] = {
    "": None,
    "train": "train",
    "training": "train",
    "tune": "tune",
    "dev": "tune",
    "development": "tune",
    "valid": "tune",
    "validation": "tune",
    "val": "tune",
    "certify": "certify",
    "evidence": "certify",
    "test": "test",
    "heldout": "test",
    "held-out": "test",
}


def own_split(gold: Gold) -> SplitName | None:
    """The split a label is meant for, None where its owner does not say.

    Raises InputError for a name that is not known: guessing could put a held-out label into training.
    """
    name = gold.split.strip().casefold()
    if name not in _NAMES:
        raise InputError(
            f"Gold for call {gold.id!r} has the split {gold.split!r}.",
            f"Known splits: {', '.join(sorted(filter(None, _NAMES)))}; empty lets stepdown choose.",
            "Correct the split column and import the gold again.",
        )
    return _NAMES[name]
