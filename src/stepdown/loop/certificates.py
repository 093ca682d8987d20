"""Certificates of finished builds: whether one stands, and whether it still follows from what it names."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from stepdown.certificate.certify import is_valid_at
from stepdown.certificate.files import open_sealed
from stepdown.certificate.verify import Check, Linked, Verification, verify_files
from stepdown.core.certificate import Certificate
from stepdown.core.errors import StepdownError
from stepdown.core.students import Progress
from stepdown.curation.dataset_file import read_dataset
from stepdown.loop.home import Home
from stepdown.loop.records import latest
from stepdown.students.artefact import open_student

T = TypeVar("T")


def why_not_in_force(certificate: Certificate, now: float) -> str:
    """ "" when answers may rest on it at `now`, else the reason in plain words."""
    if is_valid_at(certificate, now):
        return ""
    if certificate.verdict != "certified":
        return "the certificate was refused"
    if now >= certificate.expires_at:
        lapsed = time.strftime("%Y-%m-%d", time.gmtime(certificate.expires_at))
        return f"the certificate lapsed on {lapsed}"
    return "the certificate is not in force yet; check the clock"


def verify_latest(home: Home, task: str, progress: Progress) -> Verification:
    """Recompute the newest certificate of a task from its evidence, and check everything that it names."""
    folder = latest(home, task)
    progress("recomputing every bound from the evidence", 0.0)
    with home.store() as store:
        events = tuple(store.events(task=task))
    built = {event.data.get("certificate") for event in events if event.kind == "built"}
    checks: list[Check] = []
    cascade = _checked(checks, "cascade file", folder.read_cascade)
    dataset = _checked(checks, "dataset", lambda: read_dataset(folder.dataset))
    for rung in cascade.rungs if cascade else ():
        _checked(checks, f"artefact of {rung.kind}", partial(open_student, home.artefacts / rung.artefact))
    linked = Linked(
        cascade=cascade,
        dataset=dataset.manifest if dataset else None,
        events=tuple(event for event in events if event.kind == "certificate-attempted"),
    )
    found = verify_files(folder.certificate, folder.evidence, linked)
    digest = _checked(checks, "certificate file", lambda: open_sealed(folder.certificate).certificate.digest)
    known = digest is None or digest in built
    checks.append(Check(name="journal", passed=known, detail="" if known else "the journal knows no such certificate"))
    return Verification(checks=(*checks, *found.checks))


def _checked(checks: list[Check], name: str, read: Callable[[], T]) -> T | None:
    """What `read` returns, noted as a check that passed; None and a failed check when it cannot be read as it was."""
    try:
        found = read()
    except StepdownError as error:
        checks.append(Check(name=name, passed=False, detail=str(error)))
        return None
    checks.append(Check(name=name, passed=True))
    return found
