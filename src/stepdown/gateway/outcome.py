"""What a finished exchange amounts to: tokens, cost, saving, and the call as it is kept. Never on the hot path."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import zstandard

from stepdown.core.calls import STUDENT_PROVIDER, Call
from stepdown.core.cascade import INCUMBENT
from stepdown.core.wires.event_stream import events, looks_like
from stepdown.gateway.departures import tokens_allowed
from stepdown.gateway.exchange import ABSTAINED, CACHE, FAILED, REFUSED, Exchange
from stepdown.gateway.limits import Estimate
from stepdown.gateway.served import ServedTask

Cost = Callable[[Call], float | None]
"""USD of a call; None where its model has no price or its tokens are not known."""

MAX_UNPACKED = 64 << 20
_TOKENS_PER_CHARACTER = 0.25
_USUAL_TOKENS = 256
"""Of an answer whose length nobody says."""
_UNANSWERED = frozenset({ABSTAINED, REFUSED})
_NO_STUDENTS = frozenset({INCUMBENT, ABSTAINED, CACHE, FAILED, REFUSED})
_LONGEST_ERROR = 500
_LONGEST_NAME = 200
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_MOST = 1 << 40
"""Tokens of one call, whatever an upstream says: sums stay numbers that every store can hold."""

_decode = msgspec.json.Decoder().decode


class Outcome(msgspec.Struct, array_like=True):
    """call: as it is kept, unmasked; None where nobody was asked. estimated: whether tokens are guessed from lengths.

    cost_usd: None where it is not known. saved_usd: what the incumbent would have cost more.
    """

    call: Call | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None
    saved_usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def is_student(rung: str) -> bool:
    """Whether a small model answered."""
    return rung not in _NO_STUDENTS


def is_unanswered(exchange: Exchange) -> bool:
    """Whether nobody was asked: there is no call."""
    rung = exchange.rung
    return rung in _UNANSWERED or (not exchange.upstream and rung in (INCUMBENT, FAILED))


def outcome_of(exchange: Exchange, cost: Cost) -> Outcome:
    """Read usage and answer, price them. What cannot be read becomes a call whose `error` says so; nothing is raised
    for a body, whatever is in it."""
    if is_unanswered(exchange):
        return Outcome()
    response, error = _answer(exchange)
    heard, error = response, exchange.error or error
    call = Call(
        id=exchange.id,
        request=exchange.chat,
        response=None if error else response,
        timestamp=exchange.at,
        client_id=exchange.key.id if exchange.key else "",
        workload_id=_name(exchange.workload),
        latency_s=exchange.latency_s,
        provider=provider_of(exchange),
        error=error[:_LONGEST_ERROR],
        source="gateway",
        selection=exchange.selection,
        selection_probability=exchange.selection_probability,
        task=exchange.task.name if exchange.task else "",
    )
    outcome = Outcome(call=call)
    if heard is not None:
        _price(outcome, call, exchange, heard, cost)
    return outcome


def provider_of(exchange: Exchange) -> str:
    """Who answered, as a call says it. An answer of the incumbent's that the cache repeats is still the incumbent's."""
    if exchange.rung in (INCUMBENT, FAILED, CACHE) and exchange.upstream:
        return exchange.upstream
    return "" if exchange.rung in (INCUMBENT, FAILED) else STUDENT_PROVIDER + exchange.rung


def student_money(task: ServedTask | None) -> tuple[float, float]:
    """USD that a student's answer costs, and what the incumbent would have cost more."""
    cost_usd = task.student_cost_usd if task else 0.0
    usual_usd = task.manners.cost_usd if task and task.manners else 0.0
    return cost_usd, usual_usd - cost_usd


def _price(outcome: Outcome, call: Call, exchange: Exchange, response: dict[str, Any], cost: Cost) -> None:
    """Fill in tokens and money. A stream that was cut off was paid for as far as it came."""
    priced = call if call.response is response else msgspec.structs.replace(call, response=response)
    prompt, completion = priced.prompt_tokens, priced.completion_tokens
    if prompt is None or completion is None:
        prompt, completion = _estimated(exchange, response)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        priced = msgspec.structs.replace(priced, response={**response, "usage": usage})
        outcome.estimated = True
    outcome.prompt_tokens, outcome.completion_tokens = min(max(prompt, 0), _MOST), min(max(completion, 0), _MOST)
    task = exchange.task
    usual = task.manners.cost_usd if task and task.manners else 0.0
    if exchange.rung == CACHE:
        outcome.cost_usd = 0.0
        outcome.saved_usd = usual or cost(msgspec.structs.replace(priced, provider="")) or 0.0
    elif is_student(exchange.rung):
        outcome.cost_usd, outcome.saved_usd = student_money(task)
    else:
        outcome.cost_usd = cost(priced)
        if outcome.estimated:
            return  # A guess guards a budget; in the record of the call it would pass for a fact.
    outcome.call = msgspec.structs.replace(call, cost_usd=outcome.cost_usd)


def _answer(exchange: Exchange) -> tuple[dict[str, Any] | None, str]:
    """The answer in chat shape, and what is wrong with it ("" for nothing)."""
    reply = exchange.reply
    data = reply if isinstance(reply, bytes) else b"".join(reply)
    if not data:
        return None, "The answer is empty."
    try:
        data = unpacked(data)
        if exchange.status >= 400:
            return None, _said(exchange.status, data)
        return _chat(exchange.wire, data)
    except RecursionError:
        return None, "The answer cannot be read: it is nested too deeply."
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        # The wires raise ValueError in their own words; the others are fields of a type that no wire knows.
        said = str(error) if type(error) is ValueError else "a field has a wrong type"
        return None, f"The answer cannot be read: {said}."


def whole_answer(exchange: Exchange) -> dict[str, Any]:
    """The answer on the client's wire as one object, whether it was streamed or not. Raises ValueError."""
    reply = exchange.reply
    body = _body(exchange.wire, unpacked(reply if isinstance(reply, bytes) else b"".join(reply)))
    content = body.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and isinstance(block.get("input"), str):
            block["input"] = _json(block["input"].encode())  # A tool's input is streamed as text.
    return body


def _body(wire: ModuleType, data: bytes) -> dict[str, Any]:
    if data[:1] == b"{":
        return _json(data)
    text = data.decode("utf-8", "replace")
    if not looks_like(text):
        return _json(data)
    found: dict[str, Any] = wire.joined(events(_whole_events(text)))
    return found


def _chat(wire: ModuleType, data: bytes) -> tuple[dict[str, Any] | None, str]:
    body = _body(wire, data)
    if body.get("error") and "choices" not in body and "content" not in body:
        return None, _message(body["error"])
    return wire.response(body), ""


def _whole_events(text: str) -> str:
    """A stream without the event it was cut off in."""
    end = max(text.rfind("\n\n"), text.rfind("\r\n\r\n"), text.rfind("\r\r"))
    return text[: end + 1] + "\n" if end >= 0 else text


def _json(data: bytes) -> dict[str, Any]:
    try:
        body = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("it is neither JSON nor a stream of events") from None
    if not isinstance(body, dict):
        raise ValueError("it is not a JSON object")
    return body


def unpacked(data: bytes, limit: int = MAX_UNPACKED) -> bytes:
    """A body out of its gzip or zstd wrapping, where it has one. Raises ValueError for what is broken or longer."""
    try:
        if data[:2] == b"\x1f\x8b":
            reader = zlib.decompressobj(wbits=31)
            whole = reader.decompress(data, limit)
            if not reader.eof:
                raise ValueError("it is compressed, and cut off or too long" if whole else "its compression is broken")
            return whole
        if data[:4] == b"\x28\xb5\x2f\xfd":
            with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as stream:
                whole = stream.read(limit + 1)
            if len(whole) > limit:
                raise ValueError("it is compressed, and too long")
            return whole
    except (zlib.error, zstandard.ZstdError):
        raise ValueError("its compression is broken") from None
    return data


def _name(given: str) -> str:
    """A name that a client chose, as every store can hold it and every terminal show it: without control characters."""
    return _CONTROL.sub("\ufffd", given[:_LONGEST_NAME])


def _said(status: int, data: bytes) -> str:
    """An error answer in words: its own message where it has one."""
    try:
        body = _decode(data)
        found = _message(body["error"]) if isinstance(body, dict) and "error" in body else ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = ""
    return f"HTTP {status}: {found or data[:200].decode('utf-8', 'replace').strip()}"


def _message(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("type") or error.get("code")
    return str(error or "an error without a message")[:_LONGEST_ERROR]


def estimate_of(exchange: Exchange, cost: Cost) -> Estimate:
    """What a request may use: its prompt by its length, the answer as long as it allows, or as usual."""
    chat, task = exchange.chat, exchange.task
    manners = task.manners if task else None
    prompt = round(
        _length(chat.get("messages")) * (manners.prompt_tokens_per_character if manners else _TOKENS_PER_CHARACTER)
    )
    allowed = tokens_allowed(chat)
    count = chat.get("n")
    answer = max(0, _USUAL_TOKENS if allowed is None else allowed) * max(1, count if isinstance(count, int) else 1)
    usage = {"prompt_tokens": prompt, "completion_tokens": answer}
    asked = (exchange.outgoing or exchange.body).get("model")
    model = task.incumbent if task and task.incumbent and asked == task.task.match.model else str(asked)
    call = Call(id="", request={}, response={"model": model, "usage": usage}, timestamp=exchange.at)
    usual = manners.cost_usd if manners and allowed is None else 0.0
    return Estimate(prompt + answer, usual or cost(call) or 0.0)


def _estimated(exchange: Exchange, response: dict[str, Any]) -> tuple[int, int]:
    """Tokens from the lengths of texts, where an upstream said none (streams that were not asked to, or cut off)."""
    manners = exchange.task.manners if exchange.task else None
    per_prompt = manners.prompt_tokens_per_character if manners else _TOKENS_PER_CHARACTER
    per_completion = manners.completion_tokens_per_character if manners else _TOKENS_PER_CHARACTER
    said = sum(_length(choice.get("message")) for choice in response.get("choices") or () if isinstance(choice, dict))
    asked = _length(exchange.chat.get("messages"))
    return round(asked * per_prompt), round(said * per_completion)


def _length(value: Any) -> int:
    """Characters of every text in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_length, value))
    return sum(map(_length, value.values())) if isinstance(value, dict) else 0
