"""The tasks that a gateway serves: what the store knows, what was built, and whether its certificate stands."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from stepdown.core.calls import Call
from stepdown.core.contract import Privacy, parse_duration
from stepdown.core.errors import StepdownError
from stepdown.core.family import families
from stepdown.core.record import BuildRecord
from stepdown.core.store import Store
from stepdown.core.tasks import Match, Task
from stepdown.curation.personal_data import mask
from stepdown.gateway.cascades import OpenCascade, RungThreads
from stepdown.gateway.departures import tokens_allowed
from stepdown.gateway.routing import answer_shape
from stepdown.gateway.served import Manners, ServedTask
from stepdown.loop.answering import open_cascade
from stepdown.loop.certificates import why_not_in_force
from stepdown.loop.discovery import calls_of, with_settings
from stepdown.loop.home import Home
from stepdown.loop.records import BuildFolder, built_tasks, latest

log = logging.getLogger("stepdown.gateway")

SAMPLE = 300
_STRICTNESS: tuple[Privacy, ...] = ("any", "redact", "local-only")


@dataclass(frozen=True)
class _Opened:
    """A build as it was opened: its name and whether its certificate stood, so that it is opened once."""

    build: str
    stands: bool
    served: ServedTask


class ServedTasks:
    """Keeps what is open between looks, so that a look costs nothing while nothing has changed."""

    def __init__(self, home: Home, threads: RungThreads) -> None:
        self._home, self._threads = home, threads
        self._open: dict[str, _Opened] = {}
        self._seen: object = None

    def look(self, store: Store) -> list[ServedTask] | None:
        """Every task as it is served now; None where nothing has changed since the last look."""
        known = store.tasks()
        built = self._builds()
        now = self._home.clock()
        standing = {name: (folder.path.name, self._stands(folder, now)) for name, folder in built.items()}
        seen = (known, standing)
        if seen == self._seen:
            return None
        tasks = [self._served(store, name, folder, standing[name]) for name, folder in built.items()]
        names = {*known, *self._home.settings.tasks} - set(built)
        tasks += [
            self._unbuilt(known.get(name) or Task(name=name, family="", match=Match(workload=name))) for name in names
        ]
        self._seen = seen
        return sorted(tasks, key=lambda task: task.name)

    def _builds(self) -> dict[str, BuildFolder]:
        found = {}
        for name in built_tasks(self._home):
            try:
                found[name] = latest(self._home, name)
            except StepdownError as error:
                log.error("a build cannot be read", extra={"task": name, "error": str(error)})
        return found

    def _stands(self, folder: BuildFolder, now: float) -> str:
        try:
            return why_not_in_force(folder.read_certificate(), now)
        except StepdownError as error:
            return f"certificate unreadable: {error.got}"

    def _served(self, store: Store, name: str, folder: BuildFolder, standing: tuple[str, str]) -> ServedTask:
        known = self._open.get(name)
        if known is not None and (known.build, known.served.why_not) == standing:
            return known.served
        try:
            served = self._opened(store, folder, standing[1])
        except StepdownError as error:
            # The incumbent answers: what cannot be opened whole is not what was certified.
            log.error("a cascade cannot be opened", extra={"task": name, "error": str(error)})
            served = self._unbuilt(
                Task(name=name, family="", match=Match(workload=name)), f"cannot be opened: {error.got}"
            )
        self._open[name] = _Opened(standing[0], not standing[1], served)
        return served

    def _opened(self, store: Store, folder: BuildFolder, why_not: str) -> ServedTask:
        certificate = folder.read_certificate()
        task = with_settings(folder.read_task(), self._home.settings)
        privacy = self._privacy(task.name, str(certificate.contract.get("privacy", "any")))
        if why_not:
            return self._unbuilt(task, why_not, privacy)
        spec = folder.read_cascade()
        if spec.digest != certificate.cascade_hash:
            return self._unbuilt(task, "the certificate is for another cascade", privacy)
        cascade = open_cascade(self._home, spec)
        family = families().load(task.family)
        record = folder.read_record()
        # The students learned from masked texts where the contract says so, and are shown none other.
        masked = certificate.contract.get("privacy") == "redact"
        manners = _manners(task, itertools.islice(calls_of(store, task), SAMPLE), record)
        if manners is None:
            return self._unbuilt(task, "no recorded answer shows the shape of one", privacy)
        said = self._home.settings.task(task.name)
        return ServedTask(
            task=task,
            family=family,
            privacy=privacy,
            decide=OpenCascade(cascade, self._threads, mask if masked else None),
            why_not="",
            certificate=certificate.digest,
            valid_from=certificate.issued_at,
            valid_until=certificate.expires_at,
            manners=manners,
            student_cost_usd=_per_call(record.cascade.cost_per_1k.value)
            if record.cascade and record.cascade.cost_per_1k
            else 0.0,
            incumbent=said.incumbent,
            cache_s=parse_duration(said.cache) if said.cache else 0.0,
            build=folder.path.name,
        )

    def _unbuilt(self, task: Task, why_not: str = "not built", privacy: Privacy | None = None) -> ServedTask:
        said = self._home.settings.task(task.name)
        task = with_settings(task, self._home.settings)
        return ServedTask(
            task=task,
            family=None,
            privacy=privacy or said.contract.privacy,
            why_not=why_not,
            incumbent=said.incumbent,
            cache_s=parse_duration(said.cache) if said.cache else 0.0,
        )

    def _privacy(self, name: str, certified: str) -> Privacy:
        """The stricter of what was certified and what the settings say now."""
        said = self._home.settings.task(name).contract.privacy
        return max((said, *(one for one in _STRICTNESS if one == certified)), key=_STRICTNESS.index)


def _manners(task: Task, calls: Iterable[Call], record: BuildRecord) -> Manners | None:
    """How the incumbent answers, from recorded calls; None where none of them can be read."""
    family = families().load(task.family)
    likes: list[Call] = []
    shapes = set()
    limits = set()
    prompt = completion = prompt_characters = completion_characters = 0
    for call in calls:
        if call.rung or family.read_answer(task, call) is None:
            continue
        likes.append(call)
        shapes.add(answer_shape(call.request))
        limits.add(tokens_allowed(call.request) or 0)
        if call.prompt_tokens and call.completion_tokens and call.content:
            prompt, completion = prompt + call.prompt_tokens, completion + call.completion_tokens
            completion_characters += len(call.content)
            prompt_characters += sum(len(str(message.get("content") or "")) for message in call.request["messages"])
    if not likes:
        return None
    cost = record.incumbent.cost_per_1k
    return Manners(
        like=likes[0].content or "",
        model=likes[-1].model,
        prompt_tokens_per_character=prompt / prompt_characters if prompt_characters else 0.25,
        completion_tokens_per_character=completion / completion_characters if completion_characters else 0.25,
        cost_usd=_per_call(cost.value) if cost else 0.0,
        shapes=frozenset(shapes),
        least_limit=min(limits - {0}, default=0),
    )


def _per_call(per_1k: float) -> float:
    return per_1k / 1000.0
