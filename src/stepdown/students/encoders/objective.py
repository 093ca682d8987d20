"""What an encoder is taught, and how its weights are changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stepdown.core.students import Lineage, Student

if TYPE_CHECKING:
    from torch import Tensor

    from stepdown.students.encoders.lower_layers import LowerLayers
    from stepdown.students.encoders.network import Dropout, Encoder
    from stepdown.students.encoders.preparing import Prepared


@dataclass(frozen=True)
class Recipe:
    """How weights are changed. Rates are peaks: they rise over `warmup` of the steps, then fall to zero in a line.

    layer_decay: each layer's rate is this times that of the layer above (Howard & Ruder 2018, discriminative
    fine-tuning). temperature, teacher_share, embedding_weight: of distillation, where there is a teacher.
    frozen: so many of the lowest layers stay as they are; each text passes them once (`lower_layers`).
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
    frozen: int = 0


class TrainingObjective(Protocol):
    """Everything a network is taught, and the only place that knows what its outputs mean.

    A kind of student brings its own: `LabelObjective` for one label a text, `TagObjective` for spans and choices.
    """

    @property
    def sequences(self) -> list[NDArray[np.int64]]:
        """Ids, per row."""

    def __len__(self) -> int: ...

    def start_heads(self, network: Encoder) -> None:
        """Start the network's heads where they are right most of the time: that spares the layers below the noise of
        random ones (Kumar et al. 2022, Fine-tuning can distort pretrained features)."""

    def loss(self, network: Encoder, rows: NDArray[np.int64], recipe: Recipe, reading: Reading) -> Tensor:
        """The mean loss of the chosen rows, ready for its backward pass. reading: how the network reads them."""

    def second_opinion(self, network: Encoder, prepared: Prepared, seed: int) -> SecondOpinion:
        """What to remember of the network before it is fine-tuned, for `shown_by_network`; None where nothing is."""

    def shown_by_network(self, teacher: Encoder, prepared: Prepared, second: SecondOpinion) -> DistilledObjective:
        """The objective with a fine-tuned network's word, for all texts that are prepared, unlabelled ones included."""

    def shown_by_student(self, teacher: Student, parent: str, prepared: Prepared) -> DistilledObjective | None:
        """The same with an opened student's word. parent: its hash. None where it has nothing to show."""


SecondOpinion = NDArray[np.float32] | None


@dataclass(frozen=True)
class Reading:
    """How a network reads rows while it learns. lower: what its frozen layers say of each; None where all learn."""

    dropout: Dropout
    lower: LowerLayers | None = None

    def lower_of(self, rows: NDArray[np.int64]) -> tuple[int, Tensor] | None:
        """How many layers are passed already, and what they said of these rows."""
        return (self.lower.count, self.lower.of(rows)) if self.lower else None


class DistilledObjective(NamedTuple):
    """A objective with a teacher's word in it, and how that came to be."""

    objective: TrainingObjective
    lineage: Lineage
