"""Four disjoint splits by group. The rules and their reasons are in docs/curation.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.core.contract import Evidence
from stepdown.core.dataset import SPLITS, Example, Excluded, SplitName
from stepdown.core.errors import NotEnoughData
from stepdown.curation.deal import Deal, Pool, Wanted, deal_by_agreement, deal_by_trust
from stepdown.curation.gold_split import own_split
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome
from stepdown.curation.split_order import order_groups

LEAST_TRAIN = 10
SHARES_WITH_EVIDENCE = "near-duplicate of evidence, and not evidence itself"


@dataclass(frozen=True)
class Standing:
    """What may be done with each row, by id. wish: where its label's owner wants it. trusted: it can be evidence."""

    wish: Mapping[str, SplitName]
    trusted: frozenset[str]
    evidence: Evidence


def split(examples: list[Example], options: CurationOptions) -> Outcome:
    """Deal whole groups to train, tune, certify and test; gold's own split column is obeyed.

    Evidence rows are those with gold (or a verdict, for judged evidence); for agreement, those the incumbent answered.
    A row that shares a group with evidence without being evidence is excluded, never the evidence.
    Raises NotEnoughData when nothing is left to learn from, InputError for an unknown split in gold.
    """
    standing = _stand(examples, options)
    wanted = _want(examples, standing, options)
    order, findings = order_groups(examples, wanted.certify + wanted.tune, options.seed, options.slice_of)
    if standing.evidence == "judged":
        with_gold = {one.group for one in examples if one.gold is not None}
        order.sort(key=lambda group: group not in with_gold)
    pool = _pools(examples, standing)
    deal = Deal(order, pool, _rows(examples, standing, pool))
    reserved = Counter(standing.wish.values())
    tuned_on: Evidence = "agreement"
    if standing.evidence == "agreement":
        deal_by_agreement(deal, wanted, reserved)
    elif deal_by_trust(deal, wanted, reserved):
        tuned_on = standing.evidence
    kept, excluded = _place(examples, deal, standing, tuned_on)
    _check(kept, len(examples))
    dominating = sum(deal.too_large[group] for group in deal.too_large if group not in deal.side)
    described = _describe(kept, standing) | {"rows_of_groups_too_large_for_evidence": dominating}
    wishes = {"wanted": {"certify": wanted.certify, "tune": wanted.tune}, "tune_measured_against": tuned_on}
    return Outcome(kept, excluded, {**findings, "evidence": standing.evidence, **wishes, **described})


def _want(examples: list[Example], standing: Standing, options: CurationOptions) -> Wanted:
    # Rows that their owner keeps for test are no part of what is divided, or little of few would be left to learn from.
    usable = sum(standing.wish.get(one.id) != "test" for one in examples)
    certify = options.rows_to_certify(usable, standing.evidence)
    # A verdict was paid for to be evidence, and says nothing of what the right answer would have been.
    if standing.evidence == "judged":
        certify = max(certify, min(len(standing.trusted), len(examples) // 2))
    return Wanted(len(examples), certify, options.rows_to_tune(usable))


def _stand(examples: list[Example], options: CurationOptions) -> Standing:
    wish = {one.id: own for one in examples if one.gold is not None and (own := own_split(options.gold[one.id]))}
    judged = options.against == "judged"
    trusted = {one.id for one in examples if one.gold is not None or (judged and one.judged is not None)}
    if options.against != "agreement" and any(wish.get(name) != "test" for name in trusted):
        return Standing(wish, frozenset(trusted), options.against)
    return Standing(wish, frozenset(one.id for one in examples if one.incumbent is not None), "agreement")


def _pools(examples: list[Example], standing: Standing) -> dict[str, Pool]:
    wishes: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        wish: str = standing.wish.get(example.id, "")
        # Whether a row is learned from or agreed with is the same question when there is no gold in the evidence.
        if wish == "train" and standing.evidence == "agreement":
            wish = ""
        wishes[example.group] |= {wish} if wish or example.id in standing.trusted else set()
    return {group: _pool(wished) for group, wished in wishes.items()}


def _pool(wished: set[str]) -> Pool:
    if wished & {"certify", "test"}:
        return "reserved"
    if "tune" in wished:
        return "dev"
    if "" in wished:
        return "free"
    return "train" if wished else "rest"


def _rows(examples: list[Example], standing: Standing, pool: Mapping[str, Pool]) -> Counter[str]:
    return Counter(one.group for one in examples if one.id in standing.trusted or pool[one.group] == "rest")


def _place(
    examples: list[Example], deal: Deal, standing: Standing, tuned_on: Evidence
) -> tuple[list[Example], list[Excluded]]:
    kept: list[Example] = []
    excluded: list[Excluded] = []
    kin: dict[str, str] = {}
    for example in examples:
        reserved = deal.pool[example.group] == "reserved"
        side: SplitName | None = deal.side.get(example.group, "train")
        if reserved:
            side = standing.wish.get(example.id)
        reason = _why_out(example, side, reserved, standing, tuned_on)
        if side is None or reason:
            excluded.append(Excluded(id=example.id, reason=reason))
        else:
            kin.setdefault(example.group, example.id)
            kept.append(msgspec.structs.replace(example, split=side))
    group_of = {example.id: example.group for example in examples}
    named = [msgspec.structs.replace(one, kin=kin.get(group_of[one.id], "")) for one in excluded]
    return kept, named


def _why_out(example: Example, side: SplitName | None, reserved: bool, standing: Standing, tuned_on: Evidence) -> str:
    """Why a row cannot stand on its group's side; "" when it can."""
    if reserved:
        return "" if side in ("certify", "test") else SHARES_WITH_EVIDENCE
    if side == "tune" and tuned_on == "agreement":
        return "" if example.incumbent is not None else "no answer of the incumbent's to tune by"
    return "" if side == "train" or example.id in standing.trusted else SHARES_WITH_EVIDENCE


def _check(kept: list[Example], calls: int) -> None:
    train = [example for example in kept if example.split == "train"]
    if len(train) < LEAST_TRAIN:
        counts = Counter(example.split for example in kept)
        raise NotEnoughData(
            f"Of {calls} usable calls {len(train)} are left to learn from ({_count(counts)}).",
            f"At least {LEAST_TRAIN} are needed, and in practice some hundreds.",
            "Import more calls, or leave the split column of gold empty so that stepdown may choose.",
        )


def _count(counts: Counter[SplitName]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in SPLITS)


def _describe(kept: list[Example], standing: Standing) -> dict[str, Any]:
    """Rows per split; and for certify, how far repeats reduce it: rows² / Σ (rows of a group)² groups of equal size."""
    counts = Counter(example.split for example in kept)
    sizes = Counter(example.group for example in kept if example.split == "certify")
    squares = sum(size * size for size in sizes.values())
    sides: dict[str, set[str]] = defaultdict(set)
    for example in kept:
        sides[example.group].add(example.split)
    return {
        "rows": {name: counts[name] for name in SPLITS},
        "certify_groups": len(sizes),
        "certify_effective_groups": round(counts["certify"] ** 2 / squares, 1) if squares else 0,
        "groups_their_owner_put_on_two_sides": sum(len(where) > 1 for where in sides.values()),
    }
