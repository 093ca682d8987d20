"""A logistic head on the embeddings of an encoder that is left as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepdown.core.pace import Pace
from stepdown.runtime.kinds.frozen import SoftmaxHead
from stepdown.students.softmax_head import fit_softmax_head
from stepdown.students.targets import Targets

FloatArray = NDArray[np.float32]


def fit_embedding_head(
    features: FloatArray, targets: Targets, penalty: float, iterations: int, pace: Pace | None = None
) -> SoftmaxHead:
    """Fit on standardised columns, then fold the standardisation into the head. features: unit embeddings."""
    mean = features.mean(axis=0)
    spread = np.maximum(features.std(axis=0), 1e-6)
    head = fit_softmax_head((features - mean) / spread, targets, penalty, iterations, pace=pace)
    weight = np.ascontiguousarray(head.weight / spread[:, None])
    return SoftmaxHead(weight, head.bias - mean @ weight)
