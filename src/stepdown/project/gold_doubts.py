"""What speaks against gold that was just imported, said at once: a build would refuse it, minutes or days later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stepdown.core.calls import Call
from stepdown.core.canonical import digest_of
from stepdown.core.errors import UsageError
from stepdown.core.store import Gold, Store
from stepdown.core.tasks import Task
from stepdown.core.vocabulary import GoldReading
from stepdown.curation.check_path import PathCheck
from stepdown.curation.gold_check import GoldRow, Labels, gold_objection, is_blank, read_labels, rows_of
from stepdown.project.settings import Settings
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices

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
        found = find_tasks(calls, Prices(settings.prices), said=settings.tasks)
    except UsageError:
        return ()  # A wrong setting is the next command's to report; the import is done.
    said = (_of_task(one.task, calls, gold, settings.task(one.task.name).gold_reading, fair) for one in found)
    return tuple(doubt for doubt in said if doubt)


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
