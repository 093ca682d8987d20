"""Text to token ids, by a `tokenizer.json`. Needs tokenizers and numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import InputError
from stepdown.core.students import ArtefactManifest
from stepdown.runtime.readings import Reading

TOKENIZER = "tokenizer.json"
CHARACTERS_PER_TOKEN = 32
"""A text is cut, and marked as truncated, at this many characters per token of the maximum length before it is read, so
that a megabyte of input costs no more than a page."""


class Tokeniser:
    """Text to ids. What does not fit into max_length tokens is dropped and said to be: never cut in silence.

    content: a `tokenizer.json`. Raises InputError when it is none.
    """

    def __init__(self, content: str, max_length: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(_checked(content))
        self.max_length = max_length
        self._characters = max_length * CHARACTERS_PER_TOKEN
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def encode(self, text: str) -> tuple[NDArray[np.int64], bool]:
        """Ids (tokens,) and whether the text was too long."""
        encoding = self._tokenizer.encode(text[: self._characters])
        return np.array(encoding.ids, dtype=np.int64), self._truncated(text, encoding)

    def encode_many(self, texts: Sequence[str]) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_]]:
        """The same for many."""
        encodings = self._tokenizer.encode_batch([text[: self._characters] for text in texts])
        truncated = [self._truncated(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings], np.array(truncated, dtype=bool)

    def read(self, text: str) -> Reading:
        """Ids with the place of each in the text."""
        return self._reading(text, self._tokenizer.encode(text[: self._characters]))

    def read_many(self, texts: Sequence[str]) -> list[Reading]:
        """The same for many."""
        encodings = self._tokenizer.encode_batch([text[: self._characters] for text in texts])
        return [self._reading(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]

    def _reading(self, text: str, encoding: Any) -> Reading:
        words = [-1 if word is None else word for word in encoding.word_ids]
        return Reading(
            np.array(encoding.ids, dtype=np.int64),
            np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),
            np.array(words, dtype=np.int64),
            self._truncated(text, encoding),
        )

    def _truncated(self, text: str, encoding: Any) -> bool:
        return len(text) > self._characters or bool(encoding.overflowing)


def _checked(content: str) -> str:
    """Refuses what is plainly not a tokenizer: the library itself raises nothing narrower than Exception."""
    try:
        parsed = msgspec.json.decode(content)
    except msgspec.DecodeError:
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
        raise InputError(
            "A tokenizer.json holds no tokenizer.",
            "It is a JSON object with a model in it.",
            "Save the base again with a fast tokenizer, or build the student again.",
        )
    return content


def open_tokeniser(folder: Path, manifest: ArtefactManifest) -> Tokeniser:
    """The tokeniser of an artefact. Raises InputError."""
    return Tokeniser((folder / TOKENIZER).read_text(encoding="utf-8"), int(manifest.options["max_length"]))
