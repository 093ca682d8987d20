"""Certificates of finished builds: whether one stands, and whether it still follows from what it names."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from stepdown.certificate.certify import is_valid_at
from stepdown.certificate.evidence import read_evidence
from stepdown.certificate.files import open_sealed
from stepdown.certificate.hashes import contract_hash, contract_table, read_contract
from stepdown.certificate.verify import Check, Linked, Verification, verify_files
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.draw import Draw
from stepdown.core.errors import StepdownError, TamperedError
from stepdown.core.students import Progress
from stepdown.curation.dataset_file import read_dataset
from stepdown.loop.drawing import ledger_events, read_draws
from stepdown.loop.home import Home
from stepdown.loop.journal import Journal, read_journal
from stepdown.loop.records import SHOWN_ONLY, BuildFolder, chosen_to_serve, latest
from stepdown.loop.settings import FILE_NAME, Settings
from stepdown.students.artefact import open_student

T = TypeVar("T")

UNSIGNED = "the journal is not signed up to this certificate; run stepdown audit sign"
_OTHER = "the certificate is for another contract: "


def why_not_in_force(home: Home, certificate: Certificate, not_issued: str) -> str:
    """ "" when answers may rest on the certificate now, else the reason in plain words.

    In force is a certificate that was granted, has not lapsed, is for the contract in the settings, and was issued by
    the journal. not_issued: what `issued` says against that. Whether artefacts are whole is seen when they are opened.
    """
    now = home.clock()
    if not is_valid_at(certificate, now):
        if certificate.verdict != "certified":
            return "the certificate was refused"
        if now >= certificate.expires_at:
            lapsed = time.strftime("%Y-%m-%d", time.gmtime(certificate.expires_at))
            return f"the certificate lapsed on {lapsed}"
        return "the certificate is not in force yet; check the clock"
    other = why_other_contract(home.settings, certificate)
    if other:
        return other
    if not certificate.population.draw:
        return "the certificate is of an earlier version, whose evidence was not drawn; build again"
    return not_issued


def serving(home: Home, task: str) -> BuildFolder:
    """The build that answers: the newest where it is certified for the contract in the settings, else the newest that
    was when it was built, else the newest. Raises NotEnoughData where there is none.

    So a build that is refused, waits for labels or tries another contract changes nothing in production.
    """
    newest, chosen = latest(home, task), chosen_to_serve(home, task)
    if chosen is None or chosen.path == newest.path:
        return newest
    try:
        certificate = newest.read_certificate()
    except StepdownError:
        return chosen
    fits = certificate.verdict == "certified" and not why_other_contract(home.settings, certificate)
    return newest if fits else chosen


class Issued(NamedTuple):
    """Whether the journal issued a build's certificate for the files as they lie there. why_not: "" where it did, else
    the reason as a client may be told. complete: whether the journal knows every file, as it does not of builds of
    earlier versions."""

    why_not: str
    complete: bool = False


def issued(journal: Journal, folder: BuildFolder, certificate: Certificate) -> Issued:
    """A certificate is in force only if the journal issued it, for exactly the files that decide an answer: how prompts
    are cut, how answers are read, written and phrased, what it was proved on. What only people read (the report, the
    model card) is left to `stepdown status`. Raises StepdownError, OSError where a file cannot be read."""
    if journal.why_not:
        return Issued(journal.why_not)
    events = journal.issued(certificate.task, certificate.digest)
    own = [event for event in events if event.data.get("build", folder.path.name) == folder.path.name]
    if not own:
        return Issued("the journal knows no such certificate")
    event, task = own[0], digest_of(folder.read_task())
    if event.data.get("task", task) != task:
        return Issued("the journal knows no such certificate for the task as it is in the build")
    files = journal.files(event)
    changed = folder.changed({name: value for name, value in files.items() if name not in SHOWN_ONLY})
    if changed:
        return Issued(f"{changed[0]} of the build is not what the journal has")
    if journal.signed is not None and event.sequence > journal.signed:
        return Issued(UNSIGNED)
    return Issued("", complete=bool(files))


def why_other_contract(settings: Settings, certificate: Certificate) -> str:
    """ "" when a certificate is for its task's contract in the settings, else which keys differ, with both values."""
    asked = settings.task(certificate.task).contract
    if contract_hash(asked) == certificate.contract_hash:
        return ""
    certified, wanted = read_contract(certificate.contract), contract_table(asked)
    given = contract_table(certified) if certified else {}
    differ = [key for key in msgspec.structs.fields(Contract) if given.get(key.name) != wanted.get(key.name)]
    if not differ:
        return "the certificate is for another contract"
    was = ", ".join(_said(key, given.get(key.name)) for key in differ)
    now = ", ".join(_said(key, wanted.get(key.name)) for key in differ)
    return f"{_OTHER}{was}; {FILE_NAME} asks for {now}"


def _said(key: msgspec.structs.FieldInfo, value: Any) -> str:
    """A key of a contract with its value, as stepdown.toml has them."""
    name = key.name.removesuffix("_s")
    if value in (None, "", [], ()):
        return f"no {name}"
    return f"{name} = {_duration(value) if name != key.name else msgspec.json.encode(value).decode()}"


def _duration(seconds: float) -> str:
    """As `parse_duration` reads it, in the largest unit that it is a whole number of."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if (seconds / size).is_integer():
            return f'"{seconds / size:g}{unit}"'
    return f'"{seconds:g}s"'


def served_note(home: Home, certificate: Certificate) -> str:
    """What to tell whoever built a certificate that will not be served because its contract is not the one in the
    settings; "" where it will be."""
    other = why_other_contract(home.settings, certificate) if certificate.verdict == "certified" else ""
    if not other:
        return ""
    table = f"[tasks.{certificate.task}.contract]"
    reason = other.removeprefix(_OTHER)
    return f"This certificate will not be served: it is for {reason}. To serve it, write its contract into {table}."


def show_latest(home: Home, task: str) -> tuple[Certificate, str]:
    """The newest certificate of a task, and why it is not in force ("" where it is). Raises StepdownError where it
    cannot be read."""
    folder = latest(home, task)
    certificate = folder.read_certificate()
    with home.store() as store:
        said = issued(read_journal(home, store), folder, certificate)
    return certificate, why_not_in_force(home, certificate, said.why_not)


def verify_latest(home: Home, task: str, progress: Progress) -> Verification:
    """Recompute the newest certificate of a task from its evidence, and check everything that it names."""
    folder = latest(home, task)
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
    found = verify_files(folder.certificate, folder.evidence, linked)
    certificate = _checked(checks, "certificate file", lambda: open_sealed(folder.certificate).certificate)
    if certificate is not None:
        why_not = _checked(checks, "task file", lambda: issued(journal, folder, certificate).why_not)
        checks.append(Check(name="journal", passed=not why_not, detail=why_not or ""))
    _checked(checks, "evidence as drawn", lambda: _check_drawn(folder, draws))
    return Verification(checks=(*checks, *found.checks))


def _check_drawn(folder: BuildFolder, draws: tuple[Draw, ...]) -> None:
    """The rows of the evidence are a beginning of a draw in the journal, in its order, none left out. Raises
    TamperedError."""
    certificate = folder.read_certificate()
    named = certificate.population.draw
    if not named and not certificate.n_drawn:
        return  # nothing was drawn, or an earlier version made it
    draw = next((one for one in draws if one.digest == named), None)
    if draw is None:
        raise TamperedError("The journal knows no such draw.", "", "Build the task again.")
    ids = read_evidence(folder.evidence).seen.ids
    places = [draw.place(each) for each in ids]
    if places != list(range(len(ids))):
        wrong = next(place for place, found in enumerate(places) if found != place)
        raise TamperedError(
            f"Row {wrong + 1} of the evidence is not the call that was drawn there.",
            "Evidence is the draw from its first call on.",
            "Build the task again.",
        )


def _checked(checks: list[Check], name: str, read: Callable[[], T]) -> T | None:
    """What `read` returns, noted as a check that passed; None and a failed check when it cannot be read as it was."""
    try:
        found = read()
    except StepdownError as error:
        checks.append(Check(name=name, passed=False, detail=str(error)))
        return None
    checks.append(Check(name=name, passed=True))
    return found
