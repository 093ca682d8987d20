"""Which group a call belongs to: the known task that it is of, else its workload where it names one, else the template
that its prompt fits.

One pass, bounded memory. Calls without a workload wait, by shape (roles, tools, response format), until there are
enough to mine templates from; then most calls are told by searching. Templates that fit nearly anything (a whole
message is their slot) are tried last, and only after looking whether something more exact hides among the waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from stepdown.core.calls import Call
from stepdown.core.canonical import digest_of
from stepdown.core.cutting import cut_text, kind_of, masked
from stepdown.core.ownership import Owners
from stepdown.core.tasks import MessageTemplate, Part, Task, Template, message_text
from stepdown.traffic.answers import Answers, answer_format
from stepdown.traffic.clusters import Cluster, answer_kind, clusters, is_broad, short_clusters
from stepdown.traffic.pricing import Prices
from stepdown.traffic.tally import Reservoir, Tally
from stepdown.traffic.templates import Prompt, constants, is_sure, mine_template, prompt_of

MAX_GROUPS = 2_000
MAX_SHAPES = 200
WAITING_CALLS = 200
MOST_WAITING_CALLS = 3_200
WAITING_CHARACTERS = 32_000_000
MINED = 300
PROMPTS = 60
PROMPT_CHARACTERS = 40_000
LEAST_PROMPTS = 3

# Constants that may differ between two finds of one template, such as a date that was constant for a while.
_MAY_DIFFER = 48

_ASKING_ROLES = frozenset({"system", "developer", "user"})


class Group:
    """Calls that belong together, and what was counted of them. kind: "workload", "template", "chat" or "unmatched"."""

    def __init__(
        self,
        kind: str,
        name: str,
        generator: np.random.Generator,
        template: Template | None = None,
        known: Task | None = None,
    ) -> None:
        """known: the task that it is, where that is known before."""
        self.kind, self.name, self.template, self.known = kind, name, template, known
        self.tally = Tally(generator)
        self.answers = Answers(generator)
        self.prompts: Reservoir[Prompt | None] = Reservoir(PROMPTS, generator)

    def add(self, call: Call, prompt: Prompt | None, cost: float | None) -> None:
        self.tally.add(call, cost)
        self.answers.add(call)
        short = prompt is not None and sum(map(len, prompt.texts)) <= PROMPT_CHARACTERS * len(prompt.texts)
        self.prompts.add(prompt if short else None)


class _Waiting(msgspec.Struct):
    """Calls of one shape that no exact template fits yet, and the templates found in that shape so far."""

    groups: list[Group] = []
    calls: list[tuple[Call, Prompt]] = []
    characters: int = 0
    room: int = WAITING_CALLS


class Router:
    """Puts every call in exactly one group. Call `finish` when there are no more."""

    def __init__(self, prices: Prices, generator: np.random.Generator, known: Iterable[Task] = ()) -> None:
        """known: tasks whose calls stay theirs, whatever else is found."""
        self._prices, self._generator = prices, generator
        tasks = list(known)
        # What takes nearly anything, and nobody learns, must not hide a task that comes to be: it is tried last.
        self._loose = [task for task in tasks if not task.family and task.template is not None and task.template.broad]
        self._owners = Owners(task for task in tasks if task not in self._loose)
        self._known: dict[str, Group] = {}
        self._workloads: dict[str, Group] = {}
        self._chats: dict[str, Group] = {}
        self._systems: dict[str, str] = {}
        self._shapes: dict[Any, _Waiting] = {}
        self._unmatched = Group("unmatched", "unmatched", generator)

    def add(self, call: Call) -> None:
        """Count one call, now or when enough like it have come."""
        prompt = prompt_of(call.request)
        owner = self._owners.of(call)
        if owner is not None:
            self._count(self._group_of(owner), call, prompt)
        elif call.workload_id:
            self._count(self._workload(call.workload_id), call, prompt)
        elif prompt is None:
            self._count(self._chat(call), call, prompt)
        else:
            self._route(call, prompt)

    def finish(self) -> list[Group]:
        """All groups that have calls."""
        for waiting in self._shapes.values():
            self._settle(waiting, final=True)
        exact = [group for waiting in self._shapes.values() for group in waiting.groups]
        self._absorb_openings(exact)
        every = [*self._known.values(), *self._workloads.values(), *exact, *self._chats.values(), self._unmatched]
        return [group for group in dict.fromkeys(every) if group.tally.calls]

    def _count(self, group: Group, call: Call, prompt: Prompt | None) -> None:
        group.add(call, prompt, self._prices.cost(call))

    def _group_of(self, task: Task) -> Group:
        if task.name not in self._known:
            # A task without a template of its own is read as its workload's calls are, whoever named it.
            kind = "workload" if task.match.workload or task.template is None else "template"
            name = task.match.workload or task.name
            self._known[task.name] = Group(kind, name, self._generator, task.template, task)
        return self._known[task.name]

    def _workload(self, name: str) -> Group:
        if name not in self._workloads:
            if len(self._workloads) >= MAX_GROUPS:
                return self._unmatched
            self._workloads[name] = Group("workload", name, self._generator)
        return self._workloads[name]

    def _chat(self, call: Call) -> Group:
        """The group of conversations under one system prompt."""
        system = system_text(call.request)
        if not system:
            return self._unmatched
        key = digest_of(masked(system).text)[:16]
        if key not in self._chats:
            if len(self._chats) >= MAX_GROUPS:
                return self._unmatched
            self._chats[key] = Group("chat", system[:2_000], self._generator)
            self._systems[key] = system
        return self._chats[key]

    def _route(self, call: Call, prompt: Prompt) -> None:
        key = (prompt.roles, answer_format(call.request))
        waiting = self._shapes.get(key)
        if waiting is None:
            if len(self._shapes) >= MAX_SHAPES:
                self._count(self._chat(call), call, prompt)
                return
            waiting = self._shapes[key] = _Waiting()
            loose = [self._group_of(task) for task in self._loose]
            waiting.groups += [group for group in loose if _roles(group) == prompt.roles]
        for group in waiting.groups:
            if not is_broad_group(group) and _fits(group, call):
                self._count(group, call, prompt)
                return
        waiting.calls.append((call, prompt))
        waiting.characters += sum(map(len, prompt.texts))
        if len(waiting.calls) >= waiting.room:
            self._settle(waiting)
        elif sum(other.characters for other in self._shapes.values()) > WAITING_CHARACTERS:
            self._settle(max(self._shapes.values(), key=lambda other: other.characters))

    def _settle(self, waiting: _Waiting, final: bool = False) -> None:
        """Mine the waiting calls, then count every one in the group it fits."""
        if not waiting.calls:
            return
        sample = waiting.calls
        if _has_free_turns([prompt for _, prompt in sample]):
            sample = []
        elif len(sample) > MINED:
            chosen = self._generator.choice(len(sample), MINED, replace=False)
            sample = [sample[place] for place in sorted(chosen)]
        fresh = [self._found(waiting, cluster) for cluster in self._templates(sample)]
        if not any(fresh):
            waiting.room = min(2 * waiting.room, MOST_WAITING_CALLS)
        waiting.groups.sort(key=lambda group: (is_broad_group(group), -len(constants(group.template or _NOTHING))))
        left, waiting.calls, waiting.characters = waiting.calls, [], 0
        for call, prompt in left:
            group = next((group for group in waiting.groups if _fits(group, call)), None)
            self._count(group or self._chat(call), call, prompt)

    def _templates(self, sample: Sequence[tuple[Call, Prompt]]) -> Iterator[Cluster]:
        """The templates in a sample: first those that say much; among the prompts of none, those that say little and
        are answered with little."""
        mined = clusters([prompt for _, prompt in sample])
        sure = [cluster for cluster in mined if self._is_template(cluster)]
        yield from sure
        left = [prompt for cluster in mined if cluster not in sure for prompt in cluster.prompts]
        if left:
            yield from short_clusters(left, {prompt: answer_kind(call) for call, prompt in sample})

    def _is_template(self, cluster: Cluster) -> bool:
        """Whether a cluster is a task's prompts: enough of them, sure constants, and no free turns of an assistant."""
        free_turns = any(
            message.role not in _ASKING_ROLES and any(part.slot for part in message.parts)
            for message in cluster.template.messages
        )
        return cluster.sure and len(set(cluster.prompts)) >= LEAST_PROMPTS and not free_turns

    def _found(self, waiting: _Waiting, cluster: Cluster) -> bool:
        """Take a mined template in; True where it is news and not a wider form of one known."""
        roles = tuple(message.role for message in cluster.template.messages)
        known = [group for group in self._known.values() if _roles(group) == roles and group not in waiting.groups]
        for group in (*waiting.groups, *known):
            if group.template is not None and group.template.fingerprint == cluster.template.fingerprint:
                return False
            wider = _wider(group, cluster)
            if wider is not None:
                group.template = wider
                if group in known:
                    waiting.groups.append(group)
                return True
        group = Group("template", "", self._generator, cluster.template)
        waiting.groups.append(group)
        return True

    def _absorb_openings(self, groups: list[Group]) -> None:
        """The first turns of conversations look like a task of their own; they go to the conversation.

        Where a free-form prompt stands under the same system prompt as conversations with several turns.
        """
        for group in groups:
            if group.template is None or not is_broad_group(group):
                continue
            chat = self._chat_under(group.template)
            if chat is not None and chat.tally.calls >= group.tally.calls:
                group.kind, group.name, group.template = "opening", chat.name, None

    def _chat_under(self, template: Template) -> Group | None:
        """The conversations under a template's system prompt, where that has no input."""
        for message in template.messages:
            if message.role in {"system", "developer"}:
                if any(part.slot and kind_of(part.slot) in ("", "space") for part in message.parts):
                    return None
                keys = (key for key, text in self._systems.items() if cut_text(message.parts, text) is not None)
                return self._chats.get(next(keys, ""))
        return None


def system_text(request: dict[str, Any]) -> str:
    """The system prompt of a request, "" where there is none."""
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") in {"system", "developer"}:
            return (message_text(message) or "").strip()
    return ""


def _has_free_turns(prompts: list[Prompt]) -> bool:
    """Whether what an assistant said earlier differs from call to call: a conversation, not few-shot examples."""
    for place, role in enumerate(prompts[0].roles):
        replies = {prompt.texts[place] for prompt in prompts}
        if role not in _ASKING_ROLES and len(replies) > max(3, len(prompts) / 4):
            return True
    return False


def is_broad_group(group: Group) -> bool:
    return group.template is not None and is_broad(group.template)


_NOTHING = Template(messages=(MessageTemplate(role="", parts=(Part(slot="input"),)),))


def _roles(group: Group) -> tuple[str, ...]:
    return tuple(message.role for message in group.template.messages) if group.template is not None else ()


def _fits(group: Group, call: Call) -> bool:
    return group.template is not None and group.template.cut(call.request) is not None


def _wider(group: Group, cluster: Cluster) -> Template | None:
    """The template of a group and a cluster together, where they are one template with a slot that was constant."""
    if group.template is None:
        return None
    known = [prompt for prompt in group.prompts.items if prompt is not None]
    if not known:
        return None
    together = mine_template([*known, *cluster.prompts])
    if is_broad(together) and not (is_broad(group.template) and is_broad(cluster.template)):
        return None
    size = len(constants(together))
    lost = max(len(constants(group.template)), len(constants(cluster.template))) - size
    return together if is_sure(constants(together)) and lost <= _MAY_DIFFER and size >= lost else None
