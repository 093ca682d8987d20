"""Text to token ids, with the exported `tokenizer.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer


class Tokens:
    """A text is cut, and marked as cut, at `longest` tokens and before that at `characters` characters."""

    def __init__(self, folder: Path, longest: int, characters: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        self._characters = characters

    def read(self, text: str) -> tuple[Any, bool]:
        """(ids (tokens,), whether the text was cut)."""
        encoding = self._tokenizer.encode(text[: self._characters])
        cut = len(text) > self._characters or bool(encoding.overflowing)
        return np.array(encoding.ids, dtype=np.int64), cut
