"""token_cnn: an encoder's token vectors, fine-tuned in windows of three, folded into tables: an answer is some sums."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer
from stepdown.core.students import ArtefactManifest, Lineage, Predictions, TrainingContext, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.students.artefact import seal
from stepdown.students.encoders.preparing import require_training
from stepdown.students.encoders.pretrained import DEFAULT, TOKENIZER, resolve
from stepdown.students.encoders.served import Tokeniser
from stepdown.students.quantised import QuantisedRows, quantise_rows
from stepdown.students.shrink import prune
from stepdown.students.signals import SIGNALS, logit_signals, one_answer, softmax
from stepdown.students.targets import learned_from, read_targets, taught_by
from stepdown.students.tiny_task import tiny_task
from stepdown.students.token_vectors import starting_vectors, token_vectors
from stepdown.students.token_windows import Fitting, TokenWindows, fit_windows

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 1.5
SIGNAL_NAMES = (*SIGNALS, "known", "truncated")
_START_S = 4.0


@dataclass(frozen=True)
class Options:
    """How a token CNN is trained."""

    base: str = DEFAULT
    """The encoder whose token vectors it starts from: a folder or a name."""
    revision: str = "main"
    """The base's revision on the hub."""
    dimensions: int = 192
    """How many principal components of the token vectors are kept."""
    hidden: int = 192
    """How many filters read each window of three tokens."""
    general: int = 1_000
    """So many of the most frequent pieces are kept besides those that stand in the texts."""
    max_length: int = 512
    """Longer texts, in tokens, are cut and carry the signal `truncated`."""
    epochs: int = 8
    """Epochs of fine-tuning vectors, filters and head."""
    rate: float = 3e-3
    """The peak learning rate."""
    label_smoothing: float = 0.1
    """The probability spread over all labels in every target."""
    incumbent_smoothing: float = 0.1
    """How much more to doubt an answer of the incumbent's."""
    soft_share: float = 0.5
    """How much of a row's target is the teacher's probabilities, where there is a teacher."""


class TokenCnnStudent:
    """An opened token CNN."""

    kind = "token_cnn"
    signal_names = SIGNAL_NAMES

    def __init__(
        self, labels: tuple[str, ...], tokeniser: Tokeniser, windows: TokenWindows, seen: NDArray[np.float32]
    ) -> None:
        self._labels = labels
        self._tokeniser = tokeniser
        self._windows = windows
        self._seen = seen

    def answer(self, text: str) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        tokens, truncated = self._tokeniser.encode(text)
        best, *signals = one_answer(self._windows.logits(tokens))
        return self._labels[best], (*signals, self._known(tokens), float(truncated))

    def answer_many(self, texts: Sequence[str]) -> Predictions:
        """The same for many texts, with probabilities."""
        if not texts:
            return Predictions([], np.empty((0, len(SIGNAL_NAMES))), np.empty((0, len(self._labels))))
        sequences, truncated = self._tokeniser.encode_many(texts)
        logits = self._windows.logits_many(sequences)
        known = [self._known(tokens) for tokens in sequences]
        answers = [self._labels[best] for best in logits.argmax(axis=1).tolist()]
        return Predictions(answers, np.column_stack([logit_signals(logits), known, truncated]), softmax(logits))

    def _known(self, tokens: NDArray[np.int64]) -> float:
        """The share of a text's tokens that stood in the training texts."""
        return float(self._seen[tokens].sum()) / len(tokens) if len(tokens) else 1.0


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


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    """Read token vectors, fine-tune, round to int8, seal. Raises NotEnoughData, MissingExtra, InputError."""
    started = time.perf_counter()
    data = taught_by(data, context.teacher)
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
    return seal(
        context.folder,
        ArtefactManifest(
            kind="token_cnn",
            task=data.task,
            family=data.family,
            labels=data.labels,
            signal_names=SIGNAL_NAMES,
            files={},
            seed=context.seed,
            trained_s=time.perf_counter() - started,
            learned_from=learned_from(data),
            dataset_hash=data.dataset_hash,
            lineage=(*steps, Lineage(step="quantise", parameters={"tables": "int8 per row"})),
            options={**asdict(options), "pretrained": base.described()},
        ),
    )


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> TokenCnnStudent:
    """Read the tokenizer, the vectors and the head."""
    from safetensors.numpy import load_file

    tokeniser = Tokeniser((folder / TOKENIZER).read_text(encoding="utf-8"), int(manifest.options["max_length"]))
    arrays = load_file(folder / "tables.safetensors")
    hidden = len(arrays["offset"])
    tables = QuantisedRows(arrays["tables"], arrays["scales"]).rows(slice(None)).reshape(-1, 3, hidden)
    windows = TokenWindows(tables, arrays["offset"], arrays["weight"], arrays["bias"])
    return TokenCnnStudent(manifest.labels, tokeniser, windows, arrays["seen"].astype(np.float32))


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
    save_file(arrays, folder / "tables.safetensors")
    (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
