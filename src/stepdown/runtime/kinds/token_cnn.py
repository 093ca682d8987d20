"""token_cnn: three table rows a token, windows of three, two poolings, a product, the surest label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer
from stepdown.core.inputs import Input
from stepdown.core.students import NUMPY, ArtefactManifest, Device, Predictions
from stepdown.runtime.quantised import QuantisedRows
from stepdown.runtime.signals import SIGNALS, label_predictions, one_answer
from stepdown.runtime.tokeniser import Tokeniser, open_tokeniser

RUNTIME = NUMPY
SIGNAL_NAMES = (*SIGNALS, "known", "truncated")
TABLES = "tables.safetensors"
TINY = 1e-5
"""Added to a variance before it divides."""
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class TokenWindows:
    """tables: float32 (pieces, 3, hidden): what a token adds to the place after it, its own, and the one before it.

    offset: (hidden,). weight: (2·hidden, labels). bias: (labels,).
    """

    tables: FloatArray
    offset: FloatArray
    weight: FloatArray
    bias: FloatArray

    def logits(self, tokens: NDArray[np.int64]) -> FloatArray:
        """(labels,) for one text's tokens; the bias alone for none."""
        if not len(tokens):
            return self.bias
        scores: FloatArray = self._pooled(tokens) @ self.weight + self.bias
        return scores

    def logits_many(self, sequences: Sequence[NDArray[np.int64]]) -> FloatArray:
        """(n, labels)."""
        pooled = np.zeros((len(sequences), self.weight.shape[0]), dtype=np.float32)
        for row, tokens in zip(pooled, sequences, strict=True):
            if len(tokens):
                row[:] = self._pooled(tokens)
        scores: FloatArray = pooled @ self.weight + self.bias
        return scores

    def _pooled(self, tokens: NDArray[np.int64]) -> FloatArray:
        parts = self.tables[tokens]
        hidden = parts[:, 1] + self.offset
        hidden[1:] += parts[:-1, 0]
        hidden[:-1] += parts[1:, 2]
        np.maximum(hidden, 0.0, out=hidden)
        size = hidden.shape[1]
        pooled = np.empty(2 * size, dtype=np.float32)
        np.maximum.reduce(hidden, axis=0, out=pooled[:size])
        np.add.reduce(hidden, axis=0, out=pooled[size:])
        pooled[size:] *= np.float32(len(tokens) ** -0.5)
        pooled -= np.add.reduce(pooled) / (2 * size)
        pooled *= np.float32((float(pooled.dot(pooled)) / (2 * size) + TINY) ** -0.5)
        return pooled


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

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        tokens, truncated = self._tokeniser.encode(input.text)
        best, *signals = one_answer(self._windows.logits(tokens))
        return self._labels[best], (*signals, self._known(tokens), float(truncated))

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with probabilities."""
        sequences, truncated = self._tokeniser.encode_many([input.text for input in inputs])
        logits = self._windows.logits_many(sequences)
        known = [self._known(tokens) for tokens in sequences]
        return label_predictions(self._labels, logits, known, truncated)

    def _known(self, tokens: NDArray[np.int64]) -> float:
        """The share of a text's tokens that stood in the training texts."""
        return float(self._seen[tokens].sum()) / len(tokens) if len(tokens) else 1.0


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> TokenCnnStudent:
    """Read the tokenizer, the vectors and the head."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / TABLES)
    hidden = len(arrays["offset"])
    tables = QuantisedRows(arrays["tables"], arrays["scales"]).rows(slice(None)).reshape(-1, 3, hidden)
    windows = TokenWindows(tables, arrays["offset"], arrays["weight"], arrays["bias"])
    seen = arrays["seen"].astype(np.float32)
    return TokenCnnStudent(manifest.labels, open_tokeniser(folder, manifest), windows, seen)
