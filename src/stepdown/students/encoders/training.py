"""Fine-tunes an encoder: bfloat16 arithmetic over float32 weights, in batches of texts of like length.

Imported only by code that trains. The same examples, recipe, seed and number of threads give the same weights on one
machine: the clock decides nothing. Arrays are copied into tensors, not shared, because the order in which a product is
summed depends on how memory is aligned, and numpy's is not always alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stepdown.students.encoders.network import Dropout, Encoder
from stepdown.students.encoders.objective import Recipe, TrainingObjective

_POOL_OF_BATCHES = 16
_TIMED_BATCHES = 3
_TIMED_ROUNDS = 2
_OPTIMISER_SHARE = 1.1


def processor_seconds_per_epoch(network: Encoder, objective: TrainingObjective, recipe: Recipe) -> float:
    """What an epoch costs one thread of this machine, from a few batches of this very objective. No weight changes.

    Time on the processor, not on the clock: what else runs here must not count. Call it with torch on one thread,
    as only the calling thread's time is seen.
    """
    order = np.argsort([len(sequence) for sequence in objective.sequences], kind="stable")
    # The middles of as many equal parts: from batches of short texts to batches of long ones.
    middles = np.linspace(0, max(0, len(order) - recipe.batch), 2 * _TIMED_BATCHES + 1)[1::2].astype(int).tolist()
    dropout = Dropout(recipe.dropout, seed=0)
    dropout.renew()
    taken = np.empty((_TIMED_ROUNDS, len(middles)))
    for round_ in range(_TIMED_ROUNDS):
        for part, place in enumerate(middles):
            started = time.thread_time()
            _loss(network, objective, order[place : place + recipe.batch], recipe, dropout).backward()  # type: ignore[no-untyped-call]
            network.zero_grad(set_to_none=True)
            taken[round_, part] = time.thread_time() - started
    # The least of the rounds: cold caches and neighbours can only add.
    return _OPTIMISER_SHARE * float(taken.min(axis=0).mean()) * max(1, len(objective) // recipe.batch)


def fine_tune(
    network: Encoder, objective: TrainingObjective, recipe: Recipe, seed: int, progress: Callable[[float], None]
) -> float:
    """Change the network's weights in place. Returns the mean loss of the last epoch. progress: share done in [0, 1].

    Batches hold texts of like length, so that little is padded, and come in random order.
    """
    groups = _parameter_groups(network, recipe)
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
    peaks = [group["lr"] for group in optimiser.param_groups]
    batches = max(1, len(objective) // recipe.batch)
    total = max(1, round(recipe.epochs * batches))
    warm = max(1, round(recipe.warmup * total))
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    losses: list[float] = []
    step = 0
    while step < total:
        epoch = step // batches
        dropout = Dropout(recipe.dropout, seed=seed * 1_000 + epoch)
        dropout.renew()
        losses = []
        for rows in _batches(objective, recipe.batch, np.random.default_rng([seed, epoch]))[: total - step]:
            share = (step + 1) / warm if step < warm else (total - step) / max(1, total - warm)
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            loss = _loss(network, objective, rows, recipe, dropout)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            step += 1
            progress(step / total)
    return float(np.mean(losses))


def _loss(
    network: Encoder, objective: TrainingObjective, rows: NDArray[np.int64], recipe: Recipe, dropout: Dropout
) -> Tensor:
    return objective.loss(network, rows, recipe, dropout)


def _batches(objective: TrainingObjective, size: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    order = generator.permutation(len(objective))
    order = order[: max(1, len(order) // size) * size]
    lengths = np.array([len(sequence) for sequence in objective.sequences])
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), size * _POOL_OF_BATCHES):
        pool = order[start : start + size * _POOL_OF_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + size] for first in range(0, len(pool), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


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
