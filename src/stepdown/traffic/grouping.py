"""Which tasks are in traffic: calls grouped by workload or prompt template, each with its shape, cost and a verdict."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from stepdown.core.calls import Call
from stepdown.core.contract import TaskSettings
from stepdown.core.cutting import kind_of
from stepdown.core.ownership import tells
from stepdown.core.tasks import Match, Part, Task, Template, is_fingerprint
from stepdown.traffic.answers import Reading
from stepdown.traffic.clusters import LEAST_PROMPTS, clusters
from stepdown.traffic.pricing import Prices
from stepdown.traffic.routing import Group, Router
from stepdown.traffic.summary import TaskSummary, summarise
from stepdown.traffic.templates import Prompt, constants, fits, is_sure

_SLUG_WORDS = 4
# A template that fewer of a workload's prompts fit than this does not stand for it.
_LEAST_SHARE = 0.5
_SHARED_BY_ALL = 0.95
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can do does each following for from given have if in into is it its list must of on "
        "one or please should so that the then there these this those to try use using want will with would you your",
    )
)
_ASKING = re.compile(
    r"\b(analy[sz]e|answer|assign|categori[sz]e|choose|classify|convert|decide|detect|determine|evaluate|extract|find|"
    r"generate|grade|identify|label|moderate|name|parse|predict|rank|rate|rewrite|route|score|select|summari[sz]e|tag|"
    r"translate|triage|write)\w*\b",
    re.IGNORECASE,
)


def find_tasks(
    calls: Iterable[Call],
    prices: Prices,
    seed: int = 0,
    task_settings: Mapping[str, TaskSettings] | None = None,
    known: Mapping[str, Task] | None = None,
) -> list[TaskSummary]:
    """The tasks in a stream of calls, those that cost most first; every call is counted in exactly one.

    One pass; memory does not grow with the number of calls. Calls of a known task are that task's. Of the others, those
    that name a workload are grouped by it, the rest by their prompt template; conversations by their system prompt;
    what is left is "unmatched". task_settings: what the user says of a task, by its name or workload: how it is
    matched, of which family its answers are, and where in them the decision sits. known: tasks by name, which stays
    what it is.
    """
    remembered, settings = known or {}, task_settings or {}
    router = Router(prices, np.random.default_rng(seed), remembered.values())
    for call in calls:
        router.add(call)
    groups = router.finish()
    names = _names(groups, settings, remembered)
    summaries = [
        _summary(group, name, settings.get(name, TaskSettings())) for group, name in zip(groups, names, strict=True)
    ]
    return sorted(summaries, key=_weight)


def _weight(summary: TaskSummary) -> tuple[float, int, str]:
    spend = summary.spend_usd.value if summary.spend_usd else 0.0
    return -spend, -summary.calls, summary.task.name


def _summary(group: Group, name: str, task_settings: TaskSettings) -> TaskSummary:
    template, match, known = group.template, Match(), group.known
    if group.kind == "workload":
        prompts = [prompt for prompt in group.prompts.items if prompt is not None]
        template = template if template is not None and _is_of_most(template, prompts) else workload_template(prompts)
        if template is not None and group.tally.turns * 2 > group.tally.calls and not _has_turns(template):
            template = None  # It is of the first turns alone, and most calls are later ones.
        match = Match(workload=group.name)
    elif template is not None:
        match = Match(template=template.fingerprint)
    free = group.kind in {"chat", "opening", "unmatched"}
    reading = (
        Reading()
        if free and not task_settings.family
        else group.answers.reading(task_settings.family, task_settings.answer)
    )
    task = msgspec.structs.replace(reading.task, name=name, match=match, template=template, labels=reading.labels)
    if task.family == "extract" and task.template is not None:
        task = msgspec.structs.replace(task, template=with_dates(task.template))
    if known is not None:
        task = msgspec.structs.replace(task, match=known.match)
        if not task.family and known.family:  # Too little has come of late to tell by.
            task = msgspec.structs.replace(known, template=template)
    return summarise(group.tally, task, group.kind, reading)


def with_dates(template: Template) -> Template:
    """The template with its dates among the inputs: what is extracted may count from one ("tomorrow")."""
    numbered = (f"date_{number}" if number > 1 else "date" for number in itertools.count(1))
    names = (name for name in numbered if name not in template.slots)
    messages = []
    for message in template.messages:
        parts = [Part(slot=next(names)) if kind_of(part.slot) == "date" else part for part in message.parts]
        messages.append(msgspec.structs.replace(message, parts=tuple(parts)))
    return Template(messages=tuple(messages))


def _is_of_most(template: Template, prompts: Sequence[Prompt]) -> bool:
    """Whether a template that was found before still stands for a task's prompts."""
    fitting = sum(fits(template, prompt) for prompt in prompts)
    return fitting >= _LEAST_SHARE * len(prompts)


def workload_template(prompts: Sequence[Prompt]) -> Template | None:
    """The template that most prompts of a workload fit; None where there is none."""
    if not prompts:
        return None
    (roles, _), *_ = Counter(prompt.roles for prompt in prompts).most_common(1)
    alike = [prompt for prompt in prompts if prompt.roles == roles]
    largest = clusters(alike)[0]
    share = len(largest.prompts) / len(prompts)
    if is_sure(constants(largest.template)):
        return largest.template if share >= _LEAST_SHARE else None
    # A few words that nearly all have are no chance.
    is_shared = share >= _SHARED_BY_ALL and len(set(largest.prompts)) >= LEAST_PROMPTS
    return largest.template if is_shared and tells(largest.template) else None


def _has_turns(template: Template) -> bool:
    return any(message.role not in {"system", "developer", "user"} for message in template.messages)


def _names(groups: Sequence[Group], task_settings: Mapping[str, TaskSettings], known: Mapping[str, Task]) -> list[str]:
    """A name for each group: the one that it has already, the one that the settings give to its template, its
    workload's, else a slug of what its prompt asks. Slugs that are taken get a fingerprint: no name is given twice."""
    named = {place: name for place, group in enumerate(groups) if (name := _given(group, task_settings))}
    slugs = [named.get(place) or _slug(group) for place, group in enumerate(groups)]
    counted = Counter(slugs)
    # What is no task of its own (conversations, the rest) has the same name again.
    taken = {name for name, task in known.items() if task.template is not None or task.match != Match()}
    taken -= set(named.values())
    names: list[str] = []
    for place, (group, slug) in enumerate(zip(groups, slugs, strict=True)):
        mark = f"-{group.template.fingerprint[:6]}" if group.template is not None else f"-{group.kind}"
        is_free = counted[slug] == 1 and slug not in taken
        name = slug if place in named or is_free else slug + mark
        while name in names or (name in taken and place not in named):
            name += "-2"
        names.append(name)
    return names


def _given(group: Group, task_settings: Mapping[str, TaskSettings]) -> str:
    """The name that a group has for sure; "" where one is still to be found."""
    if group.known is not None:
        return group.known.name
    if group.kind == "workload":
        return group.name
    fingerprint = group.template.fingerprint if group.kind == "template" and group.template is not None else ""
    given = [
        name for name, task in task_settings.items() if fingerprint and is_fingerprint(task.match.template, fingerprint)
    ]
    return given[0] if given else ""


def _slug(group: Group) -> str:
    if group.kind == "unmatched":
        return "unmatched"
    text = constants(group.template) if group.template is not None else group.name
    sentences = [sentence for sentence in re.split(r"[.!?\n]+\s", text[:4_000]) if sentence.strip()]
    asking = [sentence for sentence in sentences if _ASKING.search(sentence)]
    slugs = (_words_of(sentence) for sentence in (*asking, *sentences))
    return next((slug for slug in slugs if slug), "task")


def _words_of(sentence: str) -> str:
    """The first telling words of a sentence, from where it asks for something; "" where it has none."""
    match = _ASKING.search(sentence)
    words = re.findall(r"[a-z0-9]+", sentence[match.start() if match else 0 :].lower())
    return "-".join([word for word in words if word not in _STOP_WORDS][:_SLUG_WORDS])
