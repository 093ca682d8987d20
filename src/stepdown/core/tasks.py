"""A task: calls that ask the same thing again and again. A prompt template, its variable inputs, its answer shape."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.cutting import SPACE, cut_text, holds
from stepdown.core.extraction.form import Form

SlotValues = str | dict[str, str]
"""A call's variable part: one text, or one text per slot where a template has several."""

LEAST_PREFIX = 6
"""Characters of a fingerprint that are enough to name a template."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a message: constant `text`, or a `slot` with the name of what varies there."""

    text: str = ""
    slot: str = ""


class MessageTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """One message: its role and its parts in order. Two slots never touch."""

    role: str
    parts: tuple[Part, ...]


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """The constant parts and the variable slots of a prompt."""

    messages: tuple[MessageTemplate, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that hold inputs, in order."""
        slots = (part.slot for message in self.messages for part in message.parts if part.slot)
        return tuple(slot for slot in slots if not slot.startswith(SPACE))

    @property
    def broad(self) -> bool:
        """Whether a message is nothing but an input, so that nearly anything fits there."""
        return any(len(message.parts) == 1 and message.parts[0].slot for message in self.messages)

    @property
    def fingerprint(self) -> str:
        """A hash of the constant parts: equal templates have equal fingerprints."""
        return digest_of(self.messages)[:16]

    def cut(self, request: dict[str, Any]) -> SlotValues | None:
        """The variable input of a request (OpenAI chat shape), or None when it does not fit this template."""
        messages = request.get("messages")
        if not isinstance(messages, list) or len(messages) != len(self.messages):
            return None
        found: dict[str, str] = {}
        for template, message in zip(self.messages, messages, strict=True):
            text = message_text(message)
            if text is None or message.get("role") != template.role:
                return None
            values = cut_text(template.parts, text)
            if values is None:
                return None
            for slot, value in values.items():
                if not slot.startswith(SPACE):
                    found[slot] = value
                elif not holds(slot, value):
                    return None
        return next(iter(found.values())) if len(found) == 1 else found


def message_text(message: Any) -> str | None:
    """A message's text: its string content, or its text parts joined; None when it holds anything else."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return None


def input_text(value: SlotValues) -> str:
    """An input as the one text that a student reads: a string as it is, slots as `name: value` lines."""
    if isinstance(value, str):
        return value
    return "\n".join(f"{name}: {value[name]}" for name in sorted(value))


def is_empty(value: SlotValues) -> bool:
    """Whether an input holds no text at all: nothing but white space in any slot."""
    return not (value.strip() if isinstance(value, str) else any(part.strip() for part in value.values()))


class Match(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a request is known to belong to a task. workload, model and template must agree where they are set.

    template: the fingerprint of the template that the task was found by. names: others that its calls may be kept
    under: those that it had before, and those of tasks that it took in. within: the task that this one was split from.
    """

    workload: str = ""
    model: str = ""
    template: str = ""
    names: tuple[str, ...] = ()
    within: str = ""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a task.

    answer: where the decision sits in the incumbent's answer: "$" for the whole text, "$.category" for a field of a
    JSON answer. labels: the answers seen, for a closed set (for others, their slices); the prompt may list more. form:
    the fields of answers that have some.
    """

    name: str
    family: str
    match: Match
    template: Template | None = None
    answer: str = "$"
    labels: tuple[str, ...] = ()
    form: Form | None = None


def is_fingerprint(prefix: str, fingerprint: str) -> bool:
    """Whether a text is the fingerprint or its first characters, at least `LEAST_PREFIX`, in any case."""
    return len(prefix) >= LEAST_PREFIX and fingerprint.startswith(prefix.lower())
