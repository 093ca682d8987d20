"""A small server in the large model's place: it speaks both wires over real sockets, says what it was told to say, and
remembers every byte it got."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SAID = '{"category": "asked upstream", "confidence": 0.5}'
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
TOOL_ARGUMENTS = '{"city": "Århus"}'


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def everything(self) -> str:
        return f"{self.path}\n{self.headers}\n{self.body.decode('utf-8', 'replace')}"


@dataclass(frozen=True)
class Says:
    """One answer. body: whole, or the pieces of a stream. breaks_off: the connection ends before the stream does."""

    body: bytes | list[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    pause_s: float = 0.0
    breaks_off: bool = False


class LargeModel:
    """Runs on a thread of its own from `start` to `stop`. seen: what it got, oldest first."""

    def __init__(self, answer: Callable[[Seen], Says] | None = None) -> None:
        """answer: what it says to a request, where that is not the usual."""
        self._answer = answer or usual_answer
        self.seen: list[Seen] = []
        self.cut_off = 0
        """Streams that nobody wanted to the end."""
        self._next: deque[Says] = deque()
        self._go = threading.Event()
        self._go.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> LargeModel:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def then(self, *answers: Says) -> None:
        """Say these next, whatever is asked."""
        self._next.extend(answers)

    def last(self) -> Seen:
        return self.seen[-1]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let every answer wait until the block ends."""
        self._go.clear()
        try:
            yield
        finally:
            self._go.set()

    def release(self) -> None:
        """End the waiting before its block does."""
        self._go.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (seen := await _read(reader)) is not None:
                self.seen.append(seen)
                answer = self._next.popleft() if self._next else self._answer(seen)
                while not self._go.is_set():
                    await asyncio.sleep(0.005)
                if not await self._say(writer, answer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut_off += 1
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, answer: Says) -> bool:
        head = f"HTTP/1.1 {answer.status} Said\r\n" + "".join(f"{k}: {v}\r\n" for k, v in answer.headers.items())
        if isinstance(answer.body, bytes):
            await asyncio.sleep(answer.pause_s)
            writer.write(f"{head}content-length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
            await writer.drain()
            return True
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for piece in answer.body:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(answer.pause_s)
        if answer.breaks_off:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


def usual_answer(seen: Seen) -> Says:
    """What a large model on this wire would say: SAID, or one tool call where there are tools."""
    if seen.method == "GET":
        models = [{"id": "gpt-4o-mini", "object": "model", "created": 1, "owned_by": "large"}]
        return Says(json.dumps({"object": "list", "data": models}).encode())
    if seen.path.endswith("/messages"):
        return _anthropic(seen.json)
    if seen.path.endswith("/chat/completions"):
        return _openai(seen.json)
    return Says(json.dumps({"took": seen.path}).encode())


def _openai(request: dict[str, Any]) -> Says:
    usage = {"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49}
    frame = {"id": "chatcmpl-up", "created": 1, "model": "gpt-4o-mini-2024", "unknown_field": {"é": [1.0, None]}}
    message: dict[str, Any] = {"role": "assistant", "content": SAID}
    function = {"name": "weather", "arguments": TOOL_ARGUMENTS}
    call: dict[str, Any] = {"id": "call_1", "type": "function", "function": function}
    if request.get("tools"):
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    finish = "tool_calls" if request.get("tools") else "stop"
    if request.get("stream") is not True:
        count = request["n"] if request.get("n") in (2, 3) else 1
        choices = [{"index": index, "message": message, "finish_reason": finish} for index in range(count)]
        body = {**frame, "object": "chat.completion", "choices": choices, "usage": usage}
        return Says(json.dumps(body, indent=1).encode())
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if request.get("tools"):
        start = {**call, "index": 0, "function": {"name": "weather", "arguments": ""}}
        deltas = [{"role": "assistant", "content": None, "tool_calls": [start]}]
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in _parts(TOOL_ARGUMENTS, 4)
        ]
    else:
        deltas += [{"content": part} for part in _parts(SAID, 7)]
    chunk = {**frame, "object": "chat.completion.chunk"}
    chunks = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    options = request.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        chunks = [{**each, "usage": None} for each in chunks] + [{**chunk, "choices": [], "usage": usage}]
    pieces = [b"data: " + json.dumps(each, ensure_ascii=False).encode() + b"\n\n" for each in chunks]
    return Says([*pieces, b"data: [DONE]\n\n"], headers=dict(EVENTS))


def _anthropic(request: dict[str, Any]) -> Says:
    tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": json.loads(TOOL_ARGUMENTS)}
    stop = "tool_use" if request.get("tools") else "end_turn"
    usage = {"input_tokens": 40, "output_tokens": 9}
    frame: dict[str, Any] = {"id": "msg_up", "type": "message", "role": "assistant", "model": "claude-up"}
    if request.get("stream") is not True:
        content = [tool] if request.get("tools") else [{"type": "text", "text": SAID}]
        body = {**frame, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage, "unknown": [1]}
        return Says(json.dumps(body, indent=1).encode())
    empty = {**tool, "input": {}} if request.get("tools") else {"type": "text", "text": ""}
    said = TOOL_ARGUMENTS if request.get("tools") else SAID
    kind, key = ("input_json_delta", "partial_json") if request.get("tools") else ("text_delta", "text")
    start = {**frame, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "ping"},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: part}} for part in _parts(said, 6)
    ]
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    pieces = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events]
    return Says(pieces, headers=dict(EVENTS))


def _parts(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
