"""Rows to answer, out of a JSONL file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from stepdown.core.calls import Broken
from stepdown.core.errors import InputError, UsageError
from stepdown.core.tasks import SlotValues

MAX_ROW_BYTES = 16 << 20


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row to answer: the task's variable part, a text or an object of slots."""

    id: str | int
    input: str | dict[str, str]


def input_of(text: str, slots: Sequence[str]) -> SlotValues:
    """The input that one text of a command line says: the text itself, or, for a task of several slots, the JSON object
    with a text for each of them. slots: the task's. Raises UsageError: no certificate speaks of anything else."""
    if len(slots) < 2:
        return text
    with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        values = msgspec.json.decode(text, type=dict[str, str])
        if values.keys() == set(slots):
            return values
    form = json.dumps(dict.fromkeys(slots, "…"), ensure_ascii=False)
    raise UsageError(
        f"The text is no JSON object of the {len(slots)} inputs that this task has.",
        f"Expected {form}, with a text for each.",
        "Give that as the one text, or as the `input` of a row in a --file.",
    )


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
