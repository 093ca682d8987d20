"""What an encoder is taught, and how its weights are changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.students.targets import Targets


@dataclass(frozen=True)
class Recipe:
    """How weights are changed. Rates are peaks: they rise over `warmup` of the steps, then fall to zero in a line.

    layer_decay: each layer's rate is this times that of the layer above (Howard & Ruder 2018, discriminative
    fine-tuning). temperature, teacher_share, embedding_weight: of distillation, where there is a teacher.
    epochs_planned: how many there were before the plan was cut to the time there is, None where it was not.
    """

    epochs: float = 6.0
    learning_rate: float = 2e-4
    head_learning_rate: float = 2e-3
    layer_decay: float = 0.9
    batch: int = 64
    warmup: float = 0.1
    dropout: float = 0.1
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    temperature: float = 1.0
    teacher_share: float = 0.8
    embedding_weight: float = 1.0
    epochs_planned: float | None = None


@dataclass(frozen=True)
class Lesson:
    """Everything a network is taught. sequences: ids, per row. teacher: log-probabilities float32 (n, labels) or None.

    teacher_embeddings: float32 (n, hidden) of a teacher whose vectors are as wide as the network's, or None.
    """

    sequences: list[NDArray[np.int64]]
    targets: Targets
    teacher: NDArray[np.float32] | None = None
    teacher_embeddings: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.sequences)
