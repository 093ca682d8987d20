"""OpenAI chat.completions as a stream: its chunks, and a finished answer said in them.

Source: the chat completion chunk object, platform.openai.com/docs/api-reference/chat-streaming. With
`stream_options.include_usage` every chunk has a null usage, and one more, without choices, has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from stepdown.wires.event_stream import DONE, frame

_OF_THE_WHOLE = ("id", "created", "model", "system_fingerprint", "service_tier")


class ChunkWriter(msgspec.Struct, kw_only=True):
    """Chunks of one answer, as bytes. `whole` has what every chunk repeats: id, created (epoch seconds), model."""

    whole: dict[str, Any]
    include_usage: bool = False

    def chunk(self, delta: dict[str, Any], index: int = 0, finish_reason: str | None = None, **more: Any) -> bytes:
        """One chunk with one choice's delta; `more` are further fields of the choice, such as logprobs."""
        choice = {"index": index, "delta": delta, **more, "finish_reason": finish_reason}
        return self._framed([choice], None)

    def end(self, usage: dict[str, Any] | None) -> bytes:
        """The usage, where it was asked for and is known, and the end of the stream."""
        return (self._framed([], usage) if self.include_usage and usage else b"") + DONE

    def _framed(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        body = {
            "id": "",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "",
            **self.whole,
            "choices": choices,
        }
        if self.include_usage:
            body["usage"] = usage
        return frame(body)


def stream_of(completion: dict[str, Any], include_usage: bool = False) -> Iterator[bytes]:
    """A finished chat completion as the events of a stream, the last of them [DONE]."""
    whole = {key: completion[key] for key in _OF_THE_WHOLE if completion.get(key) is not None}
    writer = ChunkWriter(whole=whole, include_usage=include_usage)
    for position, choice in enumerate(completion.get("choices") or ()):
        yield from _choice(writer, choice, position)
    yield writer.end(completion.get("usage"))


def _choice(writer: ChunkWriter, choice: dict[str, Any], position: int) -> Iterator[bytes]:
    index = choice.get("index", position)
    message = choice.get("message") or {}
    silent = not message.get("content") and bool(message.get("tool_calls") or message.get("function_call"))
    plain = {"logprobs": None} if "logprobs" in choice else {}
    refusal = {"refusal": None} if "refusal" in message else {}
    yield writer.chunk({"role": "assistant", "content": None if silent else "", **refusal}, index, **plain)
    for key in ("reasoning", "reasoning_content", "refusal"):
        if message.get(key):
            yield writer.chunk({key: message[key]}, index, **plain)
    if message.get("content"):
        logprobs = {"logprobs": choice["logprobs"]} if "logprobs" in choice else {}
        yield writer.chunk({"content": message["content"]}, index, **logprobs)
    if message.get("function_call"):
        yield writer.chunk({"function_call": message["function_call"]}, index, **plain)
    for number, call in enumerate(message.get("tool_calls") or ()):
        yield writer.chunk({"tool_calls": [{"index": number, **call}]}, index, **plain)
    yield writer.chunk({}, index, choice.get("finish_reason") or "stop", **plain)
