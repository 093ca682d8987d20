"""stepdown task: changes of a task's identity by its owner: its name, and its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from stepdown.core.calls import Call
from stepdown.core.errors import NotEnoughData, UsageError
from stepdown.core.keys import Key
from stepdown.core.ownership import claim_order
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task, Template
from stepdown.project.discovery import calls_of, no_such_task, with_settings
from stepdown.project.home import Home
from stepdown.project.settings import FILE_NAME
from stepdown.project.task_identity import absorb, is_built, renamed, settle_names
from stepdown.traffic.templates import Prompt, constants, is_sure, mine_template, prompt_of

LONGEST_NAME = 100
MINED, SCANNED = 300, 20_000
LEAST_DISTINCT = 3


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a change. names: other names of its calls. calls: answered by the incumbent."""

    task: str
    names: tuple[str, ...]
    calls: int
    template: str
    other: str = ""
    other_calls: int = 0


def rename_task(home: Home, name: str, new: str) -> TaskChange:
    """Give a task another name. Raises UsageError, also where the name is taken, or the old one is needed."""
    with home.store() as store:
        task = _task(home, store, name)
        _check_new(home, store, new)
        _check_unbuilt(
            store,
            name,
            f"renamed to {new!r}",
            "Its certificate bears its name, and so does the evidence that was drawn for it. Keep the name.",
        )
        _check_unnamed(home, store, name, new)
        return _changed(store, renamed(store, task, new, home.clock()))


def merge_tasks(home: Home, name: str, into: str) -> TaskChange:
    """Merge a task into another. Raises UsageError, also where that one was built, or their prompts have too
    little in common for one template."""
    with home.store() as store:
        task, other = _task(home, store, into), _task(home, store, name)
        if name == into:
            raise UsageError(f"{name!r} cannot be merged with itself.", "Expected two tasks.", "")
        _check_unbuilt(
            store,
            name,
            f"merged into {into!r}",
            f"What was built of it would be lost. Run: stepdown task merge {into} {name}",
        )
        _check_unnamed(home, store, name, into)
        template = _in_common(store, task, other)
        changed = msgspec.structs.replace(task, template=template)
        return _changed(store, absorb(store, changed, [other], home.clock()))


def split_task(home: Home, name: str, new: str, containing: str = "", workload: str = "") -> TaskChange:
    """Make a task of its own of some of a task's calls: those whose prompt has a text beside the inputs, or those that
    clients call so. Raises UsageError, NotEnoughData."""
    with home.store() as store:
        task = _task(home, store, name)
        _check_new(home, store, new)
        # Its evidence would be new evidence under another name, and the requests go on to what was built of the whole.
        _check_unbuilt(
            store,
            name,
            "split",
            "Have clients name a workload for those calls, and give it a table of its own: match = { workload = … }.",
        )
        is_chosen = _choice(containing, workload)
        chosen, rest = _halves(calls_of(store, task), is_chosen)
        for half, outcome in ((chosen, f"are {new!r}'s"), (rest, f"are left to {name!r}")):
            if len(set(half)) < LEAST_DISTINCT:
                raise NotEnoughData(
                    f"{len(set(half)):,} different prompts of {name!r} {outcome}.",
                    f"Expected {LEAST_DISTINCT} at least on either side.",
                    "Look for what only some of its prompts have: `stepdown tasks` shows their template.",
                )
        part = _part(task, new, chosen, containing, workload)
        now = home.clock()
        if containing:
            left = _template(rest)
            if left is not None and claim_order(task)[0] >= -len(constants(left)):
                store.put_task(msgspec.structs.replace(task, template=left), now)
        store.put_task(part, now)
        left_calls = sum(1 for _ in calls_of(store, store.tasks()[name]))
        return msgspec.structs.replace(_changed(store, part), other=name, other_calls=left_calls)


def _part(task: Task, new: str, chosen: list[Prompt], containing: str, workload: str) -> Task:
    if workload:
        return msgspec.structs.replace(task, name=new, match=Match(workload=workload, within=task.name))
    template = _template(chosen)
    if template is None or not any(containing in part.text for message in template.messages for part in message.parts):
        raise UsageError(
            f"{containing[:80]!r} stands in the inputs of {task.name!r}, not in what its prompts say around them.",
            "A task is identified by the constant part of its prompt.",
            "Name a text that all of these prompts have in the same place, or --workload.",
        )
    match = Match(template=template.fingerprint, within=task.name)
    return msgspec.structs.replace(task, name=new, match=match, template=template)


def _choice(containing: str, workload: str) -> Callable[[Call, Prompt], bool]:
    if bool(containing) == bool(workload):
        raise UsageError(
            "Nothing says which calls to split off.", "Expected --containing TEXT or --workload NAME, one of them.", ""
        )
    if workload:
        return lambda call, prompt: call.workload_id == workload
    return lambda call, prompt: any(containing in text for text in prompt.texts)


def _halves(calls: Iterable[Call], is_chosen: Callable[[Call, Prompt], bool]) -> tuple[list[Prompt], list[Prompt]]:
    chosen: list[Prompt] = []
    rest: list[Prompt] = []
    for place, call in enumerate(calls):
        prompt = prompt_of(call.request)
        if prompt is not None:
            half = chosen if is_chosen(call, prompt) else rest
            if len(half) < MINED:
                half.append(prompt)
        if place >= SCANNED or len(chosen) == len(rest) == MINED:
            break
    return chosen, rest


def _template(prompts: list[Prompt]) -> Template | None:
    """The template of prompts; None where they have none."""
    return mine_template(prompts) if prompts and len({prompt.roles for prompt in prompts}) == 1 else None


def _in_common(store: Store, task: Task, other: Task) -> Template | None:
    if task.template is None or other.template is None or task.template.fingerprint == other.template.fingerprint:
        return task.template or other.template
    prompts = [
        prompt for one in (task, other) for prompt in _halves(calls_of(store, one), lambda call, prompt: True)[0]
    ]
    template = _template(prompts) if prompts else task.template
    if template is None or not is_sure(constants(template)) or (template.broad and not task.template.broad):
        raise UsageError(
            f"The prompts of {task.name!r} and {other.name!r} have too little in common for one template: "
            f"{constants(template).strip()[:80] if template is not None else 'their messages differ'!r}.",
            "One task has one template, whose slots are its input.",
            "Keep them apart, or have the clients send one prompt.",
        )
    return template


def _changed(store: Store, task: Task) -> TaskChange:
    return TaskChange(
        task=task.name,
        names=task.match.names,
        calls=sum(1 for _ in calls_of(store, task)),
        template=task.template.fingerprint if task.template is not None else "",
    )


def _task(home: Home, store: Store, name: str) -> Task:
    settle_names(store, home.settings, home.clock())
    known = store.tasks()
    if name not in known:
        raise no_such_task(store, name, known)
    return with_settings(known[name], home.settings)


def _check_new(home: Home, store: Store, new: str) -> None:
    if not new.strip() or new != new.strip() or len(new) > LONGEST_NAME or not new.isprintable():
        raise UsageError(
            f"{new[:LONGEST_NAME]!r} is not a valid name for a task.",
            f"Expected up to {LONGEST_NAME} characters, none of them a control character, no space at an end.",
            "",
        )
    taken = {name: task for task in store.tasks().values() for name in (task.name, *task.match.names)}
    if new in taken or new in store.workloads():
        whose = f"the task {taken[new].name!r}" if new in taken else "calls that clients named so"
        raise UsageError(
            f"The name {new!r} is taken by {whose}.",
            "Expected a name that is not in use.",
            "`stepdown tasks` shows them.",
        )


def _check_unbuilt(store: Store, name: str, action: str, next_step: str) -> None:
    if is_built(store, name):
        raise UsageError(f"{name!r} cannot be {action}: it was built, or evidence was drawn for it.", "", next_step)


def _check_unnamed(home: Home, store: Store, name: str, new: str) -> None:
    """Raise UsageError where settings or a key name the task: they would no longer apply, and what they restrict would
    be open."""
    if name in home.settings.tasks:
        raise UsageError(
            f"{FILE_NAME} has [tasks.{name}].",
            "That table would then apply to no task.",
            f"Rename that table to [tasks.{new}], or remove it where there is one, then run this again.",
        )
    keys: list[Key] = [key for key in store.keys() if name in key.tasks]  # noqa: SIM118 - a store is no dictionary
    if keys:
        raise UsageError(
            f"The key {keys[0].name!r} may ask for {name!r}, and for no task of another name.",
            "Keys keep what they were made for.",
            f"Revoke it (stepdown key revoke {keys[0].id}), rename, and make another.",
        )
