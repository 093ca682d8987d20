"""A text as windows of three static token vectors, trained with torch; `runtime/kinds/token_cnn.py` answers with them.

hidden_i = relu(before[t_{i-1}] + here[t_i] + after[t_{i+1}] + offset), where texts have nothing before and after;
logits = normalised([max_i hidden_i; Σ_i hidden_i / √n]) @ weight + bias.
It is a convolution over token vectors (Kim 2014) with the product of filter and vector taken once per token of the
vocabulary, which is exact: an answer is three gathers, a sum, and one small product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import needs
from stepdown.core.pace import Clock
from stepdown.runtime.kinds.token_cnn import TINY, TokenWindows
from stepdown.students.targets import Targets

FloatArray = NDArray[np.float32]
_BUCKET = 20
_LONGEST_LEARNED = 64
_WARM = 50


@dataclass(frozen=True)
class Fitting:
    """How windows are trained. dropout: on token vectors and before the head. rate: the peak, reached in 50 steps."""

    hidden: int = 192
    epochs: int = 8
    rate: float = 3e-3
    batch: int = 64
    dropout: float = 0.2
    decay: float = 0.01
    label_smoothing: float = 0.1


def fit_windows(
    start: FloatArray,
    sequences: Sequence[NDArray[np.int64]],
    targets: Targets,
    fitting: Fitting,
    seed: int,
    progress: Callable[[float], None],
    clock: Clock | None = None,
) -> TokenWindows:
    """Fine-tune token vectors, filters and head together with AdamW, the rate falling linearly to zero.

    start: (pieces, d). clock: which may end it early. Texts are read up to 64 tokens while training. Raises
    MissingExtra without torch.
    """
    with needs("train", "Training a token CNN"):
        import torch
    before = torch.get_num_threads()
    # The steps are too small to share: on a busy machine threads would wait for each other most of the time.
    torch.set_num_threads(1)
    try:
        network = _Network(start, targets.labels, fitting, seed)
        optimiser = torch.optim.AdamW(network.parameters, lr=fitting.rate, weight_decay=fitting.decay)
        batches = _batches(sequences, targets, fitting, seed)
        pace = (clock or Clock()).pace("fitting", len(batches), warm=_WARM)
        for step, rows in enumerate(batches):
            if not pace.goes_on(step):
                break
            for group in optimiser.param_groups:
                group["lr"] = fitting.rate * pace.rate(step)
            logits = network.logits(_padded([sequences[row] for row in rows], len(start)))
            loss = _cross_entropy(logits, targets, rows, fitting.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % 50 == 0:
                progress(step / len(batches))
        return network.folded()
    finally:
        torch.set_num_threads(before)


class _Network:
    """The trainable form: token vectors and filters apart. The row after the last piece pads, and stays zero."""

    def __init__(self, start: FloatArray, labels: int, fitting: Fitting, seed: int) -> None:
        import torch

        self._draws = torch.Generator().manual_seed(seed)
        self._fitting = fitting
        self._padding = len(start)
        width = start.shape[1]
        padded = np.concatenate([start, np.zeros((1, width), dtype=np.float32)])
        reach = (3 * width) ** -0.5
        filters = (torch.rand(3 * width, fitting.hidden, generator=self._draws) * 2.0 - 1.0) * reach
        self.vectors = torch.nn.Parameter(torch.from_numpy(padded))
        self.filters = torch.nn.Parameter(filters)
        self.offset = torch.nn.Parameter(torch.zeros(fitting.hidden))
        self.weight = torch.nn.Parameter(torch.zeros(2 * fitting.hidden, labels))
        self.bias = torch.nn.Parameter(torch.zeros(labels))
        self.parameters = [self.vectors, self.filters, self.offset, self.weight, self.bias]

    def logits(self, tokens: Any) -> Any:
        """tokens: int64 (batch, longest + 2), padded on both sides. Returns (batch, labels)."""
        import torch

        present = (tokens[:, 1:-1] != self._padding).unsqueeze(2).float()
        vectors = self._drop(torch.nn.functional.embedding(tokens, self.vectors, padding_idx=self._padding))
        windows = torch.cat([vectors[:, :-2], vectors[:, 1:-1], vectors[:, 2:]], dim=2)
        hidden = torch.relu(windows @ self.filters + self.offset) * present
        lengths = present.sum(dim=1)
        pooled = torch.cat([hidden.amax(dim=1), hidden.sum(dim=1) * torch.rsqrt(lengths)], dim=1)
        normed = torch.nn.functional.layer_norm(pooled, pooled.shape[1:], eps=TINY)
        return self._drop(normed) @ self.weight + self.bias

    def folded(self) -> TokenWindows:
        """Filters multiplied into the vectors."""
        vectors = self.vectors.detach().numpy()[:-1]
        filters = self.filters.detach().numpy().reshape(3, vectors.shape[1], -1)
        tables = np.stack([vectors @ part for part in filters], axis=1)
        rest = (self.offset, self.weight, self.bias)
        return TokenWindows(tables, *(part.detach().numpy() for part in rest))

    def _drop(self, values: Any) -> Any:
        import torch

        kept = torch.rand(values.shape, generator=self._draws) >= self._fitting.dropout
        return values * kept / (1.0 - self._fitting.dropout)


def _cross_entropy(logits: Any, targets: Targets, rows: NDArray[np.int64], smoothing: float) -> Any:
    import torch

    wanted = torch.from_numpy(targets.rows(rows) * (1.0 - smoothing) + smoothing / targets.labels)
    losses = -(wanted * torch.log_softmax(logits, dim=1)).sum(dim=1)
    return (losses * torch.from_numpy(targets.weights[rows])).mean()


def _padded(sequences: list[NDArray[np.int64]], padding: int) -> Any:
    import torch

    longest = min(_LONGEST_LEARNED, max(len(tokens) for tokens in sequences))
    tokens = np.full((len(sequences), longest + 2), padding, dtype=np.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        read = sequence[:longest]
        row[1 : len(read) + 1] = read
    return torch.from_numpy(tokens)


def _batches(
    sequences: Sequence[NDArray[np.int64]], targets: Targets, fitting: Fitting, seed: int
) -> list[NDArray[np.int64]]:
    """The rows of every step. Texts of like length go together, so that little is padded."""
    generator = np.random.default_rng(seed)
    lengths = np.array([len(tokens) for tokens in sequences])
    usable = np.flatnonzero((targets.weights > 0) & (lengths > 0))
    batches: list[NDArray[np.int64]] = []
    for _ in range(fitting.epochs):
        order = generator.permutation(usable)
        epoch = []
        for first in range(0, len(order), fitting.batch * _BUCKET):
            bucket = order[first : first + fitting.batch * _BUCKET]
            bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
            epoch += [bucket[start : start + fitting.batch] for start in range(0, len(bucket), fitting.batch)]
        batches += [epoch[place] for place in generator.permutation(len(epoch))]
    return batches
