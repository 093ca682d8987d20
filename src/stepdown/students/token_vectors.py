"""One vector per piece of an encoder's vocabulary: where a token CNN starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import InputError
from stepdown.students.encoders.pretrained import WEIGHTS, Pretrained

_EMBEDDINGS = "word_embeddings.weight"


def token_vectors(base: Pretrained, pieces: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 (pieces, hidden): the base's own token embeddings of the chosen pieces, read without torch.

    Passing every piece through the encoder first (Model2Vec, van Dongen & Tulkens 2024) gained less than a point (one
    seed) after fine-tuning, for most of a short budget: docs/students.md has the figures. Raises InputError.
    """
    from safetensors import safe_open

    with safe_open(base.folder / WEIGHTS, framework="numpy") as weights:
        name = next((key for key in weights.keys() if key.endswith(_EMBEDDINGS)), None)  # noqa: SIM118
        if name is None:
            raise InputError(
                f"{WEIGHTS} of the pretrained encoder {base.name!r} holds no {_EMBEDDINGS}.",
                "A token CNN starts from the token embeddings of a BERT, DistilBERT or RoBERTa encoder.",
                "Choose such a base.",
            )
        vectors: NDArray[np.float32] = weights.get_tensor(name)[pieces].astype(np.float32)
    return vectors


def starting_vectors(vectors: NDArray[np.float32], counts: NDArray[np.int64], dimensions: int) -> NDArray[np.float32]:
    """Principal components of the pieces' vectors, weighted down where frequent: float32 (pieces, dimensions).

    Source: smooth inverse frequency (Arora et al. 2017), a/(a + p) with a = 1e-3, p the piece's share of all tokens.
    """
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :dimensions]
    # The sign of an eigenvector is arbitrary: fix it, so that the same vectors give the same components.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    reduced = centred @ axes
    reduced *= 0.5 / max(float(reduced.std()), 1e-12)
    shares = counts / max(1, counts.sum())
    started: NDArray[np.float32] = (reduced * (1e-3 / (1e-3 + shares))[:, None]).astype(np.float32)
    return started
