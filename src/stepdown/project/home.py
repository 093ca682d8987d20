"""The project folder: where its settings, store, artefacts and builds lie."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import ResourceError, StepdownError, StoreError, UsageError
from stepdown.core.events import Anchor, Event, anchor_of
from stepdown.core.store import Store
from stepdown.project.settings import Settings, read_settings
from stepdown.stores.store import open_store


@dataclass(frozen=True)
class Home:
    """A project folder with its settings. `clock` gives seconds since the epoch; no other clock is read."""

    folder: Path
    settings: Settings
    clock: Callable[[], float] = field(default=time.time)

    @property
    def state(self) -> Path:
        return self.folder / ".stepdown"

    @property
    def artefacts(self) -> Path:
        return self.state / "artefacts"

    @property
    def capture(self) -> Path:
        """Where calls lie that gateways answered and that the store lacks."""
        return self.state / "capture"

    def builds(self, task: str) -> Path:
        return self.state / "builds" / safe_name(task)

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The project's store, opened and closed. The head of its journal is kept beside it."""
        opened = open_store(self.settings.store or f"sqlite:{self.state / 'store.sqlite'}")
        if not self.settings.store.startswith("memory:"):
            opened.on_append(partial(self._keep_head, opened))
        try:
            yield opened
        finally:
            opened.close()

    @property
    def head(self) -> Path:
        """The journal's head as this folder last saw it: what was cut off the end of the journal shows against it."""
        return self.state / "journal-head"

    @property
    def signature(self) -> Path:
        """The journal's head as it was signed last."""
        return self.state / "journal-signature.json"

    def _keep_head(self, store: Store, event: Event) -> None:
        """Several processes append: the highest is kept. One that the journal does not continue stays, and is seen; one
        that cannot be written is only older than it could be."""
        import fcntl

        with suppress(OSError, StepdownError, msgspec.MsgspecError, UnicodeDecodeError):
            make_folder(self.state)
            with open_private(self.head.with_suffix(".lock"), "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known = anchor_of(None)
                if self.head.exists():
                    known = msgspec.json.decode(self.head.read_bytes(), type=Anchor)
                there = store.event_at(known.events) if known.events else None
                if event.sequence > known.events and anchor_of(there) == known:
                    write_whole(self.head, canonical_json(anchor_of(event)) + b"\n")

    @contextmanager
    def building(self, task: str) -> Iterator[None]:
        """One build of a task at a time; the lock goes with the process, so that a killed build leaves none."""
        import fcntl

        folder = self.builds(task)
        make_folder(folder)
        with open_private(folder / "lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"Another build of {task!r} is running in {self.folder}.",
                    "One at a time is allowed for a task.",
                    "Wait for it to end, or stop it.",
                ) from None
            yield


def open_home(folder: str | os.PathLike[str] | None = None) -> Home:
    """The home in `folder` (default: the current directory). Raises UsageError when there is no such folder."""
    path = Path(folder) if folder is not None else Path.cwd()
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder.", "Expected a project folder.", "Make it, or pass another --home.")
    return Home(folder=path.resolve(), settings=read_settings(path))


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, for its owner alone. Raises ResourceError with the reason."""
    try:
        for parent in (*reversed(folder.parents), folder):
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder {folder} cannot be made: {error.strerror}.", "", "Check permissions and free space."
        ) from None


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file, for its owner alone, so that it is there whole or not at all. Raises ResourceError when the disk is
    full."""
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        with open_private(part, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResourceError(
            f"{path} could not be written: {error.strerror}.",
            "Nothing that was there before has changed.",
            "Free some space or check permissions, and run the same command again.",
        ) from None


def open_private(path: Path, mode: Literal["wb"]) -> BinaryIO:
    """Open a file to write it anew; one that is made is its owner's alone."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def safe_name(name: str) -> str:
    """A task's name as a file name: what could leave the folder or upset a file system is replaced."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:100]
    return kept.lstrip(".") or "_"
