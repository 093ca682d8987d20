"""The folder in which the processes of one gateway leave their figures for each other."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from stepdown.core.errors import StoreError
from stepdown.gateway.segments import is_held
from stepdown.gateway.snapshot import Snapshot, merged, sums_only

_LOCK, _FIGURES, _ENDED = ".lock", ".figures", "ended"
SILENT_S = 20.0
"""A process that has not told its figures for so long, and should every two seconds, does nothing: it was stopped, or
waits for a store or a disk."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class RunFolder:
    """One process's place in the folder. Who holds the lock on its own file is alive, whatever became of its number.

    The first to come into a folder where nobody is alive empties it: a gateway that was started anew counts from zero.
    What a process did that has ended stays in the totals while others live. Raises StoreError where the folder cannot
    be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._together(fcntl.LOCK_EX):
                self._tidy()
                # Held until this process ends, however it does.
                self._own = os.open(self._path(_LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._own, fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(
                f"The folder {folder} cannot be used: {error.strerror}.",
                "The gateway's processes share their figures there.",
                "Check its permissions.",
            ) from None

    def publish(self, snapshot: Snapshot) -> None:
        """Leave this process's figures for the others, whole or not at all. A full disk only keeps the old ones."""
        new = self._path(".new")
        with suppress(OSError):
            new.write_bytes(_encode(snapshot))
            new.replace(self._path(_FIGURES))

    def others(self) -> list[Snapshot]:
        """The figures of the other processes: of those that have ended or say nothing, the sums."""
        with self._together(fcntl.LOCK_SH):
            found = [self._read(path) for path in self._all(_FIGURES) if path.stem != self._name]
            ended = self._read(self._folder / _ENDED)
        return [*(one for one in found if one is not None), *([ended] if ended else [])]

    def leave(self) -> None:
        """End this process's part: its sums stay."""
        os.close(self._own)

    def _tidy(self) -> None:
        ended = [path for path in self._all(_LOCK) if not is_held(path)]
        everyone = len(ended) == len(list(self._all(_LOCK)))
        if not everyone:
            sums = [self._read(path.with_suffix(_FIGURES)) for path in ended]
            known = self._read(self._folder / _ENDED)
            total = merged([sums_only(one) for one in (*sums, known) if one is not None])
            new = self._folder / f"{_ENDED}.new"
            new.write_bytes(_encode(total))
            new.replace(self._folder / _ENDED)
        else:
            (self._folder / _ENDED).unlink(missing_ok=True)
        for path in ended:
            for suffix in (_FIGURES, ".new", _LOCK):
                path.with_suffix(suffix).unlink(missing_ok=True)

    def _read(self, path: Path) -> Snapshot | None:
        try:
            snapshot = _decode(path.read_bytes())
            told_s = time.time() - path.stat().st_mtime
        except (OSError, msgspec.MsgspecError):
            return None  # Not there yet, or of another version.
        lives = path.suffix == _FIGURES and told_s < SILENT_S and is_held(path.with_suffix(_LOCK))
        return snapshot if lives else sums_only(snapshot)

    def _all(self, suffix: str) -> Iterator[Path]:
        return self._folder.glob(f"*{suffix}")

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._name}{suffix}"

    @contextmanager
    def _together(self, how: int) -> Iterator[None]:
        """Reading keeps tidying out: what has ended is counted once, not twice and not never."""
        handle = os.open(self._folder / "folder", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)
