"""Certificates of finished builds: shown with their status, and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec

from stepdown.certificate.evidence_file import read_evidence
from stepdown.certificate.files import open_sealed
from stepdown.certificate.verify import Check, Linked, Verification, verify_files
from stepdown.core.certificate import Certificate
from stepdown.core.draw import Draw
from stepdown.core.errors import StepdownError, TamperedError
from stepdown.core.students import Progress
from stepdown.curation.dataset_file import read_dataset
from stepdown.project.builds import BuildFolder, find_build, latest
from stepdown.project.evidence_draws import ledger_events, read_draws
from stepdown.project.home import Home
from stepdown.project.in_force import Issued, Standing, answering, issued, standing
from stepdown.project.issuance import read_issuance
from stepdown.project.journal import read_journal
from stepdown.runtime.artefact import open_student

T = TypeVar("T")


def show(home: Home, task: str, build: str = "") -> tuple[Certificate, Standing, Standing | None]:
    """The certificate of a build (default: the newest) and how it stands; and of the build that answers how that one
    does, where it is another. Raises StepdownError where the certificate cannot be read."""
    with home.store() as store:
        journal = read_journal(home, store)
    folder = find_build(home, task, build) if build else latest(home, task)
    own = standing(home, journal, folder, task)
    certificate = folder.read_certificate()
    try:
        answers = answering(home, journal, task)
    except StepdownError:
        return certificate, own, None  # why it is gone is said of the one that is shown
    other = standing(home, journal, answers, task) if answers.path != folder.path else None
    return certificate, own, other


def verify_build(home: Home, task: str, progress: Progress, build: str = "") -> Verification:
    """Recompute the certificate of a build (default: the newest) from its evidence, and check everything that it
    names."""
    folder = find_build(home, task, build) if build else latest(home, task)
    progress("recomputing every bound from the evidence", 0.0)
    checks: list[Check] = []
    with home.store() as store:
        events = tuple(ledger_events(store))  # of every task: attempts on the same rows count, whatever made them
        draws = read_draws(store, task)
        journal = read_journal(home, store)
    checks.append(Check(name="journal chain", passed=not journal.why_not, detail=journal.detail))
    cascade = _checked(checks, "cascade file", folder.read_cascade)
    dataset = _checked(checks, "dataset", lambda: read_dataset(folder.dataset))
    for rung in cascade.rungs if cascade else ():
        _checked(checks, f"artefact of {rung.kind}", partial(open_student, home.artefacts / rung.artefact))
    linked = Linked(
        cascade=cascade,
        dataset=dataset.manifest if dataset else None,
        events=events,
    )
    verification = verify_files(folder.certificate, folder.evidence, linked)
    certificate = _checked(checks, "certificate file", lambda: open_sealed(folder.certificate).certificate)
    if certificate is not None:
        said = _checked(checks, "task file", lambda: issued(journal, folder, certificate)) or Issued("")
        checks.append(Check(name="journal", passed=not said.why_not, detail=said.why_not))
        if said.imported:
            checks.append(Check(name="issued by another project", passed=True, detail=str(said.imported)))
            draws = (*draws, *_imported_draws(folder))
    _checked(checks, "evidence as drawn", lambda: _check_drawn(folder, draws))
    return Verification(checks=(*checks, *verification.checks))


def _imported_draws(folder: BuildFolder) -> Iterator[Draw]:
    """The draw that came with a build of another project, as that one's journal has it."""
    with suppress(StepdownError, msgspec.ValidationError):
        drawn = read_issuance(folder).drawn
        if drawn is not None:
            yield msgspec.convert(drawn.data, Draw)


def _check_drawn(folder: BuildFolder, draws: tuple[Draw, ...]) -> None:
    """The rows of the evidence are a beginning of a draw in the journal, in its order, none left out. Raises
    TamperedError."""
    certificate = folder.read_certificate()
    named = certificate.population.draw
    if not named and not certificate.n_drawn:
        return  # nothing was drawn, or an earlier version made it
    draw = next((one for one in draws if one.digest == named), None)
    if draw is None:
        raise TamperedError("The journal has no such draw.", "", "Build the task again.")
    ids = read_evidence(folder.evidence).seen.ids
    places = [draw.place(id_) for id_ in ids]
    if places != list(range(len(ids))):
        wrong = next(place for place, position in enumerate(places) if position != place)
        raise TamperedError(
            f"Row {wrong + 1} of the evidence is not the call that was drawn there.",
            "Expected the rows of the draw in its order, from the first.",
            "Build the task again.",
        )


def _checked(checks: list[Check], name: str, read: Callable[[], T]) -> T | None:
    """What `read` returns, noted as a check that passed; None and a failed check when it cannot be read as it was."""
    try:
        value = read()
    except StepdownError as error:
        checks.append(Check(name=name, passed=False, detail=str(error)))
        return None
    checks.append(Check(name=name, passed=True))
    return value
