"""What a build folder holds beside the files that the journal lists: what the journal says of it, and its students."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from stepdown.certificate.ledger import QUESTION
from stepdown.core.certificate import Certificate
from stepdown.core.draw import ATTEMPTED, DRAWN, Draw
from stepdown.core.errors import ResourceError, TamperedError
from stepdown.core.events import Event
from stepdown.core.store import Store
from stepdown.project.builds import UNFINISHED, BuildFolder
from stepdown.project.home import make_folder


class Issuance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of the journal that issued a certificate, each as it stands there. built: the build, with the hash of each
    of its files. attempted: the attempt on the evidence; drawn: the draw of it; None where there was none."""

    version: int = 1
    built: Event
    attempted: Event | None = None
    drawn: Event | None = None


def read_issuance(folder: BuildFolder) -> Issuance:
    """What lies in a folder. Raises TamperedError."""
    try:
        return msgspec.json.decode(folder.issued.read_bytes(), type=Issuance)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TamperedError(
            f"{folder.issued} cannot be read: {error}.",
            "It was written whole.",
            "Copy the folder again, or build again.",
        ) from None


def issuance_of(store: Store, built: Event, certificate: Certificate) -> Issuance:
    """What the journal says of a build's certificate, to lie in the build's folder."""
    asked = (certificate.candidate_hash, certificate.contract_hash, certificate.evidence_hash)
    attempts = (event for event in store.events(ATTEMPTED) if tuple(map(event.data.get, QUESTION)) == asked)
    draws = (event for event in store.events(DRAWN, built.task) if is_draw(event, certificate.population.draw))
    return Issuance(built=built, attempted=next(attempts, None), drawn=next(draws, None))


def is_draw(event: Event, digest: str) -> bool:
    """Whether an event entered the draw of that digest."""
    try:
        return bool(digest) and msgspec.convert(event.data, Draw).digest == digest
    except msgspec.ValidationError:
        return False


def link_artefacts(names: Iterable[str], source: Path, target: Path) -> None:
    """Have these artefacts of one folder in another too: by hard links where the file system has them, else as copies.
    Each is there whole or not at all; one that is there stays. Raises ResourceError."""
    make_folder(target)
    for name in dict.fromkeys(names):
        if (target / name).exists():
            continue
        beside = target / f".{name}{UNFINISHED}"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            shutil.copytree(source / name, beside, copy_function=_link)
            os.replace(beside, target / name)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise ResourceError(
                f"The artefact {name[:16]}… could not be put into {target} ({error}).",
                "Nothing that was there before has changed.",
                "Free some space or check permissions, and run the same command again.",
            ) from None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
