"""What the trivial answer would reach: the incumbent's commonest one, for everyone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.contract import Contract
from stepdown.core.dataset import Answer, Dataset, Example
from stepdown.core.family import Loss, loss_named
from stepdown.core.trivial import Trivial
from stepdown.evaluation.intervals import mean_loss, paired_mean

FEWEST_GOLD = 100


def trivial_answer(dataset: Dataset, family: str, contract: Contract) -> Trivial | None:
    """What it would reach on rows that are neither evidence nor test, though students may have learned from them.

    By gold where enough of it is no choice of somebody's and the contract asks for it, else against the incumbent. None
    where no answer can be read.
    """
    rows = [example for example in dataset.examples if example.split in ("train", "tune")]
    complete = dataset.draw is not None and dataset.draw.complete
    gold = [row for row in rows if row.gold is not None and (complete or row.gold_basis == "random-sample")]
    by_gold = contract.against != "agreement" and len(gold) >= FEWEST_GOLD
    answer, loss = commonest(rows), loss_named(family, contract.loss)
    return measure_trivial(answer, gold if by_gold else rows, "gold" if by_gold else "incumbent", loss)


def commonest(examples: Sequence[Example]) -> Answer | None:
    """The incumbent's commonest answer; None where it has none that can be read."""
    counts = Counter(canonical_json(example.incumbent) for example in examples if example.incumbent is not None)
    return msgspec.json.decode(max(counts, key=lambda count: (counts[count], count))) if counts else None


def measure_trivial(answer: Answer | None, examples: Sequence[Example], reference: str, loss: Loss) -> Trivial | None:
    """What `answer` reaches when every one of the examples gets it. reference: "gold" or "incumbent".

    None where there is no answer, or no row has a reference.
    """
    rows = [(example, example.gold if reference == "gold" else example.incumbent) for example in examples]
    known = [(one, wanted) for one, wanted in rows if wanted is not None]
    if answer is None or not known:
        return None
    losses = np.array([loss.of(answer, wanted) for _, wanted in known], dtype=np.float64)
    theirs = np.array([loss.of(one.incumbent, wanted) for one, wanted in known], dtype=np.float64)
    return Trivial(answer=answer, reference=reference, loss=mean_loss(losses), excess=paired_mean(losses - theirs))
