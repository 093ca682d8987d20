"""What is read of a text for a network, and what that gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Outputs = tuple[NDArray[np.float32], ...]
"""What a graph gives for one text: logits (labels,) or an embedding (hidden,), then tag logits (tokens, tags)."""


@dataclass(frozen=True)
class Reading:
    """A text as tokens. ids: (tokens,). bounds: (tokens, 2), the characters start to end that each stands for.

    words: (tokens,), the word that each is a part of, -1 for tokens that stand for no text. truncated: cut or not.
    """

    ids: NDArray[np.int64]
    bounds: NDArray[np.int64]
    words: NDArray[np.int64]
    truncated: bool
