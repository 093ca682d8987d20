"""token_cnn: an encoder's token vectors, fine-tuned in windows of three, folded into tables: an answer is a sum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.options import Count, Positive, Share, Whole
from stepdown.core.students import (
    Lineage,
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.kinds.token_cnn import TABLES, TokenWindows
from stepdown.runtime.quantised import quantise_rows
from stepdown.runtime.tokeniser import TOKENIZER, Tokeniser
from stepdown.students.encoders.preparing import require_training
from stepdown.students.encoders.pretrained import DEFAULT, resolve
from stepdown.students.shrink import prune
from stepdown.students.targets import read_targets
from stepdown.students.tiny_task import tiny_task
from stepdown.students.token_vectors import starting_vectors, token_vectors
from stepdown.students.token_windows import Fitting, fit_windows

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 1.5
_START_S = 4.0


@dataclass(frozen=True)
class Options:
    """How a token CNN is trained."""

    base: str = DEFAULT
    """The encoder whose token vectors it starts from: a folder or a name."""
    revision: str = "main"
    """The base's revision on the hub."""
    dimensions: Count = 192
    """How many principal components of the token vectors are kept."""
    hidden: Count = 192
    """How many filters read each window of three tokens."""
    general: Whole = 1_000
    """So many of the most frequent pieces are kept besides those that stand in the texts."""
    max_length: Count = 512
    """Longer texts, in tokens, are cut and carry the signal `truncated`."""
    epochs: Count = 8
    """Epochs of fine-tuning vectors, filters and head."""
    rate: Positive = 3e-3
    """The peak learning rate."""
    label_smoothing: Share = 0.1
    """The probability spread over all labels in every target."""
    incumbent_smoothing: Share = 0.1
    """How much more to doubt an answer of the incumbent's."""
    soft_share: Share = 0.5
    """How much of a row's target is the teacher's probabilities, where there is a teacher."""


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Reading, then the epochs; labels hardly matter."""
    return speed.slowness * (_START_S + 1.2e-5 * size.read(64) * (0.5 + options.epochs))


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """The defaults, with fewer epochs where time is short; None below four."""
    for epochs in (Options().epochs, 6, 4):
        options = Options(epochs=epochs)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Read token vectors, fine-tune, round to int8. Raises NotEnoughData, MissingExtra, InputError."""
    targets = read_targets(data, options.incumbent_smoothing, options.soft_share)
    require_training()
    context.progress("reading the base", 0.0)
    base = resolve(options.base, options.revision, network=context.network)
    content = (base.folder / TOKENIZER).read_text(encoding="utf-8")
    sequences, _ = Tokeniser(content, options.max_length).encode_many(data.texts)
    pruned = prune.vocabulary(content, sequences, prune.Options(min_count=1, general=options.general))
    if pruned:
        content = pruned.content
        sequences, _ = Tokeniser(content, options.max_length).encode_many(data.texts)
    pieces = pruned.kept if pruned else np.arange(base.architecture.vocab_size)
    counts = np.bincount(np.concatenate(sequences), minlength=len(pieces))
    vectors = token_vectors(base, pieces)
    start = starting_vectors(vectors, counts, min(options.dimensions, vectors.shape[1]))
    fitting = Fitting(
        options.hidden,
        options.epochs,
        options.rate,
        label_smoothing=options.label_smoothing,
    )
    windows = fit_windows(
        start,
        sequences,
        targets,
        fitting,
        context.seed,
        lambda share: context.progress("fitting", share),
        context.clock,
    )
    _save(context.folder, windows, counts > 0, content)
    steps = [Lineage(step="train", parameters={"from": options.base, "pieces": len(pieces)})]
    steps += [pruned.lineage] if pruned else []
    steps += [Lineage(step="distil", parents=(context.teacher_hash,))] if context.teacher else []
    return Trained((*steps, Lineage(step="quantise", parameters={"tables": "int8 per row"})), base.described())


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_task()


def _save(folder: Path, windows: TokenWindows, seen: NDArray[np.bool_], tokenizer: str) -> None:
    from safetensors.numpy import save_file

    stored = quantise_rows(windows.tables.reshape(-1, len(windows.offset)))
    arrays: dict[str, NDArray[Any]] = {
        "tables": stored.values,
        "scales": stored.scales,
        "seen": seen.astype(np.uint8),
        "offset": windows.offset,
        "weight": np.ascontiguousarray(windows.weight),
        "bias": windows.bias,
    }
    save_file(arrays, folder / TABLES)
    (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
