"""linear: words, phrases and character n-grams with a multinomial logistic head. Trains and answers fastest of all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.students import ArtefactManifest, Lineage, Predictions, TrainingContext, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.students.artefact import seal
from stepdown.students.cross_validate import out_of_sample_probabilities
from stepdown.students.logistic import MAX_CELLS, LogisticOptions, fit_logistic
from stepdown.students.ngram_table import NgramTable
from stepdown.students.ngrams import Vocabulary, choose_vocabulary, count_ngrams, features
from stepdown.students.quantised import QuantisedRows, quantise_rows
from stepdown.students.signals import SIGNALS, logit_signals, one_answer, softmax
from stepdown.students.targets import learned_from, read_targets, taught_by
from stepdown.students.tiny_task import tiny_task

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 1.0
SIGNAL_NAMES = (*SIGNALS, "known", "truncated")
MAX_WEIGHTS = 24_000_000


@dataclass(frozen=True)
class Options:
    """How a linear student is trained."""

    shortest: int = 2
    """The shortest character n-gram."""
    longest: int = 5
    """The longest character n-gram."""
    min_count: int = 2
    """In how many texts an n-gram must stand to be learned."""
    max_features: int = 100_000
    """At most this many n-grams, the most frequent first; fewer where there are very many labels."""
    penalty: float = 1e-5
    """L2 penalty on the weights, relative to the mean loss of a row."""
    iterations: int = 35
    """At most this many steps of L-BFGS."""
    incumbent_smoothing: float = 0.1
    """How much to doubt an answer of the incumbent's: the probability spread over all labels."""
    soft_share: float = 0.5
    """How much of a row's target is the teacher's probabilities, where there is a teacher."""


class LinearStudent:
    """An opened linear student."""

    kind = "linear"
    signal_names = SIGNAL_NAMES

    def __init__(self, labels: tuple[str, ...], table: NgramTable) -> None:
        self._labels = labels
        self._table = table

    def answer(self, text: str) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        logits, known, truncated = self._table.logits(text)
        best, *signals = one_answer(logits)
        return self._labels[best], (*signals, known, truncated)

    def answer_many(self, texts: Sequence[str]) -> Predictions:
        """The same for many texts, with probabilities."""
        logits, extra = self._table.logits_many(texts)
        if not texts:
            return Predictions([], np.empty((0, len(SIGNAL_NAMES))), np.empty((0, len(self._labels))))
        answers = [self._labels[best] for best in logits.argmax(axis=1).tolist()]
        return Predictions(answers, np.hstack([logit_signals(logits), extra]), softmax(logits))


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


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    """Count n-grams, fit the head, round it to int8, seal. Raises NotEnoughData, MissingExtra."""
    from safetensors.numpy import save_file

    started = time.perf_counter()
    data = taught_by(data, context.teacher)
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
        context.folder / "weights.safetensors",
    )
    (context.folder / "ngrams.json").write_bytes(canonical_json(vocabulary.as_dict()))
    return seal(
        context.folder,
        ArtefactManifest(
            kind="linear",
            task=data.task,
            family=data.family,
            labels=data.labels,
            signal_names=SIGNAL_NAMES,
            files={},
            seed=context.seed,
            trained_s=time.perf_counter() - started,
            learned_from=learned_from(data),
            dataset_hash=data.dataset_hash,
            lineage=_lineage(options, context, len(vocabulary)),
            options=asdict(options),
        ),
    )


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> LinearStudent:
    """Read the table; words get their character n-grams folded in here, once."""
    from safetensors.numpy import load_file

    vocabulary = msgspec.json.decode((folder / "ngrams.json").read_bytes(), type=Vocabulary)
    arrays = load_file(folder / "weights.safetensors")
    stored = QuantisedRows(arrays["weights"], arrays["scales"])
    return LinearStudent(manifest.labels, NgramTable(vocabulary, stored, arrays["squares"], arrays["bias"]))


def out_of_sample(data: TrainingData, seed: int, folds: int, threads: int) -> tuple[list[Answer], NDArray[np.float64]]:
    """Labels and their probabilities by smaller students that never saw the row; features are counted once for all."""
    found = out_of_sample_probabilities(data.texts, data.targets, seed, folds, threads)
    labels = sorted(set(data.targets))
    return [labels[best] for best in found.argmax(axis=1)], found.max(axis=1).astype(np.float64)


def examples() -> TrainingData:
    """A tiny task that this kind learns in well under a second."""
    return tiny_task()


def _lineage(options: Options, context: TrainingContext, features: int) -> tuple[Lineage, ...]:
    step = "distil" if context.teacher else "train"
    parents = (context.teacher_hash,) if context.teacher else ()
    fitted = Lineage(step=step, parameters={"features": features, "penalty": options.penalty}, parents=parents)
    return fitted, Lineage(step="quantise", parameters={"weights": "int8 per row"})
