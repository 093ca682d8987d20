"""frozen: a small pretrained encoder left as it is, rounded to int8, with a logistic head on its embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepdown.core.options import Count, NotNegative, Share, Whole
from stepdown.core.students import (
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.encoder import GRAPH, ServedEncoder
from stepdown.runtime.kinds.frozen import HEAD, unit
from stepdown.runtime.tokeniser import TOKENIZER, Tokeniser
from stepdown.students.encoders.embedding_head import fit_embedding_head
from stepdown.students.encoders.preparing import prepare, require_training
from stepdown.students.encoders.pretrained import DEFAULT, resolve
from stepdown.students.shrink import prune, quantise
from stepdown.students.targets import read_targets
from stepdown.students.tiny_task import tiny_task

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 30.0


@dataclass(frozen=True)
class Options:
    """How a frozen encoder's head is trained."""

    base: str = DEFAULT
    """The pretrained encoder: a folder, or a name in the local hub cache, an installed package or the hub."""
    revision: str = "main"
    """The base's revision on the hub."""
    max_length: Count = 128
    """Longer texts, in tokens, are cut and carry the signal `truncated`."""
    vocabulary_min_count: Whole = 1
    """Pieces of the vocabulary that stand this often in the texts are kept; 0 keeps the whole vocabulary."""
    vocabulary_general: Whole = 8_000
    """So many of the most frequent pieces in general are kept as well."""
    precision: Literal["int8", "float32"] = "int8"
    """int8, or float32 for machines without fast int8 arithmetic."""
    penalty: NotNegative = 3e-3
    """L2 penalty on the head, relative to the mean loss of a row, for features of unit variance."""
    iterations: Count = 150
    """At most this many steps of L-BFGS."""
    incumbent_smoothing: Share = 0.1
    """How much to doubt an answer of the incumbent's: the probability spread over all labels."""
    soft_share: Share = 0.5
    """How much of a row's target is the teacher's probabilities, where there is a teacher."""


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


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Round the base, embed the texts with what will be served, fit the head on that.

    Raises NotEnoughData, MissingExtra, InputError.
    """
    from safetensors.numpy import save_file

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
    encoder = ServedEncoder(written.graph, Tokeniser(prepared.tokenizer, options.max_length), context.threads)
    features = unit(encoder.run_many(data.texts)[0])
    context.progress("fitting the head", 0.8)
    pace = context.clock.pace("fitting", options.iterations)
    head = fit_embedding_head(features, targets, options.penalty, options.iterations, pace)
    save_file({"weight": head.weight, "bias": head.bias}, context.folder / HEAD)
    return Trained((*prepared.lineage, written.lineage, context.fitted({"penalty": options.penalty})), base.described())


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_task()
