"""The tasks in the traffic, and the calls of each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from stepdown.core.calls import Call, incumbent_calls
from stepdown.core.contract import TaskSettings
from stepdown.core.errors import NotEnoughData, UnknownKind, UsageError
from stepdown.core.extraction.outlook import Outlook, outlook
from stepdown.core.extraction.roles import learn_roles
from stepdown.core.family import families
from stepdown.core.ownership import Owners, own_calls
from stepdown.core.store import Store
from stepdown.core.students import Progress
from stepdown.core.tasks import Match, Task, input_text, is_empty
from stepdown.project.home import Home
from stepdown.project.settings import Settings
from stepdown.project.settings_check import check_settings, check_slices, is_template_of, unknown_tasks
from stepdown.project.task_identity import settle_names
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices
from stepdown.traffic.summary import TaskSummary


def discover(home: Home, progress: Progress) -> list[TaskSummary]:
    """The tasks in the project's traffic, largest first, remembered for later commands. Those that are known keep their
    names and their calls, whatever else is found."""
    with home.store() as store:
        if store.count_calls() == 0:
            raise NotEnoughData("There are no calls yet.", "Expected imported traffic.", "Run: stepdown import FILE…")
        progress("looking for tasks", 0.0)
        summaries = look_for_tasks(store, home.settings, home.clock())
        if not summaries:
            raise NotEnoughData(
                "Every recorded call was answered by a student.",
                "Expected calls that the incumbent answered: students must not learn from themselves.",
                "Import some, or let the gateway ask the incumbent (x-stepdown-route: incumbent).",
            )
        check_settings(store, home.settings)
    return summaries


def look_for_tasks(store: Store, settings: Settings, now: float) -> list[TaskSummary]:
    """Read every call once, and remember the tasks that they are of. now: seconds since the epoch."""
    settle_names(store, settings, now)
    known = {name: with_settings(task, settings) for name, task in store.tasks().items()}
    calls = incumbent_calls(store.calls())
    summaries = find_tasks(calls, Prices(settings.prices), task_settings=settings.tasks, known=known)
    for summary in summaries:
        store.put_task(with_settings(summary.task, settings), now)
    return summaries


def resolve(store: Store, settings: Settings, name: str, now: float) -> Task:
    """The task of that name: remembered, else found in its workload's calls, else in all calls. now: seconds since the
    epoch. Raises UnknownKind; ContractError where the settings are for a task that there is not."""
    task = _resolved(store, settings, name, now)
    if unknown_tasks(store, settings):
        look_for_tasks(store, settings, now)  # They may be there, and nobody has looked yet.
        check_settings(store, settings)
    check_slices(store, settings, task)
    return task


def _resolved(store: Store, settings: Settings, name: str, now: float) -> Task:
    settle_names(store, settings, now)
    known = store.tasks()
    task_settings, prices = settings.task(name), Prices(settings.prices)
    if name in known and _is_clear(known[name], task_settings):
        return with_settings(known[name], settings)
    wanted = task_settings.match.workload or name
    if name not in known and wanted in store.workloads():
        summaries = find_tasks(incumbent_calls(store.calls(wanted)), prices, task_settings={wanted: task_settings})
        largest = max(summaries, key=lambda summary: summary.calls, default=None)
        if largest is not None:
            task = with_settings(msgspec.structs.replace(largest.task, name=name), settings)
            store.put_task(task, now)
            return task
    if name in known:
        task = with_settings(known[name], settings)
        summaries = find_tasks(calls_of(store, task), prices, task_settings={name: task_settings}, known={name: task})
        largest = max(summaries, key=lambda summary: summary.calls, default=None)
        if largest is not None:
            store.put_task(with_settings(msgspec.structs.replace(largest.task, name=name), settings), now)
            return with_settings(store.tasks()[name], settings)
    look_for_tasks(store, settings, now)
    known = store.tasks()
    if name not in known:
        raise no_such_task(store, name, known)
    return known[name]


def no_such_task(store: Store, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that no task has: which there are, or that no project is here, nor any call."""
    known = tuple(known)
    if known or store.count_calls():
        return UnknownKind("task", name, known)
    return UsageError(
        f"There is no task {name!r}: no project with recorded calls is here.",
        "Expected its folder, the current one unless --home names another.",
        "Go there or name it with --home; or make one here: stepdown import FILE…",
    )


def _is_clear(task: Task, task_settings: TaskSettings) -> bool:
    """Whether what is remembered of a task holds a family and an input, and was read as the settings say; if not, the
    traffic is read again. So it is for a form: calls that came since may have fields that it lacks."""
    as_said = task_settings.family in ("", task.family) and task_settings.answer in ("", task.answer)
    return as_said and task.form is None and bool(task.family) and (task.template is None or bool(task.template.slots))


def resolve_learnable(store: Store, settings: Settings, name: str, now: float) -> Task:
    """The task of that name, of a family that students can learn. Raises UnknownKind, NotEnoughData."""
    task = resolve(store, settings, name, now)
    if not task.family:
        raise NotEnoughData(
            f"The answers of {task.name!r} are of no kind that a student can learn yet, or too few to tell.",
            "Expected labels out of a closed set, each seen more than once, or JSON objects or tool calls of one kind.",
            "Import more calls, or set `family` and `answer` of the task in stepdown.toml; `stepdown tasks` says more.",
        )
    families().load(task.family)
    return task


def with_settings(task: Task, settings: Settings) -> Task:
    """A discovered task with the user's settings applied."""
    task_settings = settings.task(task.name)
    return msgspec.structs.replace(
        task,
        family=task_settings.family or task.family,
        answer=task_settings.answer or task.answer,
        match=_matched(task, task_settings.match),
    )


def _matched(task: Task, stated: Match) -> Match:
    """How a task is matched: as the settings say, where they say anything of it; the names that it had stay its own. A
    template that they write shortly, or as it is now, is the one that the task was found by."""
    match = task.match
    if stated == Match() or (stated.template and not is_template_of(stated.template, task)):
        return match  # `check_settings` has a word on what no task has.
    own = match.template or (task.template.fingerprint if task.template is not None else "")
    return msgspec.structs.replace(
        stated,
        template=own if stated.template else "",
        names=tuple(dict.fromkeys((*stated.names, *match.names))),
        within=stated.within or match.within,
    )


def calls_of(store: Store, task: Task) -> Iterator[Call]:
    """The calls of a task that the incumbent answered, streaming, in the order they came in.

    Gold for a call that a student answered is left out with it: only what the student was sure of is such a call, and
    there is no answer of the incumbent's to set beside it, so that it would make the incumbent look worse than it is.
    """
    yield from incumbent_calls(own_calls(store, Owners({**store.tasks(), task.name: task}.values()), task.name))


def known_tasks(store: Store, settings: Settings) -> dict[str, Task]:
    """Every task by name, as the settings have it: those that are remembered, those of the settings, and the workloads
    that no task has."""
    named = {name: Task(name=name, family="", match=Match(workload=name)) for name in settings.tasks}
    tasks = {name: with_settings(task, settings) for name, task in {**named, **store.tasks()}.items()}
    taken = {task.match.workload for task in tasks.values()}
    for name in store.workloads():
        if name and name not in taken:
            tasks.setdefault(name, Task(name=name, family="", match=Match(workload=name)))
    return tasks


MOST_CALLS = 400
FEWEST_ROWS = 20


class TaskOutlook(TaskSummary, frozen=True, kw_only=True):
    """A task's summary with what a student could be taught of its answers; None where they have no fields, or too few
    could be read to tell."""

    outlook: Outlook | None = None


def with_outlooks(home: Home, summaries: list[TaskSummary]) -> list[TaskOutlook]:
    """The summaries, in their order."""
    with home.store() as store:
        return [
            TaskOutlook(**msgspec.structs.asdict(summary), outlook=outlook_of(store, summary.task))
            for summary in summaries
        ]


def outlook_of(store: Store, task: Task) -> Outlook | None:
    """The outlook of a task, from its first 400 calls."""
    if task.form is None or not task.form.fields or task.template is None:
        return None
    family = families().load(task.family)
    texts, answers = [], []
    for call in islice(calls_of(store, task), MOST_CALLS):
        answer, given = family.read_answer(task, call), task.template.cut(call.request)
        if isinstance(answer, dict) and given is not None and not is_empty(given):
            texts.append(input_text(given))
            answers.append(answer)
    if len(texts) < FEWEST_ROWS:
        return None
    return outlook(task.form, learn_roles(task.form, texts, answers), texts, answers)
