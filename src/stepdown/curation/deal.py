"""How many trusted rows go where: the rules of docs/curation.md, as moves of whole groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stepdown.core.dataset import SplitName

Pool = Literal["reserved", "dev", "free", "train", "rest"]

SCARCE = 1.25
"""Up to this many times the evidence wanted, every free trusted answer becomes evidence."""

LEAST_GOLD_TO_TUNE = 200
PLENTY = 15_000
TEST_SHARE, MOST_TEST = 0.05, 2_000
LARGEST_SHARE = 4
"""A group larger than a quarter of what a split wants is not dealt to it: that one text would be the evidence."""

SMALL_GROUP = 10


@dataclass(frozen=True)
class Wanted:
    """Rows wanted for each use; calls is the number there is to divide."""

    calls: int
    certify: int
    tune: int


@dataclass
class Deal:
    """Groups in the order they are dealt, each in one pool, and the side given to those dealt; the rest is train.

    rows: how many rows of a group count towards a split's size.
    """

    order: list[str]
    pool: Mapping[str, Pool]
    rows: Mapping[str, int]
    side: dict[str, SplitName] = field(default_factory=dict)
    too_large: dict[str, int] = field(default_factory=dict)

    def take(self, side: SplitName, pool: Pool, wanted: int) -> int:
        """Give groups of a pool to a side until it has `wanted` rows more. Returns how many it got."""
        taken = 0
        limit = max(SMALL_GROUP, wanted // LARGEST_SHARE)
        for group in self.order:
            if taken >= wanted:
                break
            if self.pool[group] != pool or group in self.side:
                continue
            if self.rows[group] > limit:
                self.too_large[group] = self.rows[group]
                continue
            self.side[group] = side
            taken += self.rows[group]
        return taken

    def take_all(self, side: SplitName, pool: Pool) -> int:
        """Give every group of a pool that is still there to a side, however large."""
        given = [group for group in self.order if self.pool[group] == pool and group not in self.side]
        self.side.update(dict.fromkeys(given, side))
        return sum(self.rows[group] for group in given)

    def left(self, pool: Pool) -> int:
        return sum(self.rows[group] for group in self.order if self.pool[group] == pool and group not in self.side)


def deal_by_agreement(deal: Deal, wanted: Wanted, reserved: Mapping[SplitName, int]) -> None:
    """Every answered call is evidence, so each split is simply filled."""
    tuned = deal.take("tune", "dev", wanted.tune)
    certified = reserved.get("certify", 0) + deal.take_all("certify", "dev")
    deal.take("certify", "free", wanted.certify - certified)
    deal.take("tune", "free", wanted.tune - tuned)
    _take_test(deal, wanted, reserved)


def deal_by_trust(deal: Deal, wanted: Wanted, reserved: Mapping[SplitName, int]) -> bool:
    """Evidence first, then tuning, then learning. Returns whether tune has trusted rows, or is left to agreement.

    A label spent on evidence cannot be replaced; tuning only needs an order of thresholds, for which agreement with
    the incumbent does, and a poor order costs offload, never validity. Labels their owner calls "train" become evidence
    only where the owner names no evidence at all, and then at most half of them.
    """
    tuned = deal.take("tune", "dev", wanted.tune)
    certified = reserved.get("certify", 0) + deal.take_all("certify", "dev")
    missing = wanted.certify - certified
    if deal.left("free") <= SCARCE * missing:
        certified += deal.take_all("certify", "free")
    else:
        certified += deal.take("certify", "free", missing)
    if not reserved.get("certify"):
        certified += deal.take("certify", "train", min(wanted.certify - certified, deal.left("train") // 2))
    spare = deal.left("free") + deal.left("train") // 4
    if tuned + spare >= min(LEAST_GOLD_TO_TUNE, wanted.tune):
        tuned += deal.take("tune", "free", wanted.tune - tuned)
        deal.take("tune", "train", min(wanted.tune - tuned, deal.left("train") // 4))
        _take_test(deal, wanted, reserved)
        return True
    deal.take("tune", "rest", wanted.tune - tuned)
    return False


def _take_test(deal: Deal, wanted: Wanted, reserved: Mapping[SplitName, int]) -> None:
    if not reserved.get("test"):
        deal.take("test", "free", int(min(deal.left("free") - PLENTY, MOST_TEST, TEST_SHARE * wanted.calls)))
