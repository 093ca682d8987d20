"""Fine-tunes an encoder: bfloat16 arithmetic over float32 weights, in batches of texts of like length.

Imported only by code that trains. The same examples, recipe, seed, number of threads and cuts give the same weights on
one machine, also where training was stopped and went on from a checkpoint. Arrays are copied into tensors, not shared,
because the order in which a product is summed depends on how memory is aligned, and numpy's is not always alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stepdown.core.pace import Clock
from stepdown.students.encoders.checkpoints import Checkpoints, Facts, Saved
from stepdown.students.encoders.lower_layers import LowerLayers, fits
from stepdown.students.encoders.network import Dropout, Encoder
from stepdown.students.encoders.objective import Reading, Recipe, TrainingObjective

_POOL_OF_BATCHES = 64


@dataclass(frozen=True)
class Phase:
    """One phase of a training. share: of the time that is left, what it may take. progress: share done in [0, 1]."""

    name: str
    seed: int
    clock: Clock
    share: float
    checkpoints: Checkpoints
    progress: Callable[[float], None]


@dataclass(frozen=True)
class Trained:
    """loss: the mean of the last epoch. steps: those taken; planned: those there would have been without a clock."""

    loss: float
    steps: int
    planned: int
    epochs: float


def fine_tune(network: Encoder, objective: TrainingObjective, recipe: Recipe, phase: Phase) -> Trained:
    """Change the network's weights in place, as long as the clock allows, from where a checkpoint left off.

    Batches hold texts of like length, so that little is padded, and come in random order.
    """
    an_epoch = max(1, len(objective) // recipe.batch)
    planned = max(1, round(recipe.epochs * an_epoch))
    saved = phase.checkpoints.read(phase.name)
    pace = phase.clock.pace(phase.name, planned, phase.share, saved.facts.cuts if saved else ())
    if saved and saved.facts.is_done:
        pace.goes_on(saved.facts.step)  # what was cut then is told again
        _take_weights(network, saved)
        return _trained(saved.facts, planned, an_epoch)
    session = Session(network, objective, recipe, phase.seed)
    step, shown = session.restore(saved) if saved else 0, 0.0
    while pace.goes_on(step):
        session.learn(step, pace.rate(step))
        step += 1
        shown = max(shown, step / pace.total)
        phase.progress(shown)
        if phase.checkpoints.is_due:
            facts = Facts(step=step, cuts=tuple(pace.cuts), losses=tuple(session.losses))
            phase.checkpoints.write(phase.name, facts, session.state())
    facts = Facts(step=step, is_done=True, cuts=tuple(pace.cuts), losses=tuple(session.losses))
    phase.checkpoints.write(phase.name, facts, session.weights())
    return _trained(facts, planned, an_epoch)


def _trained(facts: Facts, planned: int, an_epoch: int) -> Trained:
    loss = float(np.mean(facts.losses)) if facts.losses else 0.0
    return Trained(loss, facts.step, planned, facts.step / an_epoch)


def _take_weights(network: Encoder, saved: Saved) -> None:
    with torch.no_grad():
        for name, each in network.named_parameters():
            if f"weight.{name}" in saved.tensors:
                each.copy_(saved.tensors[f"weight.{name}"])


class Session:
    """The weights, the optimiser and the random numbers between two steps."""

    def __init__(self, network: Encoder, objective: TrainingObjective, recipe: Recipe, seed: int) -> None:
        self._network, self._objective, self._recipe, self._seed = network, objective, recipe, seed
        frozen = recipe.frozen if fits(objective.sequences, network.shape.hidden) else 0
        self._lower = _freeze(network, objective, frozen) if frozen else None
        self._optimiser = torch.optim.AdamW(_parameter_groups(network, recipe), betas=(0.9, 0.98), fused=True)
        self._peaks = [group["lr"] for group in self._optimiser.param_groups]
        self._learned = {name: each for name, each in network.named_parameters() if each.requires_grad}
        self._batches = max(1, len(objective) // recipe.batch)
        self._epoch = -1
        self._dropout = Dropout(recipe.dropout, seed)
        self._order: Sequence[NDArray[np.int64]] = []
        self.losses: list[float] = []

    def learn(self, step: int, rate: float) -> None:
        """One step, at this share of the peak rates."""
        epoch, place = divmod(step, self._batches)
        if epoch != self._epoch:
            self.begin(epoch)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rate
        reading = Reading(self._dropout, self._lower)
        loss = self._objective.loss(self._network, self._order[place], self._recipe, reading)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._learned.values(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.losses.append(float(loss.detach()))

    def weights(self) -> dict[str, Tensor]:
        """What has been learned so far, by name."""
        return {f"weight.{name}": each.detach() for name, each in self._learned.items()}

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on."""
        tensors = self.weights()
        for place, known in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{place}.{name}": value for name, value in known.items()}
        tensors["random"] = self._dropout.state
        return tensors

    def restore(self, saved: Saved) -> int:
        """The step to go on with."""
        _take_weights(self._network, saved)
        known: dict[int, dict[str, Tensor]] = {}
        for name, tensor in saved.tensors.items():
            if name.startswith("optimiser."):
                _, place, part = name.split(".")
                known.setdefault(int(place), {})[part] = tensor
        state = self._optimiser.state_dict()
        self._optimiser.load_state_dict({**state, "state": known})
        step = saved.facts.step
        if "random" in saved.tensors and step % self._batches:
            self.begin(step // self._batches)
            self._dropout.state = saved.tensors["random"]
        self.losses = list(saved.facts.losses)
        return step

    def begin(self, epoch: int, order: Sequence[NDArray[np.int64]] | None = None) -> None:
        """A new epoch, in a random order of its own unless one is given."""
        self._epoch, self.losses = epoch, []
        self._dropout = Dropout(self._recipe.dropout, seed=self._seed * 1_000 + epoch)
        self._dropout.renew()
        generator = np.random.default_rng([self._seed, epoch])
        self._order = order or batches(self._objective, self._recipe.batch, generator)


def _freeze(network: Encoder, objective: TrainingObjective, count: int) -> LowerLayers:
    below = [network.tokens, network.embedding_norm, *network.layers[:count]]
    network.positions.requires_grad_(False)
    for part in (*below, *network.layers[count:]):
        part.requires_grad_(part not in below)
    return LowerLayers(network, objective.sequences, count)


def batches(
    objective: TrainingObjective, size: int, generator: np.random.Generator, pool: int = _POOL_OF_BATCHES
) -> list[NDArray[np.int64]]:
    """The rows of each step of an epoch. Of `pool` batches at random, those of like length go together."""
    order = generator.permutation(len(objective))
    order = order[: max(1, len(order) // size) * size]
    lengths = np.array([len(sequence) for sequence in objective.sequences])
    found: list[NDArray[np.int64]] = []
    for start in range(0, len(order), size * pool):
        near = order[start : start + size * pool]
        near = near[np.argsort(lengths[near], kind="stable")]
        found += [near[first : first + size] for first in range(0, len(near), size)]
    return [found[place] for place in generator.permutation(len(found))]


def _parameter_groups(network: Encoder, recipe: Recipe) -> list[dict[str, object]]:
    """Decayed and undecayed parameters of each depth with its peak rate."""
    depth = network.shape.layers
    parts: list[tuple[list[Tensor], float]] = [
        (list(layer.parameters()), recipe.learning_rate * recipe.layer_decay ** (depth - 1 - place))
        for place, layer in enumerate(network.layers)
    ]
    below: list[Tensor] = [network.tokens.weight, network.positions, *network.embedding_norm.parameters()]
    parts.append((below, recipe.learning_rate * recipe.layer_decay**depth))
    heads = [head for head in (network.head, network.tagger) if head is not None]
    parts.append(([tensor for head in heads for tensor in head.parameters()], recipe.head_learning_rate))
    groups: list[dict[str, object]] = []
    for parameters, rate in parts:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        groups.append({"params": matrices, "lr": rate, "weight_decay": recipe.weight_decay})
        groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
