"""The objective of spans and choices: a tag for every unit of a text, one choice or several for every closed field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepdown.core.students import Lineage, Student
from stepdown.runtime.tags.layout import IntArray, Layout
from stepdown.students.encoders.objective import DistilledObjective, Reading, Recipe, SecondOpinion
from stepdown.students.encoders.preparing import Prepared
from stepdown.students.encoders.tag_targets import UNKNOWN, TagTargets

if TYPE_CHECKING:
    from torch import Tensor

    from stepdown.students.encoders.network import Encoder, EncoderOutput

HEAD_NORM = 12.0
"""How long the rows of a head start, over the mean length of what they read."""
TAG_WEIGHT = 2.0
"""What the mean loss of a unit counts for, where that of a closed field counts 1."""
_BATCH = 64
_MEANT = 2_048
"""Rows that the heads' start is taken from; more cost a pass over all texts and change little."""


@dataclass(frozen=True)
class TagTeacher:
    """What a teacher shows. logits: float32 (n, labels). tags: float16 logits (units, tags), per row.

    embeddings: float32 (n, hidden).
    """

    logits: NDArray[np.float32]
    tags: list[NDArray[np.float16]]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class TagObjective:
    """sequences: ids, per row. places: the tokens that are read for the units of each row."""

    sequences: list[IntArray]
    places: list[IntArray]
    layout: Layout
    targets: TagTargets
    tag_smoothing: float
    teacher: TagTeacher | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def start_heads(self, network: Encoder) -> None:
        """Each logit starts as the likeness to the mean vector of what it is to be given for, in a spread of rows."""
        import torch
        from torch.nn import functional as F

        rows = np.unique(np.linspace(0, len(self) - 1, _MEANT).astype(int))
        embedded, sums, length = self._means(network, rows)
        wanted = torch.zeros(len(rows), self.layout.labels)
        for place, group in enumerate(self.layout.single):
            chosen = self.targets.choices[rows, place]
            known = np.flatnonzero(chosen != UNKNOWN)
            wanted[torch.from_numpy(known), torch.from_numpy(group.start + chosen[known])] = 1.0
        means = F.normalize(wanted.T @ F.normalize(embedded, dim=-1), dim=-1)
        with torch.no_grad():
            for group in self.layout.single:
                own = means[group.start : group.start + group.size]
                scaled = (own - own.mean(0)) * (HEAD_NORM / embedded.norm(dim=-1).mean())
                network.head.weight[group.start : group.start + group.size] = scaled
            network.head.bias.zero_()
            if network.tagger is not None:
                own = F.normalize(sums, dim=-1)
                network.tagger.weight.copy_((own - own.mean(0)) * (HEAD_NORM / length))
                network.tagger.bias.zero_()

    def loss(self, network: Encoder, rows: NDArray[np.int64], recipe: Recipe, reading: Reading) -> Tensor:
        """Cross-entropy of choices and tags; with a teacher also the divergence from it, and the angle to its."""
        import torch
        from torch.nn import functional as F

        from stepdown.students.encoders.network import autocast, padded

        ids, lengths = padded([self.sequences[row] for row in rows])
        with autocast():
            said = network(ids, lengths, reading.dropout, reading.lower_of(rows))
        told = self._told(said, rows, recipe)
        if self.teacher is None:
            return told
        shown = self._shown(said, rows, recipe.temperature)
        angle = 1.0 - F.cosine_similarity(said.embedded, torch.tensor(self.teacher.embeddings[rows]), dim=-1)
        share = recipe.teacher_share
        return (1.0 - share) * told + share * shown + recipe.embedding_weight * angle.mean()

    def second_opinion(self, network: Encoder, prepared: Prepared, seed: int) -> SecondOpinion:
        """None: a head on untouched vectors knows little of where a value begins."""
        return None

    def shown_by_network(self, teacher: Encoder, prepared: Prepared, second: SecondOpinion) -> DistilledObjective:
        """Its logits for every text and unit, and its embeddings."""
        import torch

        from stepdown.students.encoders.network import autocast, padded

        sequences, count = prepared.sequences, len(prepared.sequences)
        logits = np.empty((count, self.layout.labels), dtype=np.float32)
        embedded = np.empty((count, teacher.shape.hidden), dtype=np.float32)
        tags: list[NDArray[np.float16]] = [np.empty((0, self.layout.tags), dtype=np.float16)] * count
        order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
        with torch.inference_mode(), autocast():
            for start in range(0, count, _BATCH):
                rows = order[start : start + _BATCH]
                said = teacher(*padded([sequences[row] for row in rows]))
                logits[rows], embedded[rows] = said.logits.numpy(), said.embedded.numpy()
                for each, row in zip(said.tags.numpy(), rows.tolist(), strict=True):
                    tags[row] = each[self.places[row]].astype(np.float16)
        parameters = {"from": "encoder", "layers": teacher.shape.layers}
        objective = replace(
            self,
            sequences=sequences,
            targets=self.targets.widened([len(places) for places in self.places[len(self) :]]),
            teacher=TagTeacher(logits, tags, embedded),
        )
        return DistilledObjective(objective, Lineage(step="distil", parameters=parameters))

    def shown_by_student(self, teacher: Student, parent: str, prepared: Prepared) -> DistilledObjective | None:
        """None: what another kind knows of spans is not in its probabilities."""
        return None

    def _told(self, said: EncoderOutput, rows: NDArray[np.int64], recipe: Recipe) -> Tensor:
        """What the answers teach."""
        import torch
        from torch.nn import functional as F

        targets = self.targets
        weights = torch.tensor(targets.weights[rows])
        loss = torch.zeros(())
        for place, group in enumerate(self.layout.single):
            chosen = torch.tensor(targets.choices[rows, place])
            own = said.logits[:, group.start : group.start + group.size]
            each = F.cross_entropy(
                own, chosen, ignore_index=UNKNOWN, reduction="none", label_smoothing=recipe.label_smoothing
            )
            loss = loss + (weights * each).mean()
        if len(self.layout.switches):
            wanted = torch.tensor(targets.switches[rows])
            own = said.logits[:, torch.from_numpy(self.layout.switches)]
            each = F.binary_cross_entropy_with_logits(own, wanted.nan_to_num(), reduction="none")
            loss = loss + (weights[:, None] * each * ~wanted.isnan()).sum(1).mean()
        found, owners = self._units(said, rows)
        wanted = torch.tensor(np.concatenate([targets.tags[row] for row in rows]))
        each = F.cross_entropy(
            found, wanted, ignore_index=UNKNOWN, reduction="none", label_smoothing=self.tag_smoothing
        )
        units = torch.tensor((targets.weights[rows])[owners])
        return loss + TAG_WEIGHT * (units * each).sum() / max(1, len(owners))

    def _shown(self, said: EncoderOutput, rows: NDArray[np.int64], heat: float) -> Tensor:
        """What the teacher shows."""
        import torch
        from torch.nn import functional as F

        assert self.teacher is not None
        taught = torch.tensor(self.teacher.logits[rows])
        loss = torch.zeros(())
        for group in self.layout.single:
            own, other = (each[:, group.start : group.start + group.size] for each in (said.logits, taught))
            loss = loss + _divergence(own, other, heat)
        if len(self.layout.switches):
            places = torch.from_numpy(self.layout.switches)
            wanted = torch.sigmoid(taught[:, places])
            own = F.binary_cross_entropy_with_logits(said.logits[:, places], wanted, reduction="none")
            loss = loss + own.sum(1).mean()
        found, owners = self._units(said, rows)
        if not len(owners):
            return loss
        other = torch.tensor(np.concatenate([self.teacher.tags[row] for row in rows]).astype(np.float32))
        return loss + TAG_WEIGHT * _divergence(found, other, heat)

    def _units(self, said: EncoderOutput, rows: NDArray[np.int64]) -> tuple[Tensor, IntArray]:
        """Tag logits (units, tags) of all the rows' units, one row's after the other's, and whose each one is."""
        import torch

        assert said.tags is not None
        places = [self.places[row] for row in rows]
        owners = np.repeat(np.arange(len(rows)), [len(each) for each in places])
        return said.tags[torch.tensor(owners), torch.tensor(np.concatenate(places))], owners

    def _means(self, network: Encoder, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, float]:
        """Embeddings (rows, hidden), the summed directions of each tag's units (tags, hidden), their mean length."""
        import torch
        from torch.nn import functional as F

        from stepdown.students.encoders.network import autocast, padded

        embedded = torch.empty(len(rows), network.shape.hidden)
        sums = torch.zeros(self.layout.tags, network.shape.hidden)
        length, count = 0.0, 0
        order = np.argsort([len(self.sequences[row]) for row in rows], kind="stable")
        with torch.no_grad(), autocast():
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                ids, lengths = padded([self.sequences[row] for row in rows[chosen]])
                vectors = network.read(ids, lengths)
                embedded[torch.from_numpy(chosen)] = network.pool(vectors, lengths)
                owners = np.repeat(np.arange(len(chosen)), [len(self.places[row]) for row in rows[chosen]])
                places = np.concatenate([self.places[row] for row in rows[chosen]])
                units = vectors[torch.tensor(owners), torch.tensor(places)]
                tags = torch.tensor(np.concatenate([self.targets.tags[row] for row in rows[chosen]]))
                known = tags != UNKNOWN
                sums.index_add_(0, tags[known], F.normalize(units[known], dim=-1))
                length, count = length + float(units.norm(dim=-1).sum()), count + len(units)
        return embedded, sums, max(length / max(1, count), 1e-6)


def _divergence(own: Tensor, other: Tensor, heat: float) -> Tensor:
    from torch.nn import functional as F

    wanted = F.softmax(other / heat, dim=-1)
    likeness: Tensor = F.kl_div(F.log_softmax(own / heat, dim=-1), wanted, reduction="batchmean") * heat**2
    return likeness
