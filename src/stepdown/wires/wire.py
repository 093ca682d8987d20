"""The wires that clients and upstreams speak, by name, and the way from any of them to any other.

Adding a wire is a module with the names of `Wire`, and a translator of streams for each wire that it is to meet. The
way between two wires leads through the chat.completions shape, except for streams, which are translated as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from stepdown.wires import anthropic_messages, openai_chat
from stepdown.wires.stream_translator import StreamTranslator
from stepdown.wires.translated_streams import ChatToMessages, MessagesToChat
from stepdown.wires.wire_errors import read_error


class Wire(Protocol):
    """What a module of a wire does. Everything is pure, and raises ValueError in plain words for what it cannot take.

    `NAME` is how settings name the wire, `PATH` the end of the path that its requests are posted to.
    """

    NAME: str
    PATH: str

    def request(self, body: dict[str, Any]) -> dict[str, Any]:
        """A request of this wire in chat shape, for the record: what has no chat counterpart is kept as it is."""

    def response(self, body: dict[str, Any]) -> dict[str, Any]:
        """A response of this wire in chat shape."""

    def joined(self, events: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """The response of this wire that a stream's events amount to, or {"error": ...}."""

    def to_chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """A request of this wire as a chat request that can be sent; what would change the answer is refused."""

    def from_chat(self, request: dict[str, Any]) -> dict[str, Any]:
        """A chat request as a request of this wire that can be sent; what would change the answer is refused."""

    def from_completion(self, completion: dict[str, Any], created: int = 0) -> dict[str, Any]:
        """A chat completion as a response of this wire. `created`: epoch seconds, for one that has no time."""

    def stream_of(self, response: dict[str, Any], include_usage: bool = ...) -> Iterator[bytes]:
        """A finished response of this wire as the events of a stream, ready to send, its end included."""

    def error_body(self, status: int, kind: str, message: str, code: str | None = None) -> dict[str, Any]:
        """An error as this wire says it. `kind` is a type of error, or "" for the one that the status calls for."""


WIRES: dict[str, Wire] = {wire.NAME: wire for wire in (openai_chat, anthropic_messages)}


def wire_named(name: str) -> Wire:
    """Raises ValueError, naming those there are, for a name that no wire has."""
    if name not in WIRES:
        raise ValueError(f"there is no wire {name!r}; there are {', '.join(sorted(WIRES))}")
    return WIRES[name]


def translate_request(body: dict[str, Any], client: str, upstream: str) -> dict[str, Any]:
    """A client's request as its upstream takes it; untouched where both speak one wire. Raises ValueError."""
    if client == upstream:
        return body
    return wire_named(upstream).from_chat(wire_named(client).to_chat(body))


def translate_response(body: dict[str, Any], upstream: str, client: str, created: int = 0) -> dict[str, Any]:
    """An upstream's answer as its client takes it; untouched where both speak one wire. Raises ValueError."""
    if client == upstream:
        return body
    return wire_named(client).from_completion(wire_named(upstream).response(body), created)


def translate_error(body: Any, status: int, upstream: str, client: str) -> dict[str, Any]:
    """An upstream's error body, of any shape or plain text, as its client takes it; the same wire's is untouched."""
    if client == upstream and isinstance(body, dict) and body.get("error"):
        return body
    error = read_error(body, status)
    return wire_named(client).error_body(status, "", error.message, error.code)


def stream_translator(
    upstream: str, client: str, include_usage: bool = False, created: int = 0
) -> StreamTranslator | None:
    """What turns the upstream's stream into the client's as it comes; None where both speak one wire.

    `include_usage` is whether a chat client asked for it; `created` is in whole seconds since the epoch.
    """
    if wire_named(client) is wire_named(upstream):
        return None
    return MessagesToChat(include_usage, created) if client == openai_chat.NAME else ChatToMessages()
