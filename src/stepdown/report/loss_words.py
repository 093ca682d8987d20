"""Words for the contract's loss: an error, or the loss of a measure such as exact match."""

from __future__ import annotations

from dataclasses import dataclass

from stepdown.core.estimates import Estimate
from stepdown.core.family import all_losses
from stepdown.report.format import MINUS, points, wording


@dataclass(frozen=True)
class LossWords:
    """noun: what there is more or less of. measure: the noun is what the loss is 1 minus, and more of it is better.

    share: the loss is 0 or 1, so that its mean is a share of requests.
    """

    noun: str = "error"
    measure: bool = False
    share: bool = True

    @property
    def name(self) -> str:
        """At the head of a row: "Error", "Exact match"."""
        return self.noun[:1].upper() + self.noun[1:]

    @property
    def as_loss(self) -> str:
        """Where down is better: "error", "1 − exact match"."""
        return f"1 {MINUS} {self.noun}" if self.measure else self.noun

    @property
    def excess(self) -> str:
        """The name of the excess loss: "Excess error", "Exact match lost"."""
        return f"{self.name} lost" if self.measure else f"Excess {self.noun}"

    def shown(self, loss: Estimate | None) -> Estimate | None:
        """The figure that goes by `name`."""
        return complement(loss) if self.measure else loss

    def more(self, excess: float) -> str:
        """An excess loss: "less" or "more" of the noun, without a figure."""
        return "less" if (excess < 0) != self.measure else "more"

    def difference(self, excess: float) -> str:
        """An excess loss as "2.1 points more error", "2.1 points less exact match"."""
        return f"{points(excess)} {self.more(excess)} {self.noun}"

    @property
    def unchanged(self) -> str:
        return f"no {self.more(1.0)} {self.noun}"


ERROR = LossWords()


def loss_words(name: str) -> LossWords:
    """The words for a loss; those of one that is not installed are made of its name."""
    loss = all_losses().get(name)
    if loss is None:
        return LossWords(f"{wording(name)} loss", measure=False, share=False)
    return LossWords(loss.noun, loss.measure, loss.support == "zero_one")


def complement(estimate: Estimate | None) -> Estimate | None:
    """1 − a loss, with its interval."""
    if estimate is None:
        return None
    return Estimate(
        value=1 - estimate.value,
        low=1 - estimate.high,
        high=1 - estimate.low,
        n=estimate.n,
        method=estimate.method,
        confidence=estimate.confidence,
        estimated=estimate.estimated,
    )
