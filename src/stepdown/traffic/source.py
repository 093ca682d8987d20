"""Opening logs: plain, gzip or zstandard; a file, every file of a folder, or stdin. One line at a time."""

from __future__ import annotations

import os
import re
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import zstandard

from stepdown.core.calls import Broken
from stepdown.core.errors import InputError

HEAD_BYTES = 64 * 1024
EXCERPT_CHARACTERS = 300
MAX_DEPTH = 100
STDIN = "-"

_CHUNK = 256 * 1024
# One zstandard block of 4 bytes can unpack to 128 KiB, so what is unpacked at once is bounded by feeding it little.
_ZSTD_CHUNK = 1024
_NOT_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\[\]{}"]+', re.DOTALL)
_UTF8_MARK = b"\xef\xbb\xbf"


class _CutShort(Exception):
    """A packed stream that ended early or is damaged. Never leaves this module."""


def sources(paths: Iterable[str]) -> Iterator[Source]:
    """Every file under `paths`; "-" is stdin. Folders are walked in sorted order, hidden entries are skipped.

    Raises InputError where a path does not exist.
    """
    for path in paths:
        if path == STDIN:
            yield Source(STDIN)
        elif os.path.isdir(path):
            for folder, subfolders, files in os.walk(path):
                subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
                found = (os.path.join(folder, name) for name in sorted(files) if not name.startswith("."))
                yield from (Source(file) for file in found if stat.S_ISREG(os.stat(file, follow_symlinks=True).st_mode))
        elif os.path.exists(path):
            yield Source(path)
        else:
            raise InputError(
                f"There is no file or folder {path!r}.",
                'Expected a log, a folder of logs, or "-" for stdin.',
                "Check it.",
            )


class Source:
    """One log: its name and its unpacked bytes. Stdin can be read once; files again and again."""

    def __init__(self, path: str, stream: BinaryIO | None = None) -> None:
        """stream: read this in place of the file at `path`, which then is only a name."""
        self.path = path
        self._stream = stream
        self._held: tuple[bytes, Iterator[bytes]] | None = None

    @property
    def name(self) -> str:
        """The name shown to people and kept in records."""
        return "stdin" if self.path == STDIN else self.path

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    def at(self, line: int) -> str:
        """What a record read here says of its source."""
        return f"{self.name}:{line}"

    def broken(self, line: int, reason: str, raw: bytes = b"") -> Broken:
        """A record of this source that could not be read, with a bounded excerpt."""
        return Broken(source=self.name, line=line, reason=reason, raw=excerpt(raw))

    def head(self) -> bytes:
        """The first 64 KiB, unpacked; fewer where the file ends or is damaged before."""
        chunks = self._chunks()
        head = b""
        try:
            while len(head) < HEAD_BYTES and (chunk := next(chunks, b"")):
                head += chunk
        except _CutShort:
            chunks = self._chunks() if self._repeatable else iter(())
        if not self._repeatable:
            self._held = (head, chunks)
        return head[:HEAD_BYTES].removeprefix(_UTF8_MARK)

    def lines(self, limit: int) -> Iterator[tuple[int, bytes] | Broken]:
        """(line number from 1, bytes without the line end) for every line that is not blank.

        A line longer than `limit` bytes is a Broken and is not held whole; where a packed file is cut short, the line
        in which it ends is one.
        """
        number, rest, skipping = 1, b"", False
        try:
            for chunk in self._chunks():
                first, *others = chunk.split(b"\n")
                if not others and skipping:
                    continue
                rest += first
                for following in others:
                    if not skipping and len(rest) > limit:
                        yield self._too_long(number, rest, limit)
                    elif not skipping and (line := rest.strip()):
                        yield number, line
                    number, rest, skipping = number + 1, following, False
                if len(rest) > limit and not skipping:
                    yield self._too_long(number, rest, limit)
                    rest, skipping = b"", True
        except _CutShort as error:
            yield self.broken(number, str(error), rest)
            return
        if not skipping and (line := rest.strip()):
            yield number, line

    def whole(self, limit: int) -> bytes | Broken:
        """The whole file, or a Broken where it is larger than `limit` bytes or cut short."""
        parts: list[bytes] = []
        size = 0
        try:
            for chunk in self._chunks():
                size += len(chunk)
                parts.append(chunk)
                if size > limit:
                    return self.broken(0, f"larger than {limit:,} bytes, and this kind of file is read whole", parts[0])
        except _CutShort as error:
            return self.broken(0, str(error), parts[0] if parts else b"")
        return b"".join(parts)

    def _too_long(self, number: int, start: bytes, limit: int) -> Broken:
        return self.broken(number, f"the line is longer than {limit:,} bytes", start[: 4 * EXCERPT_CHARACTERS])

    @property
    def _repeatable(self) -> bool:
        return self.path != STDIN and self._stream is None

    def _chunks(self) -> Iterator[bytes]:
        """The unpacked bytes, piece by piece, without a byte order mark. Raises _CutShort."""
        if self._held is not None:
            head, rest = self._held
            self._held = None
            yield head.removeprefix(_UTF8_MARK)
            yield from rest
            return
        if not self._repeatable:
            yield from _unpacked(self._stream or sys.stdin.buffer)
            return
        try:
            with open(self.path, "rb") as file:
                yield from _unpacked(file)
        except OSError as error:
            raise InputError(
                f"{self.path!r} cannot be read: {error.strerror or error}.", "Expected a readable file.", "Check it."
            ) from None


def excerpt(raw: bytes) -> str:
    """The beginning of some bytes as printable text."""
    text = raw[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "backslashreplace")
    return text[:EXCERPT_CHARACTERS]


def too_deep(raw: bytes) -> bool:
    """Whether JSON nests deeper than MAX_DEPTH, by its brackets outside strings."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False
    brackets = _NOT_BRACKETS.sub(b"", raw)
    for _ in range(MAX_DEPTH):
        inner = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(inner) == len(brackets):
            return False  # nothing is left, or it is not JSON, which its decoder says better
        brackets = inner
    return bool(brackets)


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        yield from _gunzipped(file, start)
    elif start == b"\x28\xb5\x2f\xfd":
        yield from _unzstandarded(file, start)
    elif start:
        chunk = start + file.read(_CHUNK)
        chunk = chunk.removeprefix(_UTF8_MARK)
        while chunk:
            yield chunk
            chunk = file.read(_CHUNK)


class _Rejoined:
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, file: BinaryIO) -> None:
        self._start, self._file = start, file

    def read(self, size: int = -1) -> bytes:
        start, self._start = self._start, b""
        return start or self._file.read(size)


def _gunzipped(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    """The members of a gzip stream one after the other, at most _CHUNK bytes at a time."""
    stream = _Rejoined(start, file)
    member, packed, begun = zlib.decompressobj(31), b"", False
    while True:
        if not packed:
            packed = stream.read(_CHUNK)
            if not packed:
                break
        try:
            chunk = member.decompress(packed, _CHUNK)
        except zlib.error as error:
            if not begun and packed.strip(b"\0") == b"":
                return  # zero padding after the last member, as tape archives leave it
            raise _CutShort(f"the gzip data is damaged here: {error}") from None
        begun = True
        packed = member.unconsumed_tail or member.unused_data
        if chunk:
            yield chunk
        if member.eof:
            member, begun = zlib.decompressobj(31), False
    if begun:
        raise _CutShort("the gzip file is truncated: it ends in the middle of this line")


def _unzstandarded(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    stream = _Rejoined(start, file)
    frame, begun = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj(), False
    packed = stream.read(_ZSTD_CHUNK)
    while packed:
        try:
            chunk = frame.decompress(packed)
        except zstandard.ZstdError as error:
            raise _CutShort(f"the zstandard data is damaged here: {error}") from None
        begun = True
        packed = b""
        if frame.eof:
            packed = frame.unused_data
            frame, begun = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj(), False
        if chunk:
            yield chunk
        packed = packed or stream.read(_ZSTD_CHUNK)
    if begun:
        raise _CutShort("the zstandard file is truncated: it ends in the middle of this line")


def opened(stream: BinaryIO, name: str) -> Source:
    """A source over an open binary stream, for callers that hold bytes rather than a file."""
    return Source(name, stream)
