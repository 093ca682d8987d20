"""What a network reads of a text, and what it says: the types that programs share with `encoders/served.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Outputs = tuple[Any, ...]


@dataclass(frozen=True)
class Reading:
    """A text as tokens. ids: (tokens,). bounds: (tokens, 2) characters. words: (tokens,), -1 for what is no text."""

    ids: Any
    bounds: Any
    words: Any
    truncated: bool
