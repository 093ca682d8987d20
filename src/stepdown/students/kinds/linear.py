"""linear: words, phrases and character n-grams with a multinomial logistic head. Trains and answers fastest of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.options import Count, NotNegative, Share
from stepdown.core.students import (
    Lineage,
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.form_files import NGRAMS
from stepdown.runtime.kinds.linear import WEIGHTS
from stepdown.runtime.quantised import quantise_rows
from stepdown.students.cross_validate import out_of_sample_probabilities
from stepdown.students.logistic import MAX_CELLS, LogisticOptions, fit_logistic
from stepdown.students.ngrams import choose_vocabulary, count_ngrams, features
from stepdown.students.targets import read_targets
from stepdown.students.tiny_task import tiny_task

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 1.0
MAX_WEIGHTS = 24_000_000


@dataclass(frozen=True)
class Options:
    """How a linear student is trained."""

    shortest: Count = 2
    """The shortest character n-gram."""
    longest: Count = 5
    """The longest character n-gram."""
    min_count: Count = 2
    """In how many texts an n-gram must stand to be learned."""
    max_features: Count = 100_000
    """At most this many n-grams, the most frequent first; fewer where there are very many labels."""
    penalty: NotNegative = 1e-5
    """L2 penalty on the weights, relative to the mean loss of a row."""
    iterations: Count = 35
    """At most this many steps of L-BFGS."""
    incumbent_smoothing: Share = 0.1
    """How much to doubt an answer of the incumbent's: the probability spread over all labels."""
    soft_share: Share = 0.5
    """How much of a row's target is the teacher's probabilities, where there is a teacher."""


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Reading the texts, then one product each way per step."""
    cells = min(size.rows * size.labels, MAX_CELLS)
    return speed.slowness * (0.5 + 1e-5 * size.tokens + 1.7e-7 * cells * options.iterations)


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """The defaults, with fewer steps where time is short; None below the ten steps that a usable fit takes."""
    for iterations in (Options().iterations, 20, 10):
        options = Options(iterations=iterations)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Count n-grams, fit the head, round it to int8. Raises NotEnoughData, MissingExtra."""
    from safetensors.numpy import save_file

    targets = read_targets(data, options.incumbent_smoothing, options.soft_share)
    context.progress("counting n-grams", 0.0)
    counted = count_ngrams(data.texts, options.shortest, options.longest)
    most = max(1_000, min(options.max_features, MAX_WEIGHTS // len(data.labels)))
    vocabulary, idf = choose_vocabulary(counted, options.min_count, most)
    matrix = features(counted.texts, vocabulary, idf)
    weight, bias = fit_logistic(
        matrix,
        targets,
        LogisticOptions(options.penalty, options.iterations, threads=context.threads),
        lambda share: context.progress("fitting", share),
        context.clock.pace("fitting", options.iterations),
    )
    stored = quantise_rows(weight * idf[:, None])
    save_file(
        {"weights": stored.values, "scales": stored.scales, "squares": idf * idf, "bias": bias},
        context.folder / f"{WEIGHTS}.safetensors",
    )
    (context.folder / f"{NGRAMS}.json").write_bytes(canonical_json(vocabulary.as_dict()))
    fitted = context.fitted({"features": len(vocabulary), "penalty": options.penalty})
    return Trained((fitted, Lineage(step="quantise", parameters={"weights": "int8 per row"})))


def out_of_sample(data: TrainingData, seed: int, folds: int, threads: int) -> tuple[list[Answer], NDArray[np.float64]]:
    """Labels and their probabilities by smaller students that never saw the row; features are counted once for all."""
    found = out_of_sample_probabilities(data.texts, data.targets, seed, folds, threads)
    labels = sorted(set(data.targets))
    return [labels[best] for best in found.argmax(axis=1)], found.max(axis=1).astype(np.float64)


def examples() -> TrainingData:
    """A tiny task that this kind learns in well under a second."""
    return tiny_task()
