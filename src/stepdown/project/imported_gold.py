"""Gold that is imported: on what basis its calls were labelled, and what a build would refuse of it.

The basis is what the user declares, else what the journal and the calls show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from stepdown.core.calls import Call
from stepdown.core.canonical import digest_of
from stepdown.core.draw import DRAWN, Draw, call_key
from stepdown.core.errors import InputError, UsageError
from stepdown.core.ownership import Owners, own_calls
from stepdown.core.store import Gold, GoldBasis, Store
from stepdown.core.tasks import Task
from stepdown.core.vocabulary import GoldReading
from stepdown.curation.check_path import PathCheck
from stepdown.curation.gold_check import GoldRow, Labels, gold_objection, is_blank, read_labels, rows_of
from stepdown.project.settings import Settings
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices


class GoldBases:
    """Stamps gold with its basis while it is imported, and tells afterwards what it was taken for."""

    def __init__(self, store: Store, declared: GoldBasis) -> None:
        self._store, self._declared = store, declared
        draws = (msgspec.convert(event.data, Draw) for event in store.events(DRAWN))
        # What its owner drew is known by the owner's word alone.
        self._drawn = {key for draw in draws if draw.scope in ("traffic", "judged") for key in draw.places}
        self._kept: dict[str, Gold] = {}

    def is_drawn(self, call_id: str) -> bool:
        """Whether one of stepdown's own draws has that call."""
        return call_key(call_id) in self._drawn

    @property
    def digest(self) -> str:
        """The hash of the gold that was read: what the journal knows it by."""
        return digest_of([self._kept[name] for name in sorted(self._kept)]) if self._kept else ""

    @property
    def ids(self) -> list[str]:
        """The calls whose gold was read."""
        return list(self._kept)

    def stamped(self, gold: Iterable[Gold]) -> Iterator[Gold]:
        """The gold with its basis. What nobody declares and stepdown did not draw stays without one: whether every call
        of its task has gold shows when evidence is drawn. Raises InputError where gold is declared drawn and is not."""
        if self._declared == "drawn":
            gold = list(gold)  # the whole file first: it is imported whole or not at all
            for one in gold:
                self._check_drawn(one)
        for one in gold:
            basis: GoldBasis = self._declared or ("drawn" if self.is_drawn(one.id) else "")
            stamped = msgspec.structs.replace(one, basis=basis)
            self._kept[one.id] = stamped
            yield stamped

    def _check_drawn(self, gold: Gold) -> None:
        if not self.is_drawn(gold.id):
            raise InputError(
                f"Gold for the call {gold.id!r} was declared drawn; no draw in the journal has that call.",
                "Calls are drawn by `stepdown sample` and by `stepdown build`.",
                "Leave --gold-is out: gold for drawn calls is known by their ids, and the rest is learned from.",
            )

    def found(self) -> dict[str, int]:
        """Counts of the gold by its basis."""
        if not self._kept:
            return {}
        counts: Counter[str] = Counter(one.basis for one in self._kept.values() if one.basis)
        open_ones = [name for name, one in self._kept.items() if not one.basis]
        if open_ones:
            owners = Owners(self._store.tasks().values())
            whose = {call.id: (owners.of(call), call.workload_id) for call in self._store.calls_by_id(open_ones)}
            counts["without call"] = len(open_ones) - len(whose)
            alike = Counter((task.name if task else None, "" if task else named) for task, named in whose.values())
            for (task, workload), count in alike.items():
                counts["all" if self._is_complete(owners, task, workload) else "volunteered"] += count
        return dict(+counts)

    def _is_complete(self, owners: Owners, task: str | None, workload: str) -> bool:
        """Whether every call of a task, or of a workload that is no task yet, that the incumbent answered has gold that
        nobody volunteered."""
        gold = self._store.gold()
        calls = self._store.calls(workload) if task is None else own_calls(self._store, owners, task)
        answered = (call for call in calls if not call.rung and call.response is not None)
        return all(call.id in gold and gold[call.id].basis != "volunteered" for call in answered)


SAMPLE = 2_000


def gold_doubts(store: Store, settings: Settings, imported: Iterable[str], fair: bool) -> tuple[str, ...]:
    """A paragraph for each task whose gold a build would refuse, or would pass over in part.

    imported: ids of calls. fair: nobody picked them.
    Looks at no more than `SAMPLE` calls, so that it is quick. What is no task that can be learned is not judged.
    """
    chosen = sorted(imported, key=digest_of)[:SAMPLE]
    calls = [call for call in store.calls_by_id(chosen) if not call.rung and not call.error]
    if not calls:
        return ()
    gold = store.gold()
    try:
        summaries = find_tasks(calls, Prices(settings.prices), task_settings=settings.tasks)
    except UsageError:
        return ()  # A wrong setting is the next command's to report; the import is done.
    paragraphs = (
        _of_task(summary.task, calls, gold, settings.task(summary.task.name).gold_reading, fair)
        for summary in summaries
    )
    return tuple(doubt for doubt in paragraphs if doubt)


def _of_task(task: Task, calls: Sequence[Call], gold: Mapping[str, Gold], reading: GoldReading, fair: bool) -> str:
    if not task.family:
        return ""
    own = [call for call in calls if _is_of(task, call)]
    readable = PathCheck(task)
    rows, labels = read_labels(
        rows_of(list(readable.watch(own)), task, {name: one.gold for name, one in gold.items()}), task, reading
    )
    there = [row for row in rows if not is_blank(row, reading)]
    wrong = readable.objection() or gold_objection(there, labels, task, reading, fair)
    return f"{wrong} A build would refuse this." if wrong is not None else _passed_over(task, there, labels)


def _is_of(task: Task, call: Call) -> bool:
    if task.match.workload:
        return call.workload_id == task.match.workload
    return not call.workload_id and task.template is not None and task.template.cut(call.request) is not None


def _passed_over(task: Task, rows: Sequence[GoldRow], labels: Labels) -> str:
    """The few labels that are none of the task's, where something else seems to be meant."""
    few = {label: count for label, count in labels.strange.items() if label in labels.offered}
    if not few:
        return ""
    shown = ", ".join(repr(label[:60]) for label in list(few)[:5])
    return (
        f"{sum(few.values()):,} of {len(rows):,} gold answers of {task.name!r} are labels that no answer has and no "
        f"prompt lists ({shown}). They will be passed over; gold_map in stepdown.toml says what is meant."
    )
