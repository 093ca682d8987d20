"""Certificates that left the project: of an exported folder, or of a copied build, checked by what lies there. Nothing
is written, so that the folder may be one that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from stepdown.certificate.evidence_file import read_evidence
from stepdown.certificate.files import read_certificate
from stepdown.certificate.verify import Check, Linked, Verification, verify, verify_hashes
from stepdown.core.canonical import canonical_json
from stepdown.core.certificate import Certificate
from stepdown.core.errors import InputError, StepdownError, UsageError
from stepdown.core.exports import MANIFEST, ExportedRung, ExportManifest
from stepdown.curation.dataset_file import read_dataset
from stepdown.project.builds import ARTEFACTS, BuildFolder
from stepdown.runtime.artefact import open_student, sha256
from stepdown.runtime.cascade import CascadeSpec
from stepdown.runtime.run import CODE

T = TypeVar("T")

LARGEST_JSON = 64 << 20


@dataclass(frozen=True)
class Checked:
    """What a folder is ("export" or "build"), what was checked, and what could not be for want of something that is not
    there. recomputed: whether every bound was recomputed from the evidence. certificate: None where it cannot be read.
    """

    kind: str
    verification: Verification
    recomputed: bool
    left_out: tuple[str, ...]
    certificate: Certificate | None


def is_certified_folder(path: Path) -> bool:
    """Whether this is the folder of an export or of a build."""
    return path.is_dir() and any((path / name).is_file() for name in (MANIFEST, "certificate.json"))


def verify_folder(folder: Path, evidence: Path | None = None) -> Checked:
    """Check an export or a build by what lies in its folder. evidence: a file to recompute the certificate from; that
    of a build lies in its folder. Raises UsageError for a folder that is neither."""
    if (folder / ".stepdown").is_dir():
        raise UsageError(
            f"{folder} is a project.",
            "Expected an exported folder, or the folder of a build.",
            f"Run: stepdown certificate verify TASK --home {folder}",
        )
    if not is_certified_folder(folder):
        raise UsageError(
            f"{folder} is neither an exported folder nor a build's.",
            f"The first has a {MANIFEST}, the second a certificate.json.",
            "Check the path.",
        )
    return _verify_export(folder, evidence) if (folder / MANIFEST).is_file() else _verify_build(folder, evidence)


def _verify_export(folder: Path, evidence: Path | None) -> Checked:
    checks: list[Check] = []
    manifest = _checked(checks, "manifest", lambda: _decoded(folder / MANIFEST, ExportManifest))
    if manifest is None:
        return Checked("export", Verification(checks=tuple(checks)), False, (), None)
    checks += _files(folder, manifest)
    if manifest.verdict != "certified":
        reason = f"it was exported without one: {manifest.why_uncertified}"
        checks.append(Check(name="certificate", passed=False, detail=reason))
        return Checked("export", Verification(checks=tuple(checks)), False, (), None)
    certificate = _checked(checks, "certificate", lambda: read_certificate(folder / "certificate.json"))
    if certificate is None:
        return Checked("export", Verification(checks=tuple(checks)), False, (), None)
    checks.append(_same("certificate of the manifest", manifest.certificate, certificate.digest))
    checks.append(_same("cascade of the manifest", manifest.cascade, certificate.cascade_hash))
    checks.append(_same("task", manifest.task, certificate.task))
    checks += [_model(folder, rung) for rung in manifest.rungs]
    _checked(checks, "cascade that is run", lambda: _check_cascade(folder, manifest, certificate))
    missing = "the evidence, which stays in the project that exported it; to recompute every bound: --evidence FILE"
    return _with_evidence("export", checks, certificate, evidence, (missing,))


def _verify_build(folder: Path, evidence: Path | None) -> Checked:
    build, checks, left_out = BuildFolder(folder), list[Check](), []
    certificate = _checked(checks, "certificate", build.read_certificate)
    cascade = _checked(checks, "cascade file", build.read_cascade)
    dataset = _checked(checks, "dataset", lambda: read_dataset(build.dataset))
    # In its project the students are served from there; a copied folder has its own.
    places = [one for one in (folder.absolute().parent.parent.parent / ARTEFACTS, build.artefacts) if one.is_dir()]
    for place in places:
        for rung in cascade.rungs if cascade else ():
            artefact = place / PurePosixPath(rung.artefact).name
            _checked(checks, f"artefact of {rung.kind}", partial(open_student, artefact))
    if not places:
        left_out.append("the students, which lie in the project's .stepdown/artefacts")
    left_out.append("whether a journal issued the certificate: in the project, stepdown certificate verify TASK")
    if certificate is None:
        return Checked("build", Verification(checks=tuple(checks)), False, tuple(left_out), None)
    linked = Linked(certificate.digest, None, cascade, dataset.manifest if dataset else None)
    return _with_evidence("build", checks, certificate, evidence or build.evidence, tuple(left_out), linked)


def _with_evidence(
    kind: str,
    checks: list[Check],
    certificate: Certificate,
    evidence: Path | None,
    left_out: tuple[str, ...],
    linked: Linked | None = None,
) -> Checked:
    """The rest: everything recomputed where there is evidence, else the hashes alone."""
    linked = linked or Linked(certificate.digest)
    if evidence is None:
        checks += verify_hashes(certificate, linked).checks
        return Checked(kind, Verification(checks=tuple(checks)), False, left_out, certificate)
    read = _checked(checks, "evidence", lambda: read_evidence(evidence))
    checks += (verify(certificate, read, linked) if read else verify_hashes(certificate, linked)).checks
    rest = left_out if kind == "build" else ()
    return Checked(kind, Verification(checks=tuple(checks)), read is not None, rest, certificate)


def _files(folder: Path, manifest: ExportManifest) -> Iterator[Check]:
    """One check where all are as they were exported, else one for each that is not."""
    wrong = {
        name: problem for name, known in sorted(manifest.files.items()) if (problem := _changed(folder, name, known))
    }
    code = (path for path in folder.rglob("*") if path.suffix in CODE)
    added = sorted({path.relative_to(folder).as_posix() for path in code} - manifest.files.keys())
    wrong |= dict.fromkeys(added, "it is no part of the export, and could be loaded")
    for name, problem in wrong.items():
        yield Check(name=f"file {name}", passed=False, detail=problem)
    if not wrong:
        yield Check(name=f"files ({len(manifest.files)})", passed=True)


def _changed(folder: Path, name: str, known: str) -> str:
    """What is wrong with a file of the manifest; "" for nothing."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        return "it may not be in an export"
    if not (folder / name).is_file():
        return "it is missing"
    return "" if sha256(folder / name) == known else "its hash is another"


def _model(folder: Path, rung: ExportedRung) -> Check:
    """Whether a model's own list of files, by which certificates name it, is of the files that lie there."""
    place = rung.folder if rung.model.program else "."
    for name, known in sorted(rung.model.files.items()):
        own = name if name.startswith("models/") else PurePosixPath(place, name).as_posix()
        if problem := _changed(folder, own, known):
            return Check(name=f"model {rung.model.kind}", passed=False, detail=f"{own}: {problem}")
    return Check(name=f"model {rung.model.kind}", passed=True)


def _check_cascade(folder: Path, manifest: ExportManifest, certificate: Certificate) -> None:
    """cascade.json, which the program follows, says what is certified. Raises InputError."""
    spec = msgspec.convert(certificate.cascade, CascadeSpec)
    run = _decoded(folder / "cascade.json", dict)
    certified = [
        {**msgspec.structs.asdict(rung), "folder": exported.folder}
        for rung, exported in zip(spec.rungs, manifest.rungs, strict=True)
    ]
    # Exports of earlier versions call it a model.
    rungs = [{**one, "artefact": one.get("artefact", one.get("model"))} for one in run.get("rungs", ())]
    there = [{name: rung.get(name) for name in certified[0]} for rung in rungs] if certified else []
    of_manifest = [rung.model.digest for rung in manifest.rungs]
    if canonical_json(there) != canonical_json(certified) or of_manifest != [one["artefact"] for one in certified]:
        raise InputError("Its rungs are not those that the certificate names.", "", "Export it again.")
    if run.get("certified_until") != certificate.expires_at or run.get("task") != certificate.task:
        raise InputError("Its task or expiry differs from the certificate.", "", "Export it again.")


def _decoded(path: Path, kind: type[T]) -> T:
    if not path.is_file() or path.stat().st_size > LARGEST_JSON:
        raise InputError(f"{path.name} is missing, or too large.", "", "Copy the whole folder again.")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path.name} cannot be read: {error}.", "", "Copy the whole folder again.") from None


def _checked(checks: list[Check], name: str, read: Callable[[], T]) -> T | None:
    """What `read` returns, noted as a check that passed; None and a failed check where it raises."""
    try:
        value = read()
    except (StepdownError, OSError, msgspec.MsgspecError, ValueError, TypeError, AttributeError) as error:
        problem = str(error) if isinstance(error, StepdownError) else f"it cannot be read ({type(error).__name__})"
        checks.append(Check(name=name, passed=False, detail=problem))
        return None
    checks.append(Check(name=name, passed=True))
    return value


def _same(name: str, got: object, expected: object) -> Check:
    passed = got == expected
    return Check(name=name, passed=passed, detail="" if passed else f"got {got}, expected {expected}")
