"""The objective of one label a text: a distribution over labels to learn, and what a teacher says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepdown.core.students import Student
from stepdown.students.encoders.objective import DistilledObjective, Reading, Recipe, SecondOpinion
from stepdown.students.encoders.preparing import Prepared
from stepdown.students.shrink import distil
from stepdown.students.targets import Targets

if TYPE_CHECKING:
    from torch import Tensor

    from stepdown.students.encoders.network import Encoder

HEAD_NORM = 12.0
"""How long the rows of a head start, over the mean length of what they read."""


@dataclass(frozen=True)
class LabelObjective:
    """sequences: ids, per row. teacher: log-probabilities float32 (n, labels) or None.

    teacher_embeddings: float32 (n, hidden) of a teacher whose vectors are as wide as the network's, or None.
    """

    sequences: list[NDArray[np.int64]]
    targets: Targets
    teacher: NDArray[np.float32] | None = None
    teacher_embeddings: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def start_heads(self, network: Encoder) -> None:
        """Each label's logit starts as the likeness to the mean embedding of its rows."""
        import torch
        from torch.nn import functional as F

        from stepdown.students.encoders.network import embed_all

        embedded = torch.tensor(embed_all(network, self.sequences))
        unit = F.normalize(embedded, dim=-1)
        wanted = torch.tensor(self.targets.rows(slice(None)) * self.targets.weights[:, None])
        means = F.normalize(wanted.T @ unit, dim=-1)
        with torch.no_grad():
            network.head.weight.copy_((means - means.mean(0)) * (HEAD_NORM / embedded.norm(dim=-1).mean()))
            network.head.bias.zero_()

    def loss(self, network: Encoder, rows: NDArray[np.int64], recipe: Recipe, reading: Reading) -> Tensor:
        """Cross-entropy to the targets; with a teacher also the divergence from it, and the angle to its embeddings."""
        import torch
        from torch.nn import functional as F

        from stepdown.students.encoders.network import autocast, padded

        ids, lengths = padded([self.sequences[row] for row in rows])
        with autocast():
            logits, embedded, _ = network(ids, lengths, reading.dropout, reading.lower_of(rows))
        weights = torch.tensor(self.targets.weights[rows])
        wanted = torch.tensor(self.targets.rows(rows))
        smoothing = recipe.label_smoothing
        wanted = (1.0 - smoothing) * wanted + smoothing / wanted.shape[1]
        loss: Tensor = (weights * -(wanted * F.log_softmax(logits, dim=-1)).sum(dim=-1)).mean()
        if self.teacher is not None:
            heat = recipe.temperature
            softened = F.softmax(torch.tensor(self.teacher[rows]) / heat, dim=-1)
            likeness = F.kl_div(F.log_softmax(logits / heat, dim=-1), softened, reduction="batchmean") * heat**2
            loss = (1.0 - recipe.teacher_share) * loss + recipe.teacher_share * likeness
        if self.teacher_embeddings is not None:
            shown = torch.tensor(self.teacher_embeddings[rows])
            loss = loss + recipe.embedding_weight * (1.0 - F.cosine_similarity(embedded, shown, dim=-1)).mean()
        return loss

    def second_opinion(self, network: Encoder, prepared: Prepared, seed: int) -> SecondOpinion:
        """A cross-fitted head on the network's embeddings, see `distil.untouched`."""
        from stepdown.students.encoders.network import embed_all

        before = embed_all(network, prepared.sequences)
        return distil.untouched(before, self.targets, distil.Options(), seed)

    def shown_by_network(self, teacher: Encoder, prepared: Prepared, second: SecondOpinion) -> DistilledObjective:
        """Its log-probabilities, steadied by the second opinion, and its embeddings."""
        shown = distil.steadied(distil.ask_network(teacher, prepared.sequences), second, distil.Options())
        return self._shown(shown, prepared)

    def shown_by_student(self, teacher: Student, parent: str, prepared: Prepared) -> DistilledObjective | None:
        """Its probabilities, where it has some over the same labels."""
        shown = distil.ask_student(teacher, prepared.texts, self.targets.labels, parent)
        return self._shown(shown, prepared) if shown else None

    def _shown(self, shown: distil.Shown, prepared: Prepared) -> DistilledObjective:
        """With a teacher's word, and with the unlabelled texts, which have nothing else."""
        extra = len(prepared.sequences) - len(self)
        targets = self.targets
        soft = targets.soft
        if soft is not None and extra:
            soft = np.vstack([soft, np.full((extra, targets.labels), np.nan, dtype=np.float32)])
        wider = replace(
            targets,
            index=np.concatenate([targets.index, np.full(extra, -1)]),
            smoothing=np.concatenate([targets.smoothing, np.zeros(extra, dtype=np.float32)]),
            weights=np.concatenate([targets.weights, np.zeros(extra, dtype=np.float32)]),
            soft=soft,
        )
        objective = LabelObjective(prepared.sequences, wider, shown.log_probabilities, shown.embeddings)
        return DistilledObjective(objective, shown.lineage)
