"""frozen: a small pretrained encoder left as it is, rounded to int8, with a logistic head on its embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stepdown.core.dataset import Answer
from stepdown.core.students import ArtefactManifest, Lineage, Predictions, TrainingContext, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.students.artefact import seal
from stepdown.students.encoders.embedding_head import fit_embedding_head, unit
from stepdown.students.encoders.preparing import prepare, require_training
from stepdown.students.encoders.pretrained import DEFAULT, TOKENIZER, resolve
from stepdown.students.encoders.served import ServedEncoder, Tokeniser
from stepdown.students.shrink import prune, quantise
from stepdown.students.signals import SIGNALS, logit_signals, one_answer, softmax
from stepdown.students.softmax_head import SoftmaxHead
from stepdown.students.targets import learned_from, read_targets, taught_by
from stepdown.students.tiny_task import tiny_task

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 30.0
SIGNAL_NAMES = (*SIGNALS, "truncated")
GRAPH, HEAD = "encoder.onnx", "head.safetensors"


@dataclass(frozen=True)
class Options:
    """How a frozen encoder's head is trained."""

    base: str = DEFAULT
    """The pretrained encoder: a folder, or a name in the local hub cache, an installed package or the hub."""
    revision: str = "main"
    """The base's revision on the hub."""
    max_length: int = 128
    """Longer texts, in tokens, are cut and carry the signal `truncated`."""
    vocabulary_min_count: int = 1
    """Pieces of the vocabulary that stand this often in the texts are kept; 0 keeps the whole vocabulary."""
    vocabulary_general: int = 8_000
    """So many of the most frequent pieces in general are kept as well."""
    precision: str = "int8"
    """int8, or float32 for machines without fast int8 arithmetic."""
    penalty: float = 3e-3
    """L2 penalty on the head, relative to the mean loss of a row, for features of unit variance."""
    iterations: int = 150
    """At most this many steps of L-BFGS."""
    incumbent_smoothing: float = 0.1
    """How much to doubt an answer of the incumbent's: the probability spread over all labels."""
    soft_share: float = 0.5
    """How much of a row's target is the teacher's probabilities, where there is a teacher."""


class FrozenStudent:
    """An opened frozen encoder with its head."""

    kind = "frozen"
    signal_names = SIGNAL_NAMES

    def __init__(self, labels: tuple[str, ...], encoder: ServedEncoder, head: SoftmaxHead) -> None:
        self._labels = labels
        self._encoder = encoder
        self._head = head

    def answer(self, text: str) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        embedding, truncated = self._encoder.run(text)
        best, *signals = one_answer(self._head.logits(unit(embedding[None]))[0])
        return self._labels[best], (*signals, float(truncated))

    def answer_many(self, texts: Sequence[str]) -> Predictions:
        """The same for many texts, with probabilities."""
        if not texts:
            return Predictions([], np.empty((0, len(SIGNAL_NAMES))), np.empty((0, len(self._labels))))
        embeddings, truncated = self._encoder.run_many(texts)
        logits = self._head.logits(unit(embeddings))
        answers = [self._labels[best] for best in logits.argmax(axis=1).tolist()]
        return Predictions(answers, np.column_stack([logit_signals(logits), truncated]), softmax(logits))


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Reading the base, then one pass over the texts, then two products a step."""
    tokens, cells = size.read(options.max_length), size.rows * size.labels
    return speed.slowness * (8.0 + 9e-5 * tokens + 2e-8 * cells * options.iterations)


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """The defaults, with fewer steps where time is short, or None."""
    for iterations in (Options().iterations, 75, 40):
        options = Options(iterations=iterations)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    """Round the base, embed the texts with what will be served, fit the head on that, seal.

    Raises NotEnoughData, MissingExtra, InputError.
    """
    from safetensors.numpy import save_file

    started = time.perf_counter()
    data = taught_by(data, context.teacher)
    targets = read_targets(data, options.incumbent_smoothing, options.soft_share)
    require_training()
    context.progress("reading the base", 0.0)
    base = resolve(options.base, options.revision, network=context.network)
    pruning = prune.Options(options.vocabulary_min_count, options.vocabulary_general)
    prepared = prepare(base, data.texts, len(data.labels), options.max_length, pruning)
    rounding = quantise.Options(precision=options.precision)
    written = quantise.quantise(prepared.network, prepared.sequences, rounding, head=False)
    (context.folder / GRAPH).write_bytes(written.graph)
    (context.folder / TOKENIZER).write_text(prepared.tokenizer, encoding="utf-8")
    context.progress("embedding texts", 0.2)
    encoder = _encoder(context.folder, options.max_length, context.threads)
    features = unit(encoder.run_many(data.texts)[0])
    context.progress("fitting the head", 0.8)
    pace = context.clock.pace("fitting", options.iterations)
    head = fit_embedding_head(features, targets, options.penalty, options.iterations, pace)
    save_file({"weight": head.weight, "bias": head.bias}, context.folder / HEAD)
    return seal(
        context.folder,
        ArtefactManifest(
            kind="frozen",
            task=data.task,
            family=data.family,
            labels=data.labels,
            signal_names=SIGNAL_NAMES,
            files={},
            seed=context.seed,
            trained_s=time.perf_counter() - started,
            learned_from=learned_from(data),
            dataset_hash=data.dataset_hash,
            lineage=(*prepared.lineage, written.lineage, _fitted(options, context)),
            options={**asdict(options), "pretrained": base.described()},
        ),
    )


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> FrozenStudent:
    """Read the tokenizer and the head, load the graph."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / HEAD)
    encoder = _encoder(folder, int(manifest.options["max_length"]), threads)
    return FrozenStudent(manifest.labels, encoder, SoftmaxHead(arrays["weight"], arrays["bias"]))


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_task()


def _encoder(folder: Path, max_length: int, threads: int) -> ServedEncoder:
    return ServedEncoder(folder / GRAPH, Tokeniser((folder / TOKENIZER).read_text("utf-8"), max_length), threads)


def _fitted(options: Options, context: TrainingContext) -> Lineage:
    step, parents = ("distil", (context.teacher_hash,)) if context.teacher else ("train", ())
    return Lineage(step=step, parameters={"penalty": options.penalty}, parents=parents)
