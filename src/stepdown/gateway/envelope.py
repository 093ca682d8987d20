"""What stands around the incumbent's answers (service tier, details of usage, annotations), learnt from recorded ones.

What is the same in all of them is said again; what differs is of one answer alone, and is null, 0 or empty. So are the
details of usage: a student reads no cache and does not think.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stepdown.wires import anthropic_messages, openai_chat

BESIDE = "envelope"
"""Under which a recorded answer of another wire has what its chat shape has no room for."""

_MOST_BYTES = 16 << 10
_OF_BODY = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", BESIDE})
_OF_CHOICE = frozenset({"index", "message", "finish_reason", "delta"})
_OF_MESSAGE = frozenset({"role", "content", "tool_calls", "function_call"})
_OF_USAGE = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_OF_MESSAGES = frozenset({"id", "type", "role", "model", "content", "stop_reason", "stop_sequence"})
_ID_START = re.compile(r"[A-Za-z]{1,16}[-_]").match
_ALWAYS_SAID = {
    "usage": {
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }
}
"""What every message of Anthropic's own API says: docs.anthropic.com/en/api/messages (usage)."""


@dataclass(frozen=True)
class Envelope:
    """Of a chat completion: fields of the body, of a choice, of its message and of the usage, beside those that every
    answer has of its own. has_fingerprint: whether there is a `system_fingerprint`. has_content: whether messages that
    call tools have a content, of null. id_start: how ids begin. messages: fields of an Anthropic message."""

    body: dict[str, Any] = field(default_factory=dict)
    choice: dict[str, Any] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    has_fingerprint: bool = True
    has_content: bool = True
    id_start: str = ""
    messages: dict[str, Any] = field(default_factory=lambda: dict(_ALWAYS_SAID))


UNKNOWN = Envelope(choice={"logprobs": None}, message={"refusal": None})
"""Where no recorded answer is a whole one: with what clients count on."""


def beside(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the chat shape of an answer on that wire has no room for, to be recorded with it."""
    if name != anthropic_messages.NAME:
        return {}
    return {BESIDE: {key: value for key, value in body.items() if key not in _OF_MESSAGES}}


def without_beside(completion: dict[str, Any]) -> dict[str, Any]:
    """A recorded chat completion as a client gets it."""
    return {key: value for key, value in completion.items() if key != BESIDE}


def learn(responses: Sequence[tuple[dict[str, Any], bool]]) -> Envelope:
    """The envelope of recorded responses in chat shape, each with whether it was streamed: a stream says less, so that
    whole ones are learnt from where there are some."""
    whole = [body for body, streamed in responses if not streamed and _is_whole(body)]
    bodies = whole or [body for body, _ in responses if _is_whole(body)]
    messages = _learnt([body[BESIDE] for body, _ in responses if isinstance(body.get(BESIDE), dict)], frozenset())
    said = {**_ALWAYS_SAID, **messages}
    said["usage"] = {**_ALWAYS_SAID["usage"], **_zeroed(_without(messages.get("usage"), "input_tokens output_tokens"))}
    if not bodies:
        return Envelope(choice=UNKNOWN.choice, message=UNKNOWN.message, messages=_bounded(said))
    choices = [choice for body in bodies for choice in body["choices"] if isinstance(choice, dict)]
    messages_of = [_dict(choice.get("message")) for choice in choices]
    calling = [message for message in messages_of if message.get("tool_calls") or message.get("function_call")]
    return Envelope(
        body=_bounded(_learnt(bodies, _OF_BODY)),
        choice=_bounded(_learnt(choices, _OF_CHOICE)),
        message=_bounded(_learnt([_beside_answer(message) for message in messages_of], frozenset())),
        usage=_bounded(_zeroed(_learnt([_dict(body.get("usage")) for body in bodies], _OF_USAGE))),
        has_fingerprint=sum("system_fingerprint" in body for body in bodies) * 2 >= len(bodies),
        has_content=sum("content" in message for message in calling) * 2 >= len(calling),
        id_start=_start(str(body.get("id") or "") for body in bodies),
        messages=_bounded(said),
    )


def enclosed(envelope: Envelope, completion: dict[str, Any]) -> dict[str, Any]:
    """A chat completion in its envelope. What it says itself stands."""
    out = {**completion, **{key: value for key, value in envelope.body.items() if key not in completion}}
    out["choices"] = [
        {**envelope.choice, **choice, "message": _message(envelope, choice["message"])}
        for choice in completion["choices"]
    ]
    out["usage"] = {**completion["usage"], **envelope.usage}
    if not envelope.has_fingerprint:
        out.pop("system_fingerprint", None)
    return out


def _message(envelope: Envelope, message: dict[str, Any]) -> dict[str, Any]:
    out = {**envelope.message, **message}
    if out.get("content") is None and not envelope.has_content:
        out.pop("content", None)
    return out


def _beside_answer(message: dict[str, Any]) -> dict[str, Any]:
    """A message without its answer; some incumbents say of those that call no tool that there is none."""
    names = [key for key in ("tool_calls", "function_call") if key in message and not message[key]]
    silent: dict[str, Any] = dict.fromkeys(names)
    return {**{key: value for key, value in message.items() if key not in _OF_MESSAGE}, **silent}


def on_wire(envelope: Envelope, name: str, completion: dict[str, Any]) -> dict[str, Any]:
    """A completion in its envelope as an answer on a wire. Raises ValueError as the wires do."""
    if name == openai_chat.NAME:
        return completion
    body = anthropic_messages.from_completion(completion)
    usage = {**_dict(envelope.messages.get("usage")), **body["usage"]}
    return {**body, **{key: value for key, value in envelope.messages.items() if key not in body}, "usage": usage}


def id_on_wire(envelope: Envelope, name: str, call_id: str) -> str:
    """The id of an answer, by which the call is found again as by its own."""
    start = "msg_" if name == anthropic_messages.NAME else envelope.id_start or "chatcmpl-"
    return start + call_id.removeprefix("call-")


def _is_whole(body: dict[str, Any]) -> bool:
    """Whether a recorded response is as an API gave it, and not as a log was cut down to."""
    is_chat = BESIDE not in body and {"object", "created", "choices"} <= body.keys()
    return is_chat and isinstance(body["choices"], list)


def _learnt(values: Sequence[dict[str, Any]], own: frozenset[str]) -> dict[str, Any]:
    """What most of the objects have, but for what each has of its own."""
    keys = dict.fromkeys(key for value in values for key in value if key not in own)
    found = {key: [value[key] for value in values if key in value] for key in keys}
    return {key: _pattern(each) for key, each in found.items() if len(each) * 2 >= len(values)}


def _pattern(values: Sequence[Any]) -> Any:
    objects = [value for value in values if isinstance(value, dict)]
    if objects and len(objects) * 2 >= len(values):
        return _learnt(objects, frozenset())
    first = values[0]
    if isinstance(first, list):
        return first if not first or (len(values) > 1 and all(value == first for value in values)) else []
    if all(value == first for value in values) and (len(values) > 1 or not isinstance(first, str)):
        return first
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return type(first)(0)
    return None


def _zeroed(value: Any) -> Any:
    """Numbers are what an answer took: a student's took nothing of it."""
    if isinstance(value, dict):
        return {key: _zeroed(each) for key, each in value.items()}
    if isinstance(value, list):
        return []
    return type(value)(0) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    return value if len(msgspec.json.encode(value)) <= _MOST_BYTES else {}


def _start(ids: Iterable[str]) -> str:
    starts = {found.group() if (found := _ID_START(name)) else "" for name in ids}
    return starts.pop() if len(starts) == 1 else ""


def _without(value: Any, names: str) -> dict[str, Any]:
    return {key: each for key, each in _dict(value).items() if key not in names.split()}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
