"""Segment files: finished calls appended on this machine's disk before their answers end, until the store has them.

A record is the segment's mark, length and checksum (big-endian, 4 bytes each), payload. The mark is 8 random bytes that
are the file's name, so that no body can hold what looks like a record. A record goes out in one `write` with O_APPEND:
it survives the death of any process; a power loss only after `fdatasync`. Its writer holds a lock on a segment; one
that nobody holds is at its end. A record that was cut or damaged is passed over, and the next mark is looked for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SUFFIX, _NEW = ".segment", ".new"
ROLL_BYTES, ROLL_S = 8 << 20, 60.0
READ_BYTES, READ_RECORDS = 4 << 20, 512
_HEAD = struct.Struct("!II")
_MARK = 8
_BEFORE = _MARK + _HEAD.size


class Position(NamedTuple):
    """A place in a segment. end: bytes from its beginning; segment: its name, "" for none."""

    segment: str = ""
    end: int = 0


class SegmentWriter:
    """Appends records, to one file after the other. For one thread. Folder 0700, files 0600."""

    def __init__(self, folder: Path, roll_bytes: int = ROLL_BYTES, syncs: bool = False) -> None:
        """syncs: whether somebody asks for `unsynced`: an ended file stays open until then."""
        self._folder, self._roll_bytes, self._syncs = folder, roll_bytes, syncs
        self._handle = -1
        self._ended: list[int] = []
        self._mark = b""
        self._opened = 0.0
        self._stamp = 0
        self._name, self._end = "", 0
        self.written = 0
        """Bytes in all."""

    def append(self, payload: bytes) -> None:
        """Add a record, whole or not at all. Raises OSError where the disk does not take it."""
        if self._handle < 0:
            self._open()
        size = len(payload)
        record = b"".join((self._mark, _HEAD.pack(size, zlib.crc32(payload, size)), payload))
        went = os.write(self._handle, record)
        if went != len(record):
            try:
                os.ftruncate(self._handle, self._end)
            except OSError:
                self.close()  # What was cut stays at its end, where it is passed over.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.written += went
        self._end += went
        if self._end >= self._roll_bytes:
            self.close()

    @property
    def position(self) -> Position:
        """The end of what was appended last."""
        return Position(self._name, self._end)

    def look(self) -> None:
        """End the file where it has grown old or was deleted: the next record begins another."""
        if self._handle >= 0 and (time.monotonic() - self._opened > ROLL_S or os.fstat(self._handle).st_nlink == 0):
            self.close()

    def unsynced(self) -> list[int]:
        """Open files that hold what was appended since the last time, and the folder of new ones; for `synchronise`."""
        handles, self._ended = self._ended, []
        return [*handles, os.dup(self._handle)] if self._handle >= 0 else handles

    def close(self) -> None:
        """End the file, and let go of it."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            if self._syncs:
                self._ended.append(handle)
            else:
                os.close(handle)

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = os.urandom(_MARK)
        self._stamp = max(time.time_ns(), self._stamp + 1)  # In order, whatever the clock does.
        name = f"{self._stamp:020d}-{mark.hex()}"
        new = self._folder / (name + _NEW)
        handle = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Locked before it has its name: a file that nobody holds is taken for one at its end.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(self._folder / (name + SUFFIX))
            if self._syncs:
                self._ended.append(os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            os.close(handle)
            raise
        self._handle, self._mark, self._opened = handle, mark, time.monotonic()
        self._name, self._end = name, 0


def synchronise(handles: list[int]) -> None:
    """Have the disk itself hold what the files do, and close them. Raises OSError."""
    try:
        for handle in handles:
            os.fsync(handle) if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fdatasync(handle)
    finally:
        for handle in handles:
            os.close(handle)


class Records(NamedTuple):
    """Some of a segment's payloads in order. end: where what follows them begins; damaged: places passed over."""

    payloads: list[bytes]
    end: int
    damaged: int


def segments(folder: Path) -> list[Path]:
    """Every segment, in the order of their beginnings. Those of writers that died before their first record go."""
    for unnamed in folder.glob(f"*{_NEW}"):
        if not is_held(unnamed):
            unnamed.unlink(missing_ok=True)
    return sorted(folder.glob(f"*{SUFFIX}"))


def held_bytes(folder: Path) -> int:
    """What the segments of a folder take."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for entry in found:
            with suppress(FileNotFoundError):
                total += entry.stat().st_size if entry.name.endswith(SUFFIX) else 0
    return total


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on a file."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def read_records(path: Path, start: int, is_ended: bool) -> Records:
    """The next records of a segment; none where none is whole yet. is_ended: whether its writer has let go of it.

    What was cut at the end of an ended segment is passed over. Raises OSError.
    """
    mark = bytes.fromhex(path.stem.rpartition("-")[2])
    size = READ_BYTES
    with path.open("rb", buffering=0) as file:
        while True:
            file.seek(start)
            data = file.read(size)
            at_end = len(data) < size
            found = _parsed(data, mark, at_end and is_ended)
            if found.end or at_end:
                return Records(found.payloads, start + found.end, found.damaged)
            size *= 2  # One record larger than what is read at once.


def _parsed(data: bytes, mark: bytes, is_last: bool) -> Records:
    payloads: list[bytes] = []
    at = damaged = 0
    while at < len(data) and len(payloads) < READ_RECORDS:
        start = data.find(mark, at)
        if start < 0:
            if len(data) - at >= _BEFORE or is_last:  # No record begins so; of a mark the beginning may be there.
                damaged += 1
                at = len(data) if is_last else len(data) - _MARK + 1
            break
        damaged += start > at
        end, checksum = len(data) + 1, 0
        if start + _BEFORE <= len(data):
            length, checksum = _HEAD.unpack_from(data, start + _MARK)
            end = start + _BEFORE + length
        if end <= len(data):
            payload = data[start + _BEFORE : end]
            if zlib.crc32(payload, len(payload)) == checksum:
                payloads.append(payload)
                at = end
                continue
        following = data.find(mark, start + 1)
        if following < 0 and end > len(data) and not is_last:
            at = start  # Still to come.
            break
        damaged += 1
        # Of the next mark the beginning may be there.
        at = following if following >= 0 else len(data) if is_last else max(start + 1, len(data) - _MARK + 1)
    return Records(payloads, at, damaged)
