"""encoder: a small pretrained encoder, fine-tuned on the task, distilled into half its layers, rounded to int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepdown.core.options import Count, NotNegative, Positive, Share, Whole
from stepdown.core.students import (
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.encoder import GRAPH
from stepdown.runtime.tokeniser import TOKENIZER
from stepdown.students.encoders.label_objective import LabelObjective
from stepdown.students.encoders.learning import PADDED, learn, plan_of
from stepdown.students.encoders.preparing import LONGEST_LEARNED, prepare, require_training
from stepdown.students.encoders.pretrained import DEFAULT, resolve
from stepdown.students.shrink import prune, quantise
from stepdown.students.targets import read_targets
from stepdown.students.tiny_task import tiny_task

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 20.0
TEACHES = True
_START_S = 6.0
_TOKEN_S = 1e-4
"""Seconds to read, round and look at one token, whatever is learned from it."""
_CELL_S = 1e-5
"""Seconds for one row and one label in the cross-fitted heads."""
_PLANS = (
    (6.0, 6.0, 0, 0),
    *((epochs, epochs, 3, 1) for epochs in (6.0, 5.0, 4.0, 3.0, 2.0)),
    *((0.0, epochs, 0, 1) for epochs in (5.0, 4.0, 3.0, 2.0)),
)
"""Epochs of the teacher and of the student, and how many layers of each stay as they are; the best first."""


@dataclass(frozen=True)
class Options:
    """How an encoder is trained and shrunk. `options_for` derives the epochs from the time there is."""

    base: str = DEFAULT
    """The pretrained encoder: a folder, or a name in the local hub cache, an installed package or the hub."""
    revision: str = "main"
    """The base's revision on the hub."""
    layers: Whole = 3
    """How many layers the student keeps; 0 for all of them."""
    teacher_epochs: NotNegative = 6.0
    """Epochs of fine-tuning all layers first, to distil from; 0 to fine-tune the kept layers at once."""
    epochs: Positive = 6.0
    """Epochs of training the layers that are kept."""
    learning_rate: Positive = 1e-4
    """The peak rate of the top layer while fine-tuning all layers; what is distilled learns at 1.5 times that where all
    layers are kept, at three times that where fewer are."""
    frozen: Whole = 0
    """So many of the layers that are kept, the lowest, stay as they are: each text passes them once."""
    teacher_frozen: Whole = 0
    """The same while all layers are fine-tuned."""
    batch: Count = 64
    """Rows per step."""
    max_length: Count = 128
    """Longer texts, in tokens, are cut and carry the signal `truncated`."""
    vocabulary_min_count: Whole = 1
    """Pieces of the vocabulary that stand this often in the texts are kept; 0 keeps the whole vocabulary."""
    vocabulary_general: Whole = 8_000
    """So many of the most frequent pieces in general are kept as well."""
    label_smoothing: Share = 0.1
    """The probability spread over all labels in every target."""
    incumbent_smoothing: Share = 0.2
    """How much more to doubt an answer of the incumbent's."""
    precision: Literal["int8", "float32"] = "int8"
    """int8, or float32 for machines without fast int8 arithmetic."""


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Reading and aligning, the cross-fitted heads, then the epochs of the layers that learn, and what only reads."""
    tokens = size.read(LONGEST_LEARNED)
    heads = min(_CELL_S * size.rows * size.labels, 60.0) if options.teacher_epochs else 0.0
    fixed = speed.slowness * (_START_S + _TOKEN_S * (PADDED * tokens) + heads)
    return fixed + plan_of(options).seconds(tokens, speed)


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """The best plan that fits: first all that learns, then with the lowest layers as they are, then the student alone;
    None below two epochs."""
    for teacher, student, teacher_frozen, frozen in _PLANS:
        options = Options(teacher_epochs=teacher, epochs=student, teacher_frozen=teacher_frozen, frozen=frozen)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Fine-tune all layers, distil into fewer, round. Raises NotEnoughData, MissingExtra, InputError."""
    targets = read_targets(data, options.incumbent_smoothing)
    require_training()
    context.progress("reading the base", 0.0)
    base = resolve(options.base, options.revision, network=context.network)
    texts = [*data.texts, *data.extra_texts]
    pruning = prune.Options(options.vocabulary_min_count, options.vocabulary_general)
    prepared = prepare(base, texts, len(data.labels), options.max_length, pruning)
    objective = LabelObjective(prepared.sequences[: len(data.texts)], targets)
    learned = learn(prepared, objective, plan_of(options), context)
    context.progress("rounding to int8", 0.97)
    written = quantise.quantise(learned.network, prepared.sequences, quantise.Options(precision=options.precision))
    (context.folder / GRAPH).write_bytes(written.graph)
    (context.folder / TOKENIZER).write_text(prepared.tokenizer, encoding="utf-8")
    return Trained((*prepared.lineage, *learned.lineage, written.lineage), base.described())


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_task()
