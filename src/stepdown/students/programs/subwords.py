"""Text to token ids, with the exported `tokenizer.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from stepdown.students.programs.readings import Reading


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
        return np.array(encoding.ids, dtype=np.int64), self._cut(text, encoding)

    def places(self, text: str) -> Any:
        """The same with where each token stands: a Reading."""
        encoding = self._tokenizer.encode(text[: self._characters])
        bounds = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
        return Reading(np.array(encoding.ids, dtype=np.int64), bounds, words, self._cut(text, encoding))

    def _cut(self, text: str, encoding: Any) -> bool:
        return len(text) > self._characters or bool(encoding.overflowing)
