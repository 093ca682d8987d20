"""The clients of the soak: what each kind asks, and how an answer is judged. Nothing but a known answer passes."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks._gateway.faulty_upstream import GARBAGE, digest_of
from benchmarks._gateway.traffic import Asked
from benchmarks._gateway.wire_client import Answer, Client, half_a_request

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
JSON = {"content-type": "application/json"}
MOST_FAULTS = 50

RIGHT, ERROR, CUT, ODD, LEFT_ALONE = "right", "error", "cut", "upstream's garbage passed on", "breaker open"


@dataclass
class Seen:
    """What the clients saw.

    kept: what the store must hold, by the call's id: the SHA-256 of the answer's text, "" for an error, None where
    either is right. tasks: of students' answers: (certificate, which text, category). without_id: of clients that left
    before they were told one.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0
    kept: dict[str, str | None] = field(default_factory=dict)
    tasks: list[tuple[str, int, str]] = field(default_factory=list)
    without_id: int = 0

    def fault(self, what: str) -> None:
        self.fault_count += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(what)


class Clients:
    """Every kind of client. `ask_once` makes one request of a random kind over the given connection."""

    def __init__(self, port: int, asked: Sequence[Asked], seen: Seen, name: str) -> None:
        self._port, self._asked, self._seen = port, asked, seen
        self._name, self._numbers = name, itertools.count()
        self._kinds: dict[str, tuple[float, Callable[[Client, random.Random], Awaitable[None]]]] = {
            "whole": (20, self._whole),
            "stream": (15, self._stream),
            "messages": (8, self._messages),
            "messages stream": (8, self._messages_stream),
            "student": (25, self._student),
            "student, streamed": (5, self._student_stream),
            "student, forced": (4, self._student_forced),
            "incumbent, forced": (4, self._incumbent_forced),
            "left in the middle": (6, self._left),
            "bad": (5, self._bad),
        }

    async def ask_once(self, client: Client, dice: random.Random) -> None:
        names = list(self._kinds)
        kind = dice.choices(names, [self._kinds[name][0] for name in names])[0]
        await self._kinds[kind][1](client, dice)

    # What the incumbent is asked

    async def _whole(self, client: Client, dice: random.Random) -> None:
        text = self._text(dice)
        answer = await client.ask(CHAT, _body([{"role": "user", "content": text}]), JSON)
        self._judge("whole", answer, digest_of(text), _chat_text)

    async def _stream(self, client: Client, dice: random.Random) -> None:
        text = self._text(dice)
        answer = await client.ask(CHAT, _body([{"role": "user", "content": text}], stream=True), JSON)
        self._judge("stream", answer, digest_of(text), _chat_stream_text)

    async def _messages(self, client: Client, dice: random.Random) -> None:
        text = self._text(dice)
        answer = await client.ask(MESSAGES, _body([{"role": "user", "content": text}], max_tokens=100), JSON)
        self._judge("messages", answer, digest_of(text), _messages_text)

    async def _messages_stream(self, client: Client, dice: random.Random) -> None:
        text = self._text(dice)
        body = _body([{"role": "user", "content": text}], max_tokens=100, stream=True)
        answer = await client.ask(MESSAGES, body, JSON)
        self._judge("messages stream", answer, digest_of(text), _messages_stream_text)

    async def _incumbent_forced(self, client: Client, dice: random.Random) -> None:
        body = dice.choice(self._asked).body
        answer = await client.ask(CHAT, body, {**JSON, "x-stepdown-route": "incumbent"})
        text = json.loads(body)["messages"][-1]["content"]
        self._judge("incumbent, forced", answer, digest_of(text), _chat_text)

    async def _left(self, client: Client, dice: random.Random) -> None:
        text = self._text(dice)
        body = _body([{"role": "user", "content": text}], stream=True)
        answer = await client.ask(CHAT, body, JSON, leave_after=dice.randrange(1, 600))
        client.leave()
        name = answer.headers.get("x-stepdown-id", "")
        if name:
            self._seen.kept[name] = None
        else:
            self._seen.without_id += 1
        self._seen.outcomes["left in the middle", "left"] += 1

    # What a student is asked

    async def _student(self, client: Client, dice: random.Random) -> None:
        await self._of_task("student", client, dice, {})

    async def _student_forced(self, client: Client, dice: random.Random) -> None:
        await self._of_task("student, forced", client, dice, {"x-stepdown-route": "students"})

    async def _student_stream(self, client: Client, dice: random.Random) -> None:
        await self._of_task("student, streamed", client, dice, {}, stream=True)

    async def _of_task(
        self, kind: str, client: Client, dice: random.Random, headers: dict[str, str], stream: bool = False
    ) -> None:
        number = dice.randrange(len(self._asked))
        body = self._asked[number].body
        if stream:
            body = json.dumps({**json.loads(body), "stream": True}).encode()
        answer = await client.ask(CHAT, body, {**JSON, **headers})
        rung = answer.headers.get("x-stepdown-rung", "")
        if answer.status == 200 and rung == "incumbent":
            # Unsure, or between two certificates: then the incumbent must have answered, and rightly.
            text = json.loads(body)["messages"][-1]["content"]
            self._judge(kind, answer, digest_of(text), _chat_stream_text if stream else _chat_text)
            return
        said = (_chat_stream_text if stream else _chat_text)(answer.body) if answer.status == 200 else None
        if said is None or not answer.whole:
            self._judge(kind, answer, "", _chat_text)
            return
        self._count(kind, answer, RIGHT, said)
        self._seen.tasks.append((answer.headers["x-stepdown-certificate"], number, json.loads(said)["category"]))

    # What is no request at all

    async def _bad(self, client: Client, dice: random.Random) -> None:
        what, path, body, headers, expected = dice.choice(_BAD)
        if what == "half a request":
            await half_a_request(self._port)
            self._seen.outcomes["bad", what] += 1
            return
        answer = await client.ask(path, body, headers)
        if answer.status not in expected or not _is_error(path, answer.body):
            self._seen.fault(f"bad ({what}): status {answer.status}, expected {expected}: {answer.body[:200]!r}")
        self._seen.statuses[answer.status] += 1
        self._seen.outcomes["bad", what] += 1

    # Judging

    def _text(self, dice: random.Random) -> str:
        """Never asked before: a mixed-up answer cannot pass by chance."""
        return f"{self._name}-{next(self._numbers)} " + "word " * dice.randrange(1, 200)

    def _judge(self, kind: str, answer: Answer, expected: str, read: Callable[[bytes], str | None]) -> None:
        if answer.late:
            self._seen.fault(f"{kind}: no whole answer within a minute")
        if answer.status == 0:
            self._count(kind, answer, "no answer", None)
            self._seen.fault(f"{kind}: the gateway cut the connection without an answer")
        elif answer.status != 200:
            self._judge_error(kind, answer)
        elif GARBAGE.encode() in answer.body:
            if expected.encode() not in answer.body:
                self._seen.fault(f"{kind}: another request's garbage: {answer.body[:200]!r}")
            self._count(kind, answer, ODD, None)
        else:
            self._judge_answer(kind, answer, expected, read(answer.body))

    def _judge_error(self, kind: str, answer: Answer) -> None:
        path = MESSAGES if kind.startswith("messages") else CHAT
        if not _is_error(path, answer.body):
            self._seen.fault(f"{kind}: status {answer.status} not in the wire's shape: {answer.body[:200]!r}")
        # Where the upstream is left alone nobody was asked, and there is no call to keep. It never says "retry-after".
        nobody_asked = answer.status == 503 and "retry-after" in answer.headers
        self._count(kind, answer, LEFT_ALONE if nobody_asked else ERROR, None if nobody_asked else "")

    def _judge_answer(self, kind: str, answer: Answer, expected: str, said: str | None) -> None:
        if said is not None and answer.whole:
            if said != expected:
                self._seen.fault(f"{kind}: WRONG ANSWER {said[:80]!r}, expected {expected[:80]!r}")
            self._count(kind, answer, RIGHT, said)
            return
        # An answer that broke off: what came of it must be the beginning of the right one, and it must show.
        for piece in _pieces_of(answer.body):
            if piece not in expected:
                self._seen.fault(f"{kind}: a piece of another answer: {piece!r}")
        self._count(kind, answer, CUT, None)

    def _count(self, kind: str, answer: Answer, outcome: str, kept: str | None) -> None:
        self._seen.outcomes[kind, outcome] += 1
        self._seen.statuses[answer.status] += 1
        name = answer.headers.get("x-stepdown-id")
        if name is None:
            if answer.status:
                self._seen.fault(f"{kind}: an answer without x-stepdown-id, status {answer.status}")
            else:
                self._seen.without_id += 1
        elif name in self._seen.kept:
            self._seen.fault(f"{kind}: the id {name} was given twice")
        else:
            self._seen.kept[name] = hashlib.sha256(kept.encode()).hexdigest() if kept else kept


def _body(messages: list[dict[str, str]], **more: Any) -> bytes:
    return json.dumps({"model": "large", "messages": messages, **more}).encode()


def _chat_text(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _chat_stream_text(body: bytes) -> str | None:
    """The text of a whole stream; None where it has no end, or says itself that it failed."""
    events = [part[6:] for part in body.split(b"\n\n") if part.startswith(b"data: ")]
    if not events or events[-1] != b"[DONE]":
        return None
    try:
        choices = [json.loads(event)["choices"] for event in events[:-1]]
        return "".join(choice[0]["delta"].get("content") or "" for choice in choices if choice)
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _messages_text(body: bytes) -> str | None:
    try:
        return "".join(block["text"] for block in json.loads(body)["content"])
    except (ValueError, KeyError, TypeError):
        return None


def _messages_stream_text(body: bytes) -> str | None:
    text, ended = "", False
    for part in body.split(b"\n\n"):
        _, found, data = part.partition(b"data: ")
        if not found:
            continue
        try:
            event = json.loads(data)
        except ValueError:
            return None
        if event["type"] == "content_block_delta":
            text += event["delta"].get("text", "")
        ended = ended or event["type"] == "message_stop"
        if event["type"] == "error":
            return None
    return text if ended else None


def _pieces_of(body: bytes) -> list[str]:
    """The pieces of a digest in a broken answer, on either wire: eight hexadecimal digits each."""
    found = []
    for mark in (b'"content": "', b'"content":"', b'"text":"', b'"text": "'):
        for part in body.split(mark)[1:]:
            piece = part.split(b'"', 1)[0].decode("utf-8", "replace")
            found += [piece] if piece and set(piece) <= set("0123456789abcdef") else []
    return found


def _is_error(path: str, body: bytes) -> bool:
    try:
        said = json.loads(body)
        return bool(said["error"]["message"]) and (path != MESSAGES or said["type"] == "error")
    except (ValueError, KeyError, TypeError):
        return False


_BAD: list[tuple[str, str, bytes, dict[str, str], tuple[int, ...]]] = [
    ("not JSON", CHAT, b"{messages", JSON, (400,)),
    ("deep", CHAT, b'{"messages":' + b"[" * 100_000, JSON, (400,)),
    ("not UTF-8", CHAT, b'{"model":"\xff\xfe","messages":[]}', JSON, (400,)),
    ("a list", MESSAGES, b"[]", JSON, (400,)),
    ("no messages", MESSAGES, b'{"model":"m","max_tokens":1}', JSON, (400,)),
    ("messages of a wrong type", CHAT, b'{"model":"m","messages":"hello"}', JSON, (400,)),
    ("empty", CHAT, b"", JSON, (400,)),
    ("a form", CHAT, b"a=b", {"content-type": "application/x-www-form-urlencoded"}, (415,)),
    ("an unknown route", CHAT, _body([{"role": "user", "content": "x"}]), {**JSON, "x-stepdown-route": "no"}, (400,)),
    ("no such path", "/v2/chat", b"{}", JSON, (404,)),
    ("huge", CHAT, b" " * (17 << 20), JSON, (413,)),
    ("half a request", CHAT, b"", JSON, ()),
]
