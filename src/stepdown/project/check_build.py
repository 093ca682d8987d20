"""A build's folder by itself: whether all that it holds follows from what its journal and its certificate say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import zstandard

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.evidence_file import read_evidence
from stepdown.certificate.hashes import contract_hash
from stepdown.certificate.ledger import QUESTION
from stepdown.certificate.verify import Linked, verify
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate
from stepdown.core.draw import Draw
from stepdown.core.errors import InputError, StepdownError, TamperedError
from stepdown.core.events import Event
from stepdown.curation.dataset_file import EXAMPLES_FILE, EXCLUDED_FILE, read_dataset
from stepdown.project.builds import ARTEFACTS, ISSUED, SHOWN_ONLY, BuildFolder
from stepdown.project.home import write_whole
from stepdown.project.issuance import Issuance, read_issuance
from stepdown.project.journal import BUILT
from stepdown.project.response_template import thaw
from stepdown.report.model_card import render_model_card
from stepdown.report.render import render
from stepdown.runtime.artefact import open_student
from stepdown.runtime.cascade import CascadeSpec

T = TypeVar("T")

LARGEST_JSON = 256 << 20
LARGEST_DATASET = 4 << 30
"""Of a file of the dataset when it is unpacked, in bytes."""
LONGEST_NAME = 200
_ARTEFACT = re.compile(r"[0-9a-f]{64}")
_COPY_AGAIN = "Copy the whole folder again from where it was built, or do not trust it."


@dataclass(frozen=True)
class CheckedBuild:
    """A build that holds together: its certificate, and what the journal that issued it says."""

    certificate: Certificate
    issuance: Issuance


def check_build(folder: BuildFolder) -> CheckedBuild:
    """Check everything in a folder that nobody else can change meanwhile: every hash, the certificate recomputed from
    its evidence, the evidence against its draw, the attempt, the students' answers to their probes.

    Raises TamperedError, InputError; DifferentAnswersError where a student answers differently on this machine.
    """
    return _guarded(lambda: _check(folder))


def draw_pages(folder: BuildFolder, note: str) -> None:
    """Draw the pages that people read from a build's record, with a note. Raises TamperedError."""
    record = folder.read_record()
    write_whole(folder.report, _guarded(lambda: render(record, note)))
    write_whole(folder.model_card, _guarded(lambda: render_model_card(record, note)))


def _guarded(read: Callable[[], T]) -> T:
    try:
        return read()
    except StepdownError:
        raise
    except Exception as error:  # noqa: BLE001 a folder's outermost boundary: its files may hold anything
        raise TamperedError(
            f"The folder holds a file that cannot be read ({type(error).__name__}).",
            "Every file of a build is as the build wrote it.",
            _COPY_AGAIN,
        ) from None


def _check(folder: BuildFolder) -> CheckedBuild:
    for path in folder.path.glob("*.json"):
        if path.stat().st_size > LARGEST_JSON:
            raise _differs(path.name, f"{path.stat().st_size:,} bytes", f"at most {LARGEST_JSON:,}")
    issuance = read_issuance(folder)
    if issuance.version != 1:
        raise InputError(
            f"{ISSUED} has format version {issuance.version}.", "This stepdown reads version 1.", "Upgrade stepdown."
        )
    _check_events(issuance)
    _check_files(folder, issuance)
    certificate, task, spec = folder.read_certificate(), folder.read_task(), folder.read_cascade()
    _same("the certificate in the journal", issuance.built.data.get("certificate"), certificate.digest)
    if certificate.verdict != "certified":
        raise TamperedError(
            f"The build of {certificate.task!r} was refused: nothing may answer under it.",
            "Only a certified build can be imported.",
            "Import another build of the task.",
        )
    record, built = folder.read_record(), issuance.built
    name = f"{int(record.created_at * 1000):015d}-{certificate.digest[:8]}"
    _same("the build's name in the journal", built.data.get("build"), name)
    _same("the task in the journal", built.data.get("task"), digest_of(task))
    _same("the task's name", (task.name, built.task), (certificate.task, certificate.task))
    _same("the record's certificate", record.certificate.digest, certificate.digest)
    _same("the record's contract", contract_hash(record.contract), certificate.contract_hash)
    _same("the cascade", spec.digest, certificate.cascade_hash)
    if not task.name.isprintable() or not 0 < len(task.name) <= LONGEST_NAME:
        raise _differs("the task's name", repr(task.name[:LONGEST_NAME]), "a printable name")
    if thaw(folder.template.read_bytes()) is None:
        raise _differs(folder.template.name, "nothing", "how the incumbent phrases an answer")
    _check_proof(folder, issuance, certificate, spec)
    _check_students(folder, spec)
    return CheckedBuild(certificate, issuance)


def _check_events(issuance: Issuance) -> None:
    for event in filter(None, (issuance.built, issuance.attempted, issuance.drawn)):
        if event.sealed().digest != event.digest:
            raise _differs(f"event {event.sequence} in {ISSUED}", "another content", "what its hash is of")
    _same(f"the event in {ISSUED}", issuance.built.kind, BUILT)


def _check_files(folder: BuildFolder, issuance: Issuance) -> None:
    """The files are those that the journal lists, no more and no fewer, with their hashes. What only people read is not
    looked at."""
    there, known = folder.hashes(), dict(issuance.built.data.get("files") or {})
    for name in sorted((there.keys() | known.keys()) - SHOWN_ONLY):
        if name not in there:
            raise _differs(f"{name[:LONGEST_NAME]!r} of the folder", "nothing", "the file that the journal lists")
        if name not in known:
            raise _differs(f"{name[:LONGEST_NAME]!r} of the folder", "a file", "nothing: the journal does not list it")
        _same(f"the hash of {name[:LONGEST_NAME]!r}", there[name], known[name])


def _check_proof(folder: BuildFolder, issuance: Issuance, certificate: Certificate, spec: CascadeSpec) -> None:
    for name in (EXAMPLES_FILE, EXCLUDED_FILE):
        _check_unpacked(folder, name)
    evidence = read_evidence(folder.evidence)
    attempted = _attempt_of(issuance, certificate)
    manifest = read_dataset(folder.dataset).manifest
    found = verify(certificate, evidence, Linked(certificate.digest, None, spec, manifest, (attempted,)))
    if not found.passed:
        failed = found.failures[0]
        names = ", ".join(check.name for check in found.failures)
        raise TamperedError(
            f"The certificate does not follow from its evidence: {names}. {failed.name}: {failed.detail[:500]}.",
            "Every number in it is recomputed from the evidence in the folder.",
            _COPY_AGAIN,
        )
    _check_drawn(issuance.drawn, certificate, evidence)


def _attempt_of(issuance: Issuance, certificate: Certificate) -> Event:
    """The event of the attempt; attempts before it, which the other journal has, count by their number."""
    event = issuance.attempted
    if event is None:
        raise _differs(ISSUED, "no attempt", "the event of the attempt that the certificate rests on")
    asked = (certificate.candidate_hash, certificate.contract_hash, certificate.evidence_hash)
    _same(f"the attempt in {ISSUED}", tuple(map(event.data.get, QUESTION)), asked)
    _same(f"the number of the attempt in {ISSUED}", event.data.get("attempt"), certificate.attempt)
    return msgspec.structs.replace(event, data={**event.data, "others": certificate.attempt - 1})


def _check_drawn(event: Event | None, certificate: Certificate, evidence: Evidence) -> None:
    if event is None:
        raise _differs(ISSUED, "no draw", "the event of the draw that the evidence is from")
    draw = msgspec.convert(event.data, Draw)
    _same("the draw of the evidence", draw.digest, certificate.population.draw)
    places = [draw.place(name) for name in evidence.seen.ids]
    if places != list(range(len(places))):
        raise _differs("the evidence", "other calls", "the draw from its first call on, none left out")


def _check_unpacked(folder: BuildFolder, name: str) -> None:
    size = 0
    with (
        (folder.dataset / name).open("rb") as raw,
        zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw) as stream,
    ):
        while piece := stream.read(1 << 20):
            size += len(piece)
            if size > LARGEST_DATASET:
                raise _differs(name, "more", f"at most {LARGEST_DATASET:,} bytes when unpacked")


def _check_students(folder: BuildFolder, spec: CascadeSpec) -> None:
    named = {rung.artefact for rung in spec.rungs}
    there = {path.name for path in folder.artefacts.iterdir()} if folder.artefacts.is_dir() else set()
    _same(f"the folder {ARTEFACTS!r}", sorted(there), sorted(named))
    for name in sorted(named):
        if _ARTEFACT.fullmatch(name) is None:
            raise _differs("the cascade", repr(name[:LONGEST_NAME]), "the hash of an artefact")
        open_student(folder.artefacts / name)


def _same(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise _differs(what, str(got)[:LONGEST_NAME], str(expected)[:LONGEST_NAME])


def _differs(what: str, got: str, expected: str) -> TamperedError:
    return TamperedError(
        f"Of the build {what} is not what it should be: got {got}.", f"Expected {expected}.", _COPY_AGAIN
    )
