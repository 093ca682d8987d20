"""Training: for each field the weights by which its right candidates come before the others, or before "not there".

−Σ log Σ_right p, the marginal likelihood of whichever candidates have the right value; L-BFGS with an L2 penalty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.answers import same
from stepdown.runtime.ranking.candidates import Candidate

FloatArray = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """One field in n texts. found, described: its candidates in each. value: the right value, None for "not there".

    known: (n,), whether anything is to be learned from the row. weights: (n,).
    """

    found: Sequence[Sequence[Candidate]]
    described: Sequence[Sequence[Sequence[str]]]
    values: Sequence[Any]
    known: Sequence[bool]
    weights: Sequence[float]


def vocabulary(questions: Sequence[Question], min_count: int, most: int) -> tuple[str, ...]:
    """The names of features that stand in enough texts, the most frequent ones, sorted."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    for question in questions:
        if id(question.described) not in seen:
            seen.add(id(question.described))
            for row in question.described:
                counts.update({name for names in row for name in names})
    ranked = sorted((-count, name) for name, count in counts.items() if count >= min_count)
    return tuple(sorted(name for _, name in ranked[:most]))


def fit_field(question: Question, ids: Mapping[str, int], penalty: float, iterations: int) -> tuple[FloatArray, float]:
    """Weights (features,) and the score of "not there"."""
    from scipy import optimize, sparse

    columns: list[int] = []
    starts, first, right, none, weights = [0], [0], [], [], []
    for row, found in enumerate(question.found):
        value = question.values[row]
        hits = [value is not None and each.value is not None and same(each.value, value) for each in found]
        if not question.known[row] or not found or (value is not None and not any(hits)):
            continue
        for names in question.described[row]:
            columns += [ids[name] for name in names if name in ids]
            starts.append(len(columns))
        right += hits
        none.append(value is None)
        weights.append(question.weights[row])
        first.append(len(right))
    size = len(ids)
    if not none:
        return np.zeros(size, dtype=np.float32), 0.0
    matrix = sparse.csr_matrix(
        (np.ones(len(columns), dtype=np.float64), np.array(columns, dtype=np.int64), np.array(starts)),
        shape=(len(right), size),
    )
    task = _Task(matrix, np.array(first), np.array(right), np.array(none), np.array(weights), penalty)
    found = optimize.minimize(
        task, np.zeros(size + 1), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 10}
    )
    return found.x[:size].astype(np.float32), float(found.x[size])


@dataclass(frozen=True)
class _Task:
    """matrix: (candidates, features). first: (rows + 1,). right: (candidates,). none: (rows,)."""

    matrix: Any
    first: NDArray[np.int64]
    right: NDArray[np.bool_]
    none: NDArray[np.bool_]
    weights: Doubles
    penalty: float

    def __call__(self, x: Doubles) -> tuple[float, Doubles]:
        scores, absent = self.matrix @ x[:-1], x[-1]
        starts, rows = self.first[:-1], np.repeat(np.arange(len(self.none)), np.diff(self.first))
        top = np.maximum(np.maximum.reduceat(scores, starts), absent)
        spread = np.exp(scores - top[rows])
        gone = np.exp(absent - top)
        total = np.add.reduceat(spread, starts) + gone
        wanted = np.add.reduceat(spread * self.right, starts) + gone * self.none
        wanted = np.maximum(wanted, 1e-300)
        scale = self.weights / self.weights.sum()
        loss = float((scale * (np.log(total) - np.log(wanted))).sum())
        slope = (spread / total[rows] - spread * self.right / wanted[rows]) * scale[rows]
        absent_slope = float(((gone / total - gone * self.none / wanted) * scale).sum())
        slopes = np.append(self.matrix.T @ slope + self.penalty * x[:-1], absent_slope)
        return loss + 0.5 * self.penalty * float(x[:-1] @ x[:-1]), slopes
