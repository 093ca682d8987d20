"""Rows per second of fine-tuning an encoder, by what makes it faster: rows of banking77, one thread, processor time.

    python -m benchmarks.training_speed [--steps 8] [--only NAMES]
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m benchmarks.training_speed

The second line imitates a processor without bfloat16. Processor time of one thread is nearly the same whatever else
runs on the machine. Accuracy is measured by `benchmarks.encoder_banking77`. Prints a row of JSON for each way.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.encoder_banking77 import training_data
from stepdown.core.pace import Clock
from stepdown.students.encoders.label_objective import LabelObjective
from stepdown.students.encoders.objective import Recipe
from stepdown.students.encoders.preparing import prepare, require_training
from stepdown.students.encoders.pretrained import DEFAULT, resolve
from stepdown.students.shrink import prune
from stepdown.students.targets import read_targets


@dataclass(frozen=True)
class Way:
    """layers: that the network has. frozen: of them. batch, pool: rows a step, and batches that are sorted together.
    embeddings: whether the token embeddings learn."""

    layers: int = 6
    frozen: int = 0
    batch: int = 64
    pool: int = 16
    embeddings: bool = False


WAYS = {
    "all layers": Way(),
    "all layers, long buckets": Way(pool=64),
    "all layers, 3 lowest read once": Way(pool=64, frozen=3),
    "all layers, 4 lowest read once": Way(pool=64, frozen=4),
    "3 layers, token embeddings learn": Way(layers=3, embeddings=True),
    "3 layers, long buckets": Way(layers=3, pool=64),
    "3 layers, lowest read once": Way(layers=3, pool=64, frozen=1),
    "all layers, batches of 128": Way(pool=64, batch=128),
}


def measure(way: Way, steps: int) -> dict[str, float]:
    """Rows per processor second of some steps after two that are not counted; and the padding that was read."""
    import torch

    from stepdown.students.encoders import training

    torch.set_num_threads(1)
    data = training_data()
    pruning = prune.Options(1, 8_000)
    prepared = prepare(resolve(DEFAULT, "main", network=False), data.texts, len(data.labels), 128, pruning)
    network = prepared.network
    if way.layers < network.shape.layers:
        network, _ = prune.layers(network, prune.spread(way.layers, network.shape.layers))
    network.tokens.requires_grad_(way.embeddings)
    objective = LabelObjective(prepared.sequences, read_targets(data))
    started = time.thread_time()
    session = training.Session(network, objective, Recipe(frozen=way.frozen, batch=way.batch), 0)
    reading_s = time.thread_time() - started
    order = training.batches(objective, way.batch, np.random.default_rng(0), way.pool)
    session.begin(0, order)
    pace = Clock().pace("benchmark", len(order))
    for step in range(2):
        session.learn(step, pace.rate(step))
    started = time.thread_time()
    for step in range(2, 2 + steps):
        session.learn(step, pace.rate(step))
    taken = time.thread_time() - started
    padded = sum(len(rows) * max(len(prepared.sequences[row]) for row in rows) for rows in order)
    read = sum(len(prepared.sequences[row]) for rows in order for row in rows)
    return {
        "rows_per_s": round(steps * way.batch / taken, 1),
        "reading_once_s": round(reading_s, 1) if way.frozen else 0.0,
        "padding": round(padded / read - 1.0, 3),
    }


def main() -> None:
    """Print one line of JSON for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=list(WAYS))
    chosen = parser.parse_args()
    require_training()
    from stepdown.students.encoders.network import arithmetic

    for name in chosen.only:
        print(json.dumps({"way": name, "arithmetic": arithmetic(), **measure(WAYS[name], chosen.steps)}), flush=True)


if __name__ == "__main__":
    main()
