"""A build of another project taken into this one: copied aside, checked whole, then placed whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from stepdown.certificate.hashes import contract_hash
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract, duration_text
from stepdown.core.draw import ATTEMPTED
from stepdown.core.errors import ContractError, InputError, ResourceError, StepdownError, TamperedError, UsageError
from stepdown.core.figures import moment
from stepdown.core.store import Store
from stepdown.project.builds import (
    ARTEFACTS,
    FILLED_IN,
    ISSUED,
    SHOWN_ONLY,
    UNFINISHED,
    BuildFolder,
    finished_builds,
    note_serving,
    publish,
    task_in,
)
from stepdown.project.check_build import check_build, draw_pages
from stepdown.project.home import Home, make_folder, open_private, write_whole
from stepdown.project.in_force import ImportedFrom, changing, standing, why_other_contract
from stepdown.project.issuance import Issuance, link_artefacts, read_issuance
from stepdown.project.journal import IMPORTED, Journal, read_journal
from stepdown.project.promote import chosen_if_there
from stepdown.project.settings import FILE_NAME, read_settings, settings_digest
from stepdown.runtime.artefact import MAX_FILE_BYTES, read_manifest, sha256

MOST_FILES = 2_000
LARGEST_FILE = 2 << 30
"""Of a file that is no student's, in bytes."""
_LEFT_BEHIND = SHOWN_ONLY | {FILLED_IN, "exports"}
"""What lies in a build's folder and is no part of it, or is drawn anew."""
_COPY_BYTES = 1 << 20


class ImportedBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A build that was imported. changed: False where it was here already. in_force, why_not: how it stands here now.
    before: the build that answered until then, "" where none did. contract_written: whether its contract was written
    into stepdown.toml, which had none for the task. imported: what is known of where it comes from; None where it was
    built here."""

    task: str
    build: str
    certificate: str
    changed: bool
    in_force: bool
    why_not: str
    before: str
    contract_written: bool
    imported: ImportedFrom | None


def import_build(home: Home, folder: Path) -> ImportedBuild:
    """Take a build's folder into this project, where it then answers its task if its contract is the settings' own.

    Raises UsageError, InputError for what is no build's folder or an earlier version's, TamperedError for one that does
    not verify or another build of that name, DifferentAnswersError where a student answers differently on this machine.
    Nothing has changed then.
    """
    with _copied(home, folder) as draft:
        found = check_build(draft)
        certificate, issuance = found.certificate, found.issuance
        if not certificate.is_valid_at(home.clock()):
            raise TamperedError(
                f"The certificate in {folder} does not hold now, {moment(home.clock())}.",
                f"It holds from {moment(certificate.issued_at)} to {moment(certificate.expires_at)}.",
                "Build the task again, or check the clock.",
            )
        built = issuance.built
        origin = ImportedFrom(
            at=home.clock(),
            issued_at=built.at,
            event=built.sequence,
            head=built.digest,
            attempt=certificate.attempt,
        )
        draw_pages(draft, f"The build was {origin}.")
        return _place(home, draft, issuance, certificate)


def _place(home: Home, draft: BuildFolder, issuance: Issuance, certificate: Certificate) -> ImportedBuild:
    task, name = certificate.task, str(issuance.built.data["build"])
    target = BuildFolder(home.builds(task) / name)
    with home.store() as store:
        journal = read_journal(home, store)
        _check_place(home, journal, target, draft, task)
        known = [one for one in journal.issued(task, certificate.digest) if one.data.get("build") == name]
        was_here = target.path.is_dir() and bool(known)
        # A task that was built here has its contract, be it the defaults': another's does not take its place.
        is_new = not known and not finished_builds(home, task)
        settings_written = is_new and _write_contract(home, draft, certificate)
        home = replace(home, settings=read_settings(home.folder))
        _place_artefacts(draft, home.artefacts)
        before = chosen_if_there(home, journal, task)
        with changing(home, task):
            if target.path.is_dir():
                _place_artefacts(draft, target.artefacts)
            else:
                os.replace(draft.path, target.path)
            if not known:
                _enter(home, store, (issuance, certificate), target, before)
            publish(home, task, finished_builds(home, task)[-1])
        journal.read(store)
        stands = standing(home, journal, target, task)
    return ImportedBuild(
        task=task,
        build=name,
        certificate=certificate.digest,
        changed=not was_here,
        in_force=stands.in_force,
        why_not=stands.why_not,
        before=before if before != name else "",
        contract_written=settings_written,
        imported=stands.imported,
    )


def _place_artefacts(draft: BuildFolder, to: Path) -> None:
    names = sorted(one.name for one in draft.artefacts.iterdir())
    for name in names:
        try:
            read_manifest(to / name)
        except StepdownError:  # it is not there, or damaged
            shutil.rmtree(to / name, ignore_errors=True)
    link_artefacts(names, draft.artefacts, to)


def _check_place(home: Home, journal: Journal, target: BuildFolder, draft: BuildFolder, task: str) -> None:
    """Raises TamperedError where the build may not lie where it would."""
    if journal.why_not:
        raise TamperedError(f"The journal of this project is not whole. {journal.detail}", "Nothing was changed.", "")
    other = task_in(home, target.path.parent.name)
    if other and other != task:
        raise TamperedError(
            f"The builds of the task {other!r} lie where those of {task!r} would.",
            "Two tasks whose names are one name on disk cannot be in one project.",
            "Import it into another project.",
        )
    if not target.path.is_dir():
        return
    mine, its = (
        {name: value for name, value in one.hashes().items() if name not in SHOWN_ONLY} for one in (target, draft)
    )
    if mine != its or not target.issued.exists() or read_issuance(target).built != read_issuance(draft).built:
        raise TamperedError(
            f"{task!r} has a build {target.path.name} already, with other content.",
            f"It lies in {target.path}.",
            "Check which of the two is the one that was built (stepdown certificate verify), and remove the other.",
        )


def _enter(home: Home, store: Store, what: tuple[Issuance, Certificate], target: BuildFolder, before: str) -> None:
    """Have the journal know the build, the attempts on its evidence and its task; with it the pointers follow."""
    (issuance, certificate), now, task = what, home.clock(), target.read_task()
    built, attempted = issuance.built, issuance.attempted
    if attempted is not None and not any(event.data == attempted.data for event in store.events(ATTEMPTED)):
        # What was spent of the evidence elsewhere is spent here too.
        store.append(ATTEMPTED, task.name, {**attempted.data, "others": certificate.attempt - 1}, at=now)
    if task.name not in store.tasks():
        store.put_task(task, now)
    serves = not why_other_contract(home.settings, certificate)
    fact = {
        **{"task": digest_of(task), "certificate": certificate.digest, "verdict": certificate.verdict},
        **{"cascade": certificate.cascade_hash, "build": target.path.name, "serves": serves, "before": before},
        "files": {**target.hashes(), ISSUED: sha256(target.issued)},
        "settings": settings_digest(home.folder),
        "attempt": certificate.attempt,
        "issued": {"issued_at": built.at, "event": built.sequence, "head": built.digest},
    }
    store.append(IMPORTED, task.name, fact, at=now)
    if serves:
        note_serving(home, task.name, target)


def _write_contract(home: Home, draft: BuildFolder, certificate: Certificate) -> bool:
    """Write the contract into stepdown.toml where that has none for the task. Raises ContractError where what would be
    there then is not the contract that was certified."""
    if certificate.task in home.settings.tasks:
        return False
    path = home.folder / FILE_NAME
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = _contract_lines(certificate.task, draft.read_record().contract)
    text = there + ("\n" if there and not there.endswith("\n") else "") + lines
    with tempfile.TemporaryDirectory(dir=home.state) as aside:
        (Path(aside) / FILE_NAME).write_text(text, encoding="utf-8")
        try:
            same = contract_hash(read_settings(Path(aside)).task(certificate.task).contract)
        except ContractError:
            same = ""
    if same != certificate.contract_hash:
        raise ContractError(
            f"The contract of {certificate.task!r} cannot be added to {FILE_NAME}.",
            "It is written below what is there, as [tasks.NAME.contract].",
            f"Write it yourself, and run the same command again:\n{lines}",
        )
    write_whole(path, text)
    return True


def _contract_lines(task: str, contract: Contract) -> str:
    """The contract as a table of stepdown.toml."""
    table = {name: value for name, value in msgspec.to_builtins(contract).items() if value not in (None, "", ())}
    table["expires_after"] = duration_text(table.pop("expires_after_s"))
    lines = [f"{name} = {_toml(value)}" for name, value in table.items()]
    return "\n".join(["", f"[tasks.{_toml(task)}.contract]  # of an imported build", *lines, ""])


def _toml(value: Any) -> str:
    """A text, number, truth value or list of them in TOML, which are as in JSON but for one control character."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


@contextmanager
def _copied(home: Home, folder: Path) -> Iterator[BuildFolder]:
    """A copy that nobody else can change, until the end. Raises UsageError, TamperedError, ResourceError."""
    if (folder / ".stepdown").is_dir() or not (folder / "certificate.json").is_file():
        raise UsageError(
            f"{folder} is {'a project' if (folder / '.stepdown').is_dir() else 'not the folder of a build'}.",
            "Expected the folder of one build, as it lies in .stepdown/builds/TASK/ where it was built.",
            "Copy that folder here, whole, and name it.",
        )
    if not (folder / ISSUED).exists():
        raise InputError(
            f"{folder} has no {ISSUED}: an earlier version made it, or it was copied in part.",
            "A folder that can be imported holds what its journal says of it, and its students.",
            "Copy the whole folder again, or build the task again with this version.",
        )
    import fcntl

    make_folder(home.state)
    draft = BuildFolder(home.state / f"import{UNFINISHED}")
    with open_private(home.state / "import.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # One at a time; what an import that was killed left goes.
        shutil.rmtree(draft.path, ignore_errors=True)
        try:
            _copy(folder.resolve(), draft.path)
            yield draft
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)


def _copy(folder: Path, to: Path) -> None:
    """Plain files and folders, each bounded, no link followed."""
    count = 0
    for root, directories, files in os.walk(folder, followlinks=False):
        at = Path(root).relative_to(folder)
        if at == Path():
            for names in (directories, files):
                names[:] = [name for name in names if name not in _LEFT_BEHIND]
        count += len(directories) + len(files)
        if count > MOST_FILES:
            raise _refused(folder, at, f"part of more than {MOST_FILES:,} files and folders")
        for name in directories:
            if (Path(root) / name).is_symlink():
                raise _refused(folder, at / name, "a symbolic link")
        make_folder(to / at)
        for name in files:
            most = MAX_FILE_BYTES if at.parts[:1] == (ARTEFACTS,) else LARGEST_FILE
            _copy_file(folder, at / name, to / at / name, most)


def _copy_file(folder: Path, name: Path, to: Path, most: int) -> None:
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(folder, name, f"not a plain file that can be read ({error.strerror})") from None
    with os.fdopen(handle, "rb") as source:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _refused(folder, name, "not a plain file")
        size = 0
        try:
            with to.open("xb") as target:
                while piece := source.read(_COPY_BYTES):
                    size += len(piece)
                    if size > most:
                        raise _refused(folder, name, f"larger than {most:,} bytes")
                    target.write(piece)
        except OSError as error:
            raise ResourceError(
                f"{name} could not be copied into the project: {error.strerror}.",
                "Nothing was imported.",
                "Free some space, and run the same command again.",
            ) from None


def _refused(folder: Path, name: Path, what: str) -> TamperedError:
    return TamperedError(
        f"{str(name)[:200]!r} in {folder} is {what}.",
        "The folder of a build holds its own plain files, of bounded number and size.",
        "Copy the folder again from where it was built, or do not trust it.",
    )
