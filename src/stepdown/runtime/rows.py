"""Rows to answer, out of a JSONL file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from stepdown.core.calls import Broken
from stepdown.core.errors import InputError

MAX_ROW_BYTES = 16 << 20


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row to answer: the task's variable part, a text or an object of slots."""

    id: str | int
    input: str | dict[str, str]


def read_rows(path: Path) -> Iterator[Row | Broken]:
    """Rows of a JSONL file, checked one by one; a line that is none is a Broken and does not stop the others.

    Raises InputError when the file cannot be opened. A line longer than MAX_ROW_BYTES is never held whole.
    """
    decode = msgspec.json.Decoder(Row).decode
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_ROW_BYTES + 1):
                number += 1
                if len(line) > MAX_ROW_BYTES:
                    if not line.endswith(b"\n"):
                        _skip_line(file)
                    reason = f"longer than {MAX_ROW_BYTES >> 20} MB"
                    yield Broken(source=path.name, line=number, reason=reason)
                elif line.strip():
                    yield _row(decode, line, path.name, number)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.", "Expected a JSONL file.", "Check the name."
        ) from None


def _row(decode: Callable[[bytes], Row], line: bytes, name: str, number: int) -> Row | Broken:
    try:
        return decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Broken(source=name, line=number, reason=str(error), raw=line[:300].decode("utf-8", "backslashreplace"))


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(MAX_ROW_BYTES)) and not rest.endswith(b"\n"):
        pass
