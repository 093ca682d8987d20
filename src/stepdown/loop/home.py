"""The project folder: where its settings, store, artefacts and builds lie."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stepdown.core.errors import ResourceError, StoreError, UsageError
from stepdown.core.store import Store
from stepdown.loop.settings import Settings, read_settings
from stepdown.stores.store import open_store


@dataclass(frozen=True)
class Home:
    """A project folder with its settings. `clock` gives seconds since the epoch; it is the loop's only clock."""

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
        """The project's store, opened and closed."""
        opened = open_store(self.settings.store or f"sqlite:{self.state / 'store.sqlite'}")
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def building(self, task: str) -> Iterator[None]:
        """One build of a task at a time; the lock goes with the process, so that a killed build leaves none."""
        import fcntl

        folder = self.builds(task)
        make_folder(folder)
        with (folder / "lock").open("w") as lock:
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
    """Make a folder and its parents. Raises ResourceError with the reason."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder {folder} cannot be made: {error.strerror}.", "", "Check permissions and free space."
        ) from None


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that it is there whole or not at all. Raises ResourceError when the disk is full."""
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
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


def safe_name(name: str) -> str:
    """A task's name as a file name: what could leave the folder or upset a file system is replaced."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:100]
    return kept.lstrip(".") or "_"
