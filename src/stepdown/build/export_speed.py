"""How fast an exported model is and what an answer costs: timed in its own process, kept like a student's."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.exports import ExportedModel, ExportedRung
from stepdown.evaluation.cost import own_cost_per_1k
from stepdown.evaluation.intervals import quantile, resampled_mean
from stepdown.evaluation.speed import describe_machine
from stepdown.project.home import Home, write_whole
from stepdown.build.job import machine_price


def rung_speed(home: Home, model: ExportedModel, folder: str, seconds: NDArray[np.float64]) -> ExportedRung:
    """An exported rung with its latency and cost. seconds: (n,) of single answers, NaN where none was timed.

    Measured once for a model, a machine and its price: an export that is made again then asks the same question of the
    evidence, down to what a rung costs, and spends no more of it.
    """
    machine = machine_price(home)
    key = digest_of((model.digest, machine, describe_machine(), folder))
    path = home.state / "cache" / "speed" / f"exported-{key}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExportedRung)
    except (OSError, msgspec.DecodeError):
        pass
    taken = seconds[~np.isnan(seconds)]
    rung = ExportedRung(
        folder=folder,
        model=model,
        latency_p50=quantile(taken, 0.5, "s"),
        latency_p95=quantile(taken, 0.95, "s"),
        cost_per_1k=own_cost_per_1k(resampled_mean(taken, np.random.default_rng(0), "s"), machine),
    )
    write_whole(path, canonical_json(rung))
    return rung
