"""Mean excess loss from a judge's verdict on every row and gold on a random few, valid in finite samples.

Row i has the judge's excess loss f and, where it was drawn (z = 1, with a known chance c), the gold excess loss D. The
score

    Y = w f + z (D - w f) / c

has the mean of D whatever the judge says and whatever the weight w, as long as w was chosen from earlier rows. So the
judge may be wrong in any way: that costs power, never the guarantee. The scores are tested by betting for a fixed
number of rows (`target_betting`); each lies within 1 / c + w (1 / c - 1) of zero.

The weight is that of least variance, (1 - c) E[D f] / E[f^2], from the gold rows before this one, within [0, 1]. A
judge who does not follow gold gets a weight near 0, and the test is then that of the gold rows alone.

Where gold is a simple random subset of a size fixed beforehand, the chance of row i given the rows before it is (gold
rows left) / (rows left), and the same holds with that chance.

What breaks it: rows in an order that somebody chose, labelling that looks at the row, and stopping to label after
looking at labels, or after a number of rows of one kind.

Sources: Waudby-Smith & Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86; Angelopoulos,
Duchi & Zrnic (2023), PPI++, arXiv:2311.01453, for the weight; Csillag, Struchiner & Goedert (2025), Prediction-powered
e-values, arXiv:2502.04294, and Zrnic & Candès (2024), Active statistical inference, arXiv:2403.03208, for the scores.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.stats import target_betting
from stepdown.stats.betting import EXCESS_LOSS

Floats = NDArray[np.float64]

LEAST_GOLD = 30  # gold rows, below which nothing is claimed

_FIRST_WEIGHT = 0.5  # of the judge, before gold says better; counted as gold rows whose f^2 sum to 1


def judged_p_value(
    judged: ArrayLike, gold: ArrayLike, probability: float | None, margin: float, error: float = 0.05
) -> float:
    """P-value of the hypothesis that the mean gold excess loss is at or above `margin`, sharpest near `error`.

    judged: the judge's excess loss (n,), in [-1, 1], of every row, in random order. gold: the gold excess loss (n,), in
    [-1, 1], nan where the row was not drawn. probability: the chance at which each row was drawn, independently of
    everything; None for a simple random subset of a size fixed beforehand. 1.0 with fewer than `LEAST_GOLD` gold rows.
    A row on which judge and gold are both known to be 0 (no answer differs) may be left nan if `probability` is given.
    """
    scores = _scores(judged, gold, probability, error)
    if not -1.0 < margin < 1.0:
        raise ValueError(f"Got margin {margin}; expected a value between -1 and 1, both excluded.")
    if scores is None:
        return 1.0
    return float(np.exp(-_largest_log_wealth(scores, np.array([margin]), error)[0]))


def judged_upper_bound(judged: ArrayLike, gold: ArrayLike, probability: float | None, error: float) -> float:
    """Upper confidence bound on the mean gold excess loss, wrong with probability at most `error`; else as above.

    A multiple of 0.001: the least margin of the grid from which on every margin is rejected.
    """
    scores = _scores(judged, gold, probability, error)
    if scores is None:
        return EXCESS_LOSS.upper
    margins = target_betting.margin_grid(EXCESS_LOSS)
    rejected = _largest_log_wealth(scores, margins, error) >= math.log(1.0 / error)
    return target_betting.least_rejected(margins, rejected, EXCESS_LOSS.upper)


@dataclass(frozen=True)
class _Scores:
    """Scores (n,) and how far from zero each can lie, known before it is seen, (n,)."""

    values: Floats
    reach: Floats


def _scores(judged: ArrayLike, gold: ArrayLike, probability: float | None, error: float) -> _Scores | None:
    """The score of every row; None where gold rows are too few."""
    verdicts, truths = np.asarray(judged, dtype=np.float64), np.asarray(gold, dtype=np.float64)
    if verdicts.shape != truths.shape or verdicts.ndim != 1 or not verdicts.size:
        raise ValueError(f"Got shapes {verdicts.shape} and {truths.shape}; expected two equal, flat, not empty.")
    drawn = ~np.isnan(truths)
    known = np.where(drawn, truths, 0.0)
    if not (np.abs(verdicts).max() <= 1.0 and np.abs(known).max() <= 1.0):
        raise ValueError("Got excess losses outside [-1, 1], or a verdict that is nan; expected one verdict a row.")
    if not 0.0 < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between 0 and 1, both excluded.")
    if probability is not None and not 0.0 < probability <= 1.0:
        raise ValueError(f"Got probability {probability}; expected a chance above 0 and at most 1.")
    if int(drawn.sum()) < LEAST_GOLD:
        return None
    chance = _chances(drawn) if probability is None else np.full(drawn.size, probability)
    weight = (1.0 - chance) * _weights(verdicts, known, drawn)
    possible = chance > 0.0
    inverse = 1.0 / np.where(possible, chance, 1.0)
    values = weight * verdicts + drawn * (known - weight * verdicts) * inverse
    reach = inverse + weight * (inverse - 1.0)
    # After the last of a fixed number of gold rows nothing can be learned: a reach without end means no stake.
    return _Scores(np.where(possible, values, 0.0), np.where(possible, reach, math.inf))


def _chances(drawn: NDArray[np.bool_]) -> Floats:
    """Chance of each row to be drawn, given the rows before it and the number of rows drawn in all."""
    left = drawn.sum() - np.concatenate([[0], np.cumsum(drawn)[:-1]])
    return np.asarray(left / np.arange(drawn.size, 0, -1))


def _weights(verdicts: Floats, known: Floats, drawn: NDArray[np.bool_]) -> Floats:
    """Least squares of gold on verdict over the gold rows before each row."""
    along = _FIRST_WEIGHT + np.cumsum(drawn * known * verdicts)
    square = 1.0 + np.cumsum(drawn * verdicts**2)
    return np.concatenate([[_FIRST_WEIGHT], np.clip(along / square, 0.0, 1.0)[:-1]])


def _largest_log_wealth(scores: _Scores, margins: Floats, error: float) -> Floats:
    values = np.broadcast_to(scores.values[:, None], (scores.values.size, margins.size))
    reach = scores.reach[:, None]
    return target_betting.largest_log_wealth(values, margins, -reach, reach, error)
