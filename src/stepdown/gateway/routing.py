"""Which task a request is of: by the workload it names, the model alias it asks for, or the prompt template it fits.

Names are matched, not trusted: while a task is served whose requests may not leave as they are, what fits its template
or repeats a sentence of it is that task's whatever it names, and what is not known to be another task's is treated as
the strictest task's requests are.

A template is looked up by its messages' constant text: all of it where nothing varies, else how it begins and ends. So
the time does not grow with the number of tasks: the lengths of the beginnings are rounded to eighths of an octave, and
a request is hashed once for each length in use. Where nothing is found so, it is looked up once more with every run of
white space as one blank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from stepdown.core.contract import Privacy
from stepdown.core.gateway import Unmatched
from stepdown.core.ownership import claim_order, constant_characters, tells
from stepdown.core.tasks import SlotValues, Template, message_text
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.served import ServedTask

WORKLOAD_HEADERS = (b"x-stepdown-workload", b"x-workload-id")
WORKLOAD_FIELDS = ("workload_id", "workload")
LEAST_CONSTANT_CHARACTERS = 24
"""A template with less constant text than this does not tell for sure that a request is its task's, where another may
be stricter about what leaves this machine."""

STRICTNESS: tuple[Privacy, ...] = ("any", "redact", "local-only")
_UNMATCHED: dict[Unmatched, Privacy] = {"pass": "any", "redact": "redact", "refuse": "local-only"}
_LEAST_LETTERS = 20
"""A sentence with fewer letters and digits is nobody's own."""
_SENTENCE_ENDS = re.compile(r"[\n.!?:;]+")
_SPACES = re.compile(r"\s+")
_NO_LETTERS = re.compile(r"[\W_]+")

_TAIL = 32
_WHOLE = 1 << 20
"""Instead of a length: a message without a slot, as most system prompts are, is looked up by all of it."""
_Shape = tuple[tuple[int, int], ...]
_LENGTHS = sorted({int(2 ** (step / 8)) for step in range(24, 137)})


class Routes:
    """The tasks that are served, for looking requests up. Made anew when they change; never changed."""

    def __init__(self, tasks: Iterable[ServedTask], unmatched: Unmatched = "") -> None:
        """unmatched: what becomes of requests that are not known to be a task's; "" for what the strictest task of all
        says of its own."""
        self.tasks = {task.name: task for task in tasks}
        self._workloads: dict[str, ServedTask] = {}
        self._models: dict[str, ServedTask] = {}
        self._templates: dict[tuple[str, ...], _Templates] = {}
        self._telling: set[str] = set()
        for task in self.tasks.values():
            match, template = task.task.match, task.task.template
            self._workloads.setdefault(task.workload, task)
            for name in (task.name, *match.names):
                self._workloads.setdefault(name, task)
            if match.model and not match.workload and not match.template:
                self._models.setdefault(match.model, task)
            if template is not None and tells(template):
                roles = tuple(message.role for message in template.messages)
                self._templates.setdefault(roles, _Templates()).add(task, template)
                if constant_characters(template) >= LEAST_CONSTANT_CHARACTERS:
                    self._telling.add(task.name)
        self._strictest = max(map(_strictness, self.tasks.values()), default=0)
        self.unmatched: Privacy = _UNMATCHED.get(unmatched, STRICTNESS[self._strictest])
        self._lets_pass = not self._strictest and self.unmatched == "any"
        self._sentences = _own_sentences(self.tasks.values()) if self._strictest else {}

    @property
    def aliases(self) -> list[str]:
        """The model names that stand for tasks, also where those are found by a workload or template: the upstream is
        then asked for the task's incumbent."""
        renamed = {task.task.match.model for task in self.tasks.values() if task.incumbent and task.task.match.model}
        return sorted(renamed | self._models.keys())

    def find(self, exchange: Exchange) -> tuple[ServedTask | None, SlotValues | None]:
        """The task of a request and its variable input; None for an input that does not fit the task's template.

        Noted on the exchange: what the client calls it, and the privacy that holds for it.
        """
        chat, named = exchange.chat, _workload(exchange)
        model = chat.get("model")
        exchange.workload = named
        found: list[tuple[ServedTask, SlotValues | None]] = []
        if named in self._workloads:
            found.append((self._workloads[named], _cut(self._workloads[named], chat)))
        if self._models and isinstance(model, str) and model in self._models:
            found.append((self._models[model], _cut(self._models[model], chat)))
        if not found or self._strictest:
            found += self._fitting(chat)
            if not found and self._lets_pass:
                return None, None
        # The first of the strictest: what a request names, then its alias, then the most telling template.
        task, value = max(found, key=lambda one: _strictness(one[0])) if found else (None, None)
        if self._strictest and (task is None or _strictness(task) < self._strictest):
            similar = self._similar(exchange, task, value)
            if similar is not None:
                task, value = similar, None
        exchange.privacy = task.privacy if task is not None else "any"
        if self.unmatched != exchange.privacy and not self._is_known(exchange, task, value):
            exchange.privacy = max(exchange.privacy, self.unmatched, key=STRICTNESS.index)
        return task, value

    def _is_known(self, exchange: Exchange, task: ServedTask | None, value: SlotValues | None) -> bool:
        """Whether a request is a task's for sure: its template says enough, or its key is for no stricter task."""
        if task is None or value is None:
            return False
        key = exchange.key
        of_key = [self.tasks[name] for name in key.tasks if name in self.tasks] if key else []
        return task.name in self._telling or (task in of_key and max(map(_strictness, of_key)) == _strictness(task))

    def _similar(self, exchange: Exchange, task: ServedTask | None, value: SlotValues | None) -> ServedTask | None:
        """A stricter task that a request repeats a sentence of, in its input where the rest is its own task's."""
        body: Any = exchange.body
        if value is not None:  # The constant texts of its own task are nobody else's.
            fields = {name: each for name, each in body.items() if name not in ("messages", "system")}
            body = [value, fields, [{**message, "content": None} for message in body["messages"]]]
        text = _letters(" ".join(_texts(body)))
        similar = [other for sentence, other in self._sentences.items() if sentence in text]
        strictest = max(similar, key=_strictness, default=None)
        if strictest is None or (task is not None and _strictness(strictest) <= _strictness(task)):
            return None
        return strictest

    def _fitting(self, chat: dict[str, Any]) -> list[tuple[ServedTask, SlotValues | None]]:
        """The tasks whose templates a request fits; those of other white space where it fits none as is."""
        templates, texts = self._like(chat)
        for look in (templates.exact, templates.loose) if templates is not None else ():
            cut = ((task, template.cut(chat)) for task, template in look(texts))
            fits: list[tuple[ServedTask, SlotValues | None]] = [
                (task, value) for task, value in cut if value is not None
            ]
            if fits:
                return fits
        return []

    def candidates(self, chat: dict[str, Any]) -> Iterator[tuple[ServedTask, Template]]:
        """The few tasks whose templates begin and end as a request does, the most telling first."""
        templates, texts = self._like(chat)
        if templates is not None:
            yield from templates.exact(texts)

    def _like(self, chat: dict[str, Any]) -> tuple[_Templates | None, list[str]]:
        """The templates that a request's roles and first word fit, and its texts; None where there are none."""
        messages = chat["messages"]
        try:
            templates = self._templates.get(tuple([message.get("role") for message in messages]))
        except TypeError:  # A role that is no text.
            return None, []
        if templates is None or not templates.begin_as(messages):
            return None, []
        texts = [message_text(message) for message in messages]
        return (None, []) if None in texts else (templates, [text or "" for text in texts])


class _Templates:
    """Templates of one sequence of roles, by how their messages begin and end: as they stand, and with one blank for
    every run of white space."""

    def __init__(self) -> None:
        self._exact, self._loose = _Buckets(), _Buckets()
        self._words: set[str] = set()
        """What the first messages begin with, to tell at little cost what fits none, whatever its white space."""

    def add(self, task: ServedTask, template: Template) -> None:
        self._words.add(_first_word(template))
        for buckets, texts in ((self._exact, _as_they_are), (self._loose, _one_blank)):
            buckets.add(task, template, *_key_of(template, texts))

    def exact(self, texts: Sequence[str]) -> Iterator[tuple[ServedTask, Template]]:
        return self._exact.candidates(texts)

    def begin_as(self, messages: Sequence[dict[str, Any]]) -> bool:
        """Whether messages begin with a word that a template's may begin with."""
        if "" in self._words or not messages:
            return True
        text = message_text(messages[0])
        return text is not None and "".join(text.split(None, 1)[:1]) in self._words

    def loose(self, texts: Sequence[str]) -> Iterator[tuple[ServedTask, Template]]:
        return self._loose.candidates([" ".join(text.split()) for text in texts])


class _Buckets:
    """Templates by their keys, for each shape of a key that is in use."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._buckets: dict[Any, list[tuple[ServedTask, Template]]] = {}

    def add(self, task: ServedTask, template: Template, shape: _Shape, key: Any) -> None:
        if shape not in self._shapes:
            self._shapes.append(shape)
            # The most telling first: a template that says more is not hidden by one that says less.
            self._shapes.sort(key=lambda one: -sum(head + tail for head, tail in one))
        bucket = self._buckets.setdefault((shape, key), [])
        bucket.append((task, template))
        bucket.sort(key=lambda pair: _claim_order(pair[0]))

    def candidates(self, texts: Sequence[str]) -> Iterator[tuple[ServedTask, Template]]:
        # Only the side that is looked at is stripped: a constant may end in the space before an empty slot.
        begins, ends = [text.lstrip() for text in texts], [text.rstrip() for text in texts]
        for shape in self._shapes:
            key = tuple(
                [
                    (begin.rstrip(), "") if head == _WHOLE else (begin[:head], end[len(end) - tail :] if tail else "")
                    for begin, end, (head, tail) in zip(begins, ends, shape, strict=True)
                ]
            )
            yield from self._buckets.get((shape, key), ())


def _key_of(template: Template, read: Callable[[str], str]) -> tuple[_Shape, tuple[tuple[str, str], ...]]:
    shape, key = [], []
    for message in template.messages:
        if not any(part.slot for part in message.parts):
            shape.append((_WHOLE, 0))
            key.append((read("".join(part.text for part in message.parts)).strip(), ""))
            continue
        first, last = read(message.parts[0].text).lstrip(), read(message.parts[-1].text).rstrip()
        head = max((length for length in _LENGTHS if length <= len(first)), default=0)
        tail = _TAIL if len(last) >= _TAIL else 0
        shape.append((head, tail))
        key.append((first[:head], last[len(last) - tail :] if tail else ""))
    return tuple(shape), tuple(key)


def _first_word(template: Template) -> str:
    """The word that a template's first message begins with, "" where that is none or a slot may go on with it."""
    parts = template.messages[0].parts if template.messages else ()
    text = parts[0].text.lstrip() if parts else ""
    word = "".join(text.split(None, 1)[:1])
    return word if len(word) < len(text) or len(parts) == 1 else ""


def _as_they_are(text: str) -> str:
    return text


def _one_blank(text: str) -> str:
    return _SPACES.sub(" ", text)


def _claim_order(task: ServedTask) -> tuple[Any, ...]:
    """As recorded calls are claimed; but of templates that say the same, one that is answered here comes first: what
    was found twice and built once hides nothing."""
    said, is_named, name = claim_order(task.task)
    return said, is_named, task.decide is None, name


def _cut(task: ServedTask, chat: dict[str, Any]) -> SlotValues | None:
    return task.task.template.cut(chat) if task.task.template is not None else None


def _strictness(task: ServedTask) -> int:
    return STRICTNESS.index(task.privacy)


def _own_sentences(tasks: Iterable[ServedTask]) -> dict[str, ServedTask]:
    """The sentences of the templates of tasks whose requests may not leave as they are, but for those that a task of
    less privacy has too; the strictest task by sentence. A task that says just what a stricter one says is no other
    task: the same prompt was found twice, and takes nothing away."""
    found: dict[str, ServedTask] = {}
    shared: set[str] = set()
    said = [(task, _sentences(task.task.template)) for task in tasks if task.task.template is not None]
    strict = {frozenset(sentences) for task, sentences in said if task.privacy != "any"}
    for task, sentences in sorted(said, key=lambda one: _strictness(one[0])):
        if task.privacy == "any":
            shared.update(sentences if frozenset(sentences) not in strict else ())
        else:
            found.update((sentence, task) for sentence in sentences if sentence not in shared)
    return found


def _sentences(template: Template) -> list[str]:
    constants = (part.text for message in template.messages for part in message.parts)
    letters = (_letters(one) for constant in constants for one in _SENTENCE_ENDS.split(constant))
    return [one for one in letters if len(one) >= _LEAST_LETTERS]


def _letters(text: str) -> str:
    """A text without what is no letter or digit: another space, line or sign makes no other sentence of it."""
    return _NO_LETTERS.sub("", text.casefold())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _workload(exchange: Exchange) -> str:
    headers = exchange.request.headers
    for name in WORKLOAD_HEADERS:
        if name in headers:
            return headers[name].decode("utf-8", "replace")[:200]
    metadata = exchange.body.get("metadata")
    if isinstance(metadata, dict):
        for field in WORKLOAD_FIELDS:
            value = metadata.get(field)
            if isinstance(value, str) and value:
                return value[:200]
    return ""
