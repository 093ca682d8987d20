"""Builds on disk: a folder each, and which is the newest. A folder appears whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stepdown.certificate.files import open_sealed, read_certificate
from stepdown.certificate.planning import Expected
from stepdown.core.canonical import canonical_json
from stepdown.core.certificate import Certificate
from stepdown.core.errors import NotEnoughData, StepdownError, TamperedError, UsageError, nearest
from stepdown.core.record import BuildRecord
from stepdown.core.tasks import Task
from stepdown.project.home import Home, safe_name, write_whole
from stepdown.runtime.cascade import CascadeSpec

T = TypeVar("T")

LATEST, SERVING = "latest", "serving"
UNFINISHED = ".unfinished"
SHOWN_ONLY = frozenset({"report.html", "model-card.md"})
"""Files of a build that people read and nothing else does."""
SHOWN_BUILDS = 8
FILLED_IN = "labels-to-fill-in.csv"
ISSUED, ARTEFACTS = "issued.json", "artefacts"
"""What a build's folder holds beside the files that the journal lists: what the journal says of it, which comes after
them, and the students, which are named by their own hashes."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Of a draw (by its digest) the places of the calls on which a student of the build differs from the incumbent.

    expected: what tune says of the build's candidate. graded: whether losses lie between 0 and 1.
    """

    draw: str
    places: frozenset[int]
    expected: Expected
    graded: bool


@dataclass(frozen=True)
class BuildFolder:
    """One build's files."""

    path: Path

    @property
    def record(self) -> Path:
        return self.path / "record.json"

    @property
    def certificate(self) -> Path:
        return self.path / "certificate.json"

    @property
    def cascade(self) -> Path:
        return self.path / "cascade.json"

    @property
    def fields(self) -> Path:
        """How sure each student is of each field, as calibrators; only of answers that have fields."""
        return self.path / "fields.json"

    @property
    def task(self) -> Path:
        return self.path / "task.json"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence.jsonl"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def model_card(self) -> Path:
        return self.path / "model-card.md"

    @property
    def labels(self) -> Path:
        return self.path / FILLED_IN

    @property
    def template(self) -> Path:
        """How the incumbent phrases an answer, as it was when the build was made."""
        return self.path / "response-template.json"

    @property
    def pending(self) -> Path:
        """Which calls of the draw need a label, as far as this build's students tell."""
        return self.path / "to-label.json"

    @property
    def issued(self) -> Path:
        """What the journal that issued the certificate says of it; of builds of earlier versions there is none."""
        return self.path / ISSUED

    @property
    def artefacts(self) -> Path:
        """The students that the cascade names, so that the folder is complete."""
        return self.path / ARTEFACTS

    def read_pending(self) -> Pending | None:
        return _read(self.pending, Pending) if self.pending.exists() else None

    def read_record(self) -> BuildRecord:
        return _read(self.record, BuildRecord)

    def read_certificate(self) -> Certificate:
        return read_certificate(self.certificate)

    def read_cascade(self) -> CascadeSpec:
        return _read(self.cascade, CascadeSpec)

    def read_fields(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By artefact and field; {} where answers have no fields."""
        return _read(self.fields, dict[str, dict[str, dict[str, Any]]]) if self.fields.exists() else {}

    def read_task(self) -> Task:
        return _read(self.task, Task)

    def hashes(self) -> dict[str, str]:
        """The sha256 of every file by name, but of the one that people fill in, of what the journal says, and of the
        students. Raises OSError."""
        names = (path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())
        own = (name for name in names if name not in (FILLED_IN, ISSUED) and not name.startswith(f"{ARTEFACTS}/"))
        return {name: _sha256(self.path / name) for name in sorted(own)}

    def changed(self, files: Mapping[str, str]) -> list[str]:
        """The names of those files that are not there, or not with that sha256. Raises OSError."""
        return [
            name
            for name, known in files.items()
            if not (self.path / name).is_file() or _sha256(self.path / name) != known
        ]

    def write(self, path: Path, value: object) -> None:
        write_whole(path, canonical_json(value) + b"\n")


def publish(home: Home, task: str, folder: BuildFolder, serve: bool = False) -> None:
    """Make a finished build the task's newest, in one step; with `serve` also the one that answers."""
    if serve:
        note_serving(home, task, folder)
    write_whole(home.builds(task) / LATEST, folder.path.name)


def note_serving(home: Home, task: str, folder: BuildFolder) -> None:
    """Write down for people and for earlier versions which build answers; the journal decides."""
    write_whole(home.builds(task) / SERVING, folder.path.name)


def latest(home: Home, task: str) -> BuildFolder:
    """The newest finished build of a task. Raises NotEnoughData when there is none."""
    there = finished_builds(home, task)
    if there and not (home.builds(task) / LATEST).exists():
        return there[-1]
    return pointed_at(home, task, LATEST)


def pointed_at(home: Home, task: str, which: str) -> BuildFolder:
    """The build that a file of the task's folder names. Raises NotEnoughData, TamperedError where it is gone."""
    try:
        name = (home.builds(task) / which).read_text(encoding="utf-8", errors="replace").strip()[:200]
    except FileNotFoundError:
        raise _not_built(home, task) from None
    return build_named(home, task, name, which)


def build_named(home: Home, task: str, name: str, which: str = SERVING) -> BuildFolder:
    """The folder of a build of that name. which: what it is to its task. Raises TamperedError where it is gone."""
    folder = BuildFolder(home.builds(task) / Path(name).name)
    if not Path(name).name or not folder.path.is_dir():
        raise TamperedError(
            f"The {which} build of {task!r} ({name!r}) is gone.",
            f"Its folder was in {home.builds(task)}.",
            f"Restore it from a backup, promote another (stepdown builds {task}), or run: stepdown build {task}",
        )
    return folder


def finished_builds(home: Home, task: str) -> list[BuildFolder]:
    """Every finished build of a task that is there, the oldest first."""
    parent = home.builds(task)
    if not parent.is_dir():
        return []
    named = (path for path in parent.iterdir() if path.name[:1].isdigit() and not path.name.endswith(UNFINISHED))
    return [BuildFolder(path) for path in sorted(named) if path.is_dir()]


def find_build(home: Home, task: str, asked: str) -> BuildFolder:
    """The build of a task that somebody means: by the beginning of its name or of its certificate's digest.

    Raises NotEnoughData where the task was never built, UsageError where none or several are meant.
    """
    there = finished_builds(home, task)
    if not there:
        raise _not_built(home, task)
    found = [one for one in there if one.path.name == asked] or [one for one in there if _is_meant(one, asked)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.path.name for one in (found or there)[-SHOWN_BUILDS:])
    got = f"{len(found)} builds of {task!r} begin with" if found else f"{task!r} has no build"
    raise UsageError(
        f"{got} {asked[:100]!r}.",
        f"{'Those are' if found else 'There are'}: {names}.",
        f"Give the whole name; see: stepdown builds {task}",
    )


def _is_meant(folder: BuildFolder, asked: str) -> bool:
    if not asked:
        return False
    try:
        digest = open_sealed(folder.certificate).certificate.digest
    except (StepdownError, OSError):
        digest = ""  # One that cannot be read is still known by its name.
    return folder.path.name.startswith(asked) or digest.startswith(asked)


def _not_built(home: Home, task: str) -> NotEnoughData:
    built = sorted(pointer.parent.name for pointer in (home.state / "builds").glob(f"*/{LATEST}"))
    close = nearest(safe_name(task), built)
    return NotEnoughData(
        f"{task!r} has no finished build in {home.folder}.",
        f"Built: {', '.join(built) or 'none here; another project is named with --home'}.",
        f"Did you mean {close!r}?" if close else f"Run: stepdown build {task}",
    )


def built_tasks(home: Home) -> list[str]:
    """The names of tasks that have a finished build. One whose builds cannot be read goes by the name of its folder."""
    return [task_in(home, folder) or folder for folder in folders_of_tasks(home)]


def folders_of_tasks(home: Home) -> list[str]:
    """The names of the folders of tasks that have a finished build."""
    folders = sorted(path for path in (home.state / "builds").glob("*") if path.is_dir())
    return [path.name for path in folders if (path / LATEST).exists() or finished_builds(home, path.name)]


def task_in(home: Home, folder: str) -> str:
    """The task whose builds lie in a folder, as the newest that can be read says; "" where none can."""
    for build in reversed(finished_builds(home, folder)):
        try:
            return build.read_task().name
        except (StepdownError, OSError):
            continue
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise TamperedError(f"{path} is missing.", "Every build has one.", "Build the task again.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TamperedError(
            f"{path} cannot be read: {error}.", "It was written whole.", "Build the task again."
        ) from None
