"""The protocol of formats of logs. Each is one file in `formats/`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.kinds import Kinds
from stepdown.traffic.source import Source


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of every format.

    max_line_bytes: a longer line is reported and skipped without being held. max_document_bytes: the same for files
    that can only be read whole (YAML, a JSON array).
    """

    max_line_bytes: Annotated[int, msgspec.Meta(description="A longer line is reported and skipped.")] = (
        16 * 1024 * 1024
    )
    max_document_bytes: Annotated[
        int, msgspec.Meta(description="A larger file of a kind that is read whole is reported and skipped.")
    ] = 256 * 1024 * 1024


class FormatExample(msgspec.Struct, frozen=True, kw_only=True):
    """A small file in a format, and the calls that it holds."""

    name: str
    data: bytes
    calls: tuple[Call, ...]


class Format(Protocol):
    """The protocol a module in `traffic/formats/` keeps."""

    EXTRA: str
    """The optional dependency it needs, "" for none."""

    Options: type[ReadOptions]

    def sniff(self, head: bytes, name: str) -> float:
        """The confidence, in [0, 1], that a file beginning with `head` (up to 64 KiB, unpacked) is of this format."""

    def read(self, sources: Sequence[Source], options: Any) -> Iterator[Call | Broken]:
        """Every record of the files, each as a Call or a Broken. The files are all of this format and may join.

        Nothing in a file raises; only opening one that is not there does (InputError).
        """

    def examples(self) -> list[FormatExample]:
        """Small files of this format with the calls that they hold."""


def formats() -> Kinds[Format]:
    """All formats of logs, by name."""
    return Kinds("stepdown.traffic.formats", "format")
