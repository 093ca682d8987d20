"""Traffic, gold and verdicts into the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stepdown.core.calls import Broken, Call, redacted
from stepdown.core.ownership import Owners
from stepdown.core.store import Added, GoldBasis, Store
from stepdown.core.students import Progress
from stepdown.curation.personal_data import mask
from stepdown.project.call_ids import by_call
from stepdown.project.discovery import with_settings
from stepdown.project.home import Home
from stepdown.project.imported_gold import GoldBases, gold_doubts
from stepdown.project.settings import Settings
from stepdown.traffic.gold import read_gold, read_verdicts
from stepdown.traffic.read import read_calls
from stepdown.traffic.source import sources

T = TypeVar("T")

SHOWN_BROKEN = 5
PENDING_BROKEN = 1000
IMPORTED, STRANGE, GOLD_REMOVED = "imported", "strange-rows", "gold-removed"
"""Events: an import, with the digests of the tables after it; rows found before one that no import had brought; gold
that was taken out, with the digests after that."""
IMPORTED_INTO = ("gold", "verdicts")


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did. broken: how many records could not be read; the first are in `examples`. gold_is: the gold of
    this import by what it is taken for. doubts: what speaks against the gold, a paragraph for each task."""

    calls: Added
    gold: Added
    verdicts: Added
    gold_without_call: int
    broken: int
    examples: tuple[Broken, ...]
    workloads: dict[str, int]
    gold_is: dict[str, int] = {}
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportRequest:
    """paths: traffic ("-" is stdin). task: the workload name for calls that carry none. gold_is: how it came to be that
    these calls were labelled; "" finds out. options: of the format, by name (the columns of a table)."""

    paths: Sequence[str]
    format: str | None = None
    task: str | None = None
    gold: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    gold_is: GoldBasis = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def import_traffic(home: Home, request: ImportRequest, progress: Progress) -> ImportResult:
    """Read every file and keep what can be read; what cannot is kept aside with its reason."""
    with home.store() as store:
        note_unknown_tasks(store, home.clock())
        aside = _Aside(store)
        calls_named = _named(aside.sift(read_calls(request.paths, request.format, request.options)), request.task)
        calls = _counted(_redacted(calls_named, store, home.settings), progress)
        added = store.add_calls(calls) if request.paths else Added()
        bases = GoldBases(store, request.gold_is)
        # A file of gold is read to its end first: one that contradicts itself throughout is not taken at all.
        named = [by_call(store, aside.sift(read_gold(path)), bases.is_drawn) for path in request.gold]
        golds = [list(aside.sift(rows)) for rows in named]
        gold = _sum(store.add_gold(bases.stamped(rows)) for rows in golds)
        judged = [by_call(store, aside.sift(read_verdicts(path))) for path in request.verdicts]
        verdicts = _sum(store.add_verdicts(aside.sift(rows)) for rows in judged)
        aside.flush()
        result = ImportResult(
            calls=added,
            gold=gold,
            verdicts=verdicts,
            gold_without_call=_without_call(store) if request.gold else 0,
            broken=aside.count,
            examples=tuple(aside.first),
            workloads=store.workloads(),
            gold_is=bases.found(),
        )
        data = {
            "new": added.new,
            "known": added.known,
            "broken": aside.count,
            "gold": gold.new + gold.changed,
            "gold_is": result.gold_is,
            "gold_rows": bases.digest,
            "files": hash_files(request.paths),
        }
        store.append(IMPORTED, request.task or "", data, at=home.clock(), tables=IMPORTED_INTO)
        fair = set(result.gold_is) <= {"all", "random-sample", "without call"}
        return msgspec.structs.replace(result, doubts=gold_doubts(store, home.settings, bases.ids, fair))


def rows_differ(store: Store) -> tuple[str, ...]:
    """The tables people import into whose rows are not those that the journal knows: after an import that was cut
    short, or where somebody wrote into the store. Nothing is known of stores that an earlier version filled."""
    known: dict[str, str] = {}
    changes = [*store.events(IMPORTED), *store.events(GOLD_REMOVED)]
    for event in sorted(changes, key=lambda change: change.sequence):
        known.update(event.data.get("rows", {}))
    return tuple(table for table in IMPORTED_INTO if table in known and store.rows_digest(table) != known[table])


def note_unknown_tasks(store: Store, now: float) -> None:
    """Enter in the journal, before an import, which rows of the store no import has brought."""
    for table in rows_differ(store):
        store.append(STRANGE, "", {"table": table, "found": store.rows_digest(table)}, at=now)


class _Aside:
    """Separates broken records from a stream and keeps them in the store, in batches."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: list[Broken] = []
        self.count = 0
        self.first: list[Broken] = []

    def sift(self, records: Iterable[T | Broken]) -> Iterator[T]:
        for record in records:
            if isinstance(record, Broken):
                self._keep(record)
            else:
                yield record

    def flush(self) -> None:
        self._store.keep_broken(self._pending)
        self._pending = []

    def _keep(self, record: Broken) -> None:
        self.count += 1
        if len(self.first) < SHOWN_BROKEN:
            self.first.append(record)
        self._pending.append(record)
        if len(self._pending) >= PENDING_BROKEN:
            self.flush()


def _named(calls: Iterable[Call], task: str | None) -> Iterator[Call]:
    for call in calls:
        yield call if task is None or call.workload_id else msgspec.structs.replace(call, workload_id=task)


def _redacted(calls: Iterable[Call], store: Store, settings: Settings) -> Iterator[Call]:
    """Personal data are masked before they touch the disk, in the calls of every task whose contract says so: those
    that name it, and those that fit its prompt where that is known."""
    masked = {name for name, task in settings.tasks.items() if task.contract.privacy == "redact"}
    named = masked | {settings.tasks[name].match.workload or name for name in masked}
    owners = Owners(with_settings(task, settings) for task in store.tasks().values()) if masked else Owners(())
    for call in calls:
        owner = owners.of(call) if masked else None
        is_masked = call.workload_id in named or (owner is not None and owner.name in masked)
        yield redacted(call, mask) if is_masked else call


def hash_files(paths: Sequence[str]) -> dict[str, str]:
    """The sha256 of every file that was read, by its name as a call's `source` gives it; stdin has none."""
    digests = {}
    for source in sources(path for path in paths if path != "-"):
        with Path(source.path).open("rb") as file:
            digests[source.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _counted(calls: Iterable[Call], progress: Progress) -> Iterator[Call]:
    for count, call in enumerate(calls, start=1):
        if count % 5000 == 0:
            progress(f"{count:,} calls read", 0.0)
        yield call


def _without_call(store: Store) -> int:
    wanted = set(store.gold())
    return len(wanted) - len(store.have_calls(wanted))


def _sum(parts: Iterable[Added]) -> Added:
    total = Added()
    for part in parts:
        total = Added(
            new=total.new + part.new,
            known=total.known + part.known,
            changed=total.changed + part.changed,
        )
    return total
