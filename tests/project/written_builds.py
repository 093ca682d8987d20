"""Builds that nothing was trained for: whole folders whose cascades have no students, known to a real journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from tests.report.records import certificate as made_certificate
from tests.report.records import certified as made_record

from stepdown.certificate.files import seal
from stepdown.certificate.hashes import contract_hash, contract_table
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate, Population
from stepdown.core.contract import Contract
from stepdown.core.tasks import Match, Task
from stepdown.project.builds import BuildFolder, publish
from stepdown.project.home import Home, make_folder, open_home
from stepdown.project.journal import BUILT, Journal, read_journal
from stepdown.project.promote import chosen_if_there
from stepdown.runtime.cascade import CascadeSpec

TASK = Task(name="tickets", family="classify", match=Match(workload="tickets"), labels=("a", "b"))
BORN = 1_800_000_000.0
DAY = 86_400.0
SETTINGS = "[tasks.tickets.contract]\nmargin = 0.05\n"


def project(folder: Path, settings: str = SETTINGS, now: float = BORN + DAY) -> Home:
    """A project whose clock stands a day after its first build."""
    (folder / "stepdown.toml").write_text(settings)
    return replace(open_home(folder), clock=lambda: now)


def at(home: Home, now: float) -> Home:
    """The same project at another time, with the settings as they are now."""
    return replace(open_home(home.folder), clock=lambda: now)


def journal_of(home: Home) -> Journal:
    with home.store() as store:
        return read_journal(home, store)


def write_build(
    home: Home, number: int = 0, task: Task = TASK, margin: float = 0.05, known: bool = True, **changes: Any
) -> BuildFolder:
    """The number-th build, a minute after the one before it. changes: of its certificate. known: to the journal."""
    issued = BORN + 60.0 * number
    contract, spec = Contract(margin=margin), CascadeSpec(task=task.name, rungs=())
    values: dict[str, Any] = {
        "task": task.name,
        "contract": contract_table(contract),
        "contract_hash": contract_hash(contract),
        "cascade": msgspec.to_builtins(spec),
        "cascade_hash": spec.digest,
        "issued_at": issued,
        "expires_at": issued + 30 * DAY,
        "seed": number,
        "population": Population(draw="5e" * 32),
    }
    certificate = made_certificate(**{**values, **changes})
    folder = BuildFolder(home.builds(task.name) / f"{int(issued * 1000):015d}-{certificate.digest[:8]}")
    make_folder(folder.path)
    folder.write(folder.task, task)
    folder.write(folder.cascade, spec)
    folder.write(folder.certificate, seal(certificate))
    folder.write(folder.record, made_record(task=task.name, certificate=certificate, created_at=issued))
    if known:
        enter(home, folder, certificate, serves=certificate.verdict == "certified" and _is_asked_for(home, certificate))
    return folder


def enter(home: Home, folder: BuildFolder, certificate: Certificate, serves: bool) -> None:
    """Have the journal issue a build, as a build's last stage does."""
    task = folder.read_task()
    fact = {
        "task": digest_of(task),
        "certificate": certificate.digest,
        "verdict": certificate.verdict,
        "build": folder.path.name,
        "files": folder.hashes(),
        "serves": serves,
        "before": chosen_if_there(home, journal_of(home), task.name),
    }
    with home.store() as store:
        store.append(BUILT, task.name, fact, at=certificate.issued_at)
    publish(home, task.name, folder, serves)


def _is_asked_for(home: Home, certificate: Certificate) -> bool:
    return contract_hash(home.settings.task(certificate.task).contract) == certificate.contract_hash
