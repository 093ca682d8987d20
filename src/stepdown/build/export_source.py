"""What an export is made from: the build that answers a task, its cascade, certificate and evidence checked."""

from __future__ import annotations

from dataclasses import dataclass

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.evidence_file import read_evidence
from stepdown.core.certificate import Certificate
from stepdown.core.dataset import DatasetManifest
from stepdown.core.errors import DifferentAnswersError, StepdownError, TamperedError
from stepdown.core.record import BuildRecord
from stepdown.curation.dataset_file import read_dataset
from stepdown.project.builds import BuildFolder
from stepdown.project.home import Home
from stepdown.project.in_force import standing_now
from stepdown.runtime.cascade import CascadeSpec


@dataclass(frozen=True)
class Parent:
    """A build's certificate, what it rests on, and the dataset it was made from."""

    certificate: Certificate
    evidence: Evidence
    dataset: DatasetManifest


@dataclass(frozen=True)
class Source:
    """The build that is exported, everything in it checked. why: why no certificate of it is in force, or "".
    origin: a sentence on where an imported build comes from."""

    folder: BuildFolder
    record: BuildRecord
    spec: CascadeSpec
    parent: Parent
    why: str
    origin: str = ""


def source_of(home: Home, task: str, uncertified: bool) -> Source:
    """The build, everything in it checked. uncertified: also one of which no certificate is in force.

    Raises TamperedError, and StepdownError for a build that is not certified.
    """
    found = standing_now(home, task)
    if isinstance(found.error, StepdownError) and not isinstance(found.error, DifferentAnswersError):
        raise found.error
    folder = found.folder
    certificate, spec = folder.read_certificate(), folder.read_cascade()
    evidence = read_evidence(folder.evidence)
    if evidence.content_hash != certificate.evidence_file_hash:
        raise TamperedError(
            f"{folder.evidence} is not the evidence that its certificate names.", "", "Restore it, or build again."
        )
    why = found.detail if found.why_not else ""
    if not why and certificate.contract.get("privacy") == "redact":
        why = "its students were certified on texts with personal data masked, and an exported program masks nothing"
    if (why or not spec.rungs) and not (uncertified and spec.rungs):
        raise StepdownError(
            f"{task!r} cannot be exported as certified: {why or 'no student was chosen'}.",
            "An export carries the certificate of its build on.",
            f"Run: stepdown build {task}" + ("; or add --uncertified." if spec.rungs else "."),
        )
    dataset = read_dataset(folder.dataset)
    return Source(
        folder,
        folder.read_record(),
        spec,
        Parent(certificate, evidence, dataset.manifest),
        why,
        f"The build was {found.imported}." if found.imported else "",
    )
