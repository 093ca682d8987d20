"""What a finished exchange amounts to: tokens, cost, saving, and the call as it is kept. Never on the hot path."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import zstandard

from stepdown.core.calls import Account, Call
from stepdown.core.served import INCUMBENT, Served, trace_parent
from stepdown.gateway.envelope import beside
from stepdown.gateway.exchange import ABSTAINED, CACHE, FAILED, REFUSED, Exchange
from stepdown.gateway.limits import Estimate
from stepdown.gateway.request_compatibility import tokens_allowed
from stepdown.wires.event_stream import events, looks_like

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

    cost_usd: of the answer alone; None where it is not known. spent_usd: as far as it is known, with what the students
    cost that were tried. saved_usd: what the incumbent alone would have cost, less that; 0 where it is unknown.
    """

    call: Call | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None
    saved_usd: float = 0.0
    spent_usd: float = 0.0

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
        task=exchange.task.name if exchange.task else "",
        served=served_of(exchange),
    )
    outcome = Outcome(call=call)
    alone_usd = None if heard is None else _price(outcome, call, exchange, heard, cost)
    student = is_student(exchange.rung)
    outcome.spent_usd = (outcome.cost_usd or 0.0) + (0.0 if student or exchange.rung == CACHE else exchange.own_usd)
    if alone_usd is not None or not (student or exchange.rung == CACHE):
        outcome.saved_usd = (outcome.cost_usd or 0.0 if alone_usd is None else alone_usd) - outcome.spent_usd
    account = Account(spent_usd=outcome.spent_usd, saved_usd=outcome.saved_usd, estimated=outcome.estimated)
    # A guess guards a budget and is in the sums; as the price of a call it would pass for a fact.
    cost_usd = None if outcome.estimated and not student else outcome.cost_usd
    outcome.call = msgspec.structs.replace(call, cost_usd=cost_usd, account=account)
    return outcome


def provider_of(exchange: Exchange) -> str:
    """The upstream that answered; "" where a student did, or the cache."""
    return exchange.upstream if exchange.rung in (INCUMBENT, FAILED) else ""


def served_of(exchange: Exchange) -> Served | None:
    """Who answered, and what decided that; None where the incumbent did, of no task and of no trace."""
    task, rung = exchange.task, exchange.rung
    trace, parent = trace_parent(exchange.request.headers.get(b"traceparent", b"").decode("latin-1"))
    if task is None:
        return Served(trace=trace, parent=parent) if trace else None
    cached = rung == CACHE
    if cached:  # An answer of the incumbent's that the cache repeats is still the incumbent's.
        rung = exchange.repeated or (INCUMBENT if exchange.upstream else CACHE)
    stands = bool(exchange.selection) or rung != INCUMBENT
    return Served(
        rung=INCUMBENT if rung == FAILED else rung,
        cached=cached,
        reason=exchange.reason,
        build=task.build if stands else "",
        cascade=task.cascade if stands else "",
        certificate=task.certificate if stands else "",
        asked=exchange.asked,
        selection=exchange.selection,
        probability=exchange.selection_probability,
        trace=trace,
        parent=parent,
    )


def _price(outcome: Outcome, call: Call, exchange: Exchange, response: dict[str, Any], cost: Cost) -> float | None:
    """Fill in tokens and the price of the answer. Returns what the incumbent alone would have cost, None where that is
    not known. A stream that was cut off was paid for as far as it came."""
    priced = call if call.response is response else msgspec.structs.replace(call, response=response)
    prompt, completion = priced.prompt_tokens, priced.completion_tokens
    is_cut = bool(exchange.error) and exchange.streamed
    if prompt is None or completion is None or is_cut:
        guessed = _estimated(exchange, response)
        # Of a stream that was cut off, what it said of its usage is from its beginning.
        prompt = guessed[0] if prompt is None else prompt
        completion = max(guessed[1], completion or 0)
        usage = {**_usage(response), "prompt_tokens": prompt, "completion_tokens": completion}
        priced = msgspec.structs.replace(priced, response={**response, "usage": usage})
        outcome.estimated = True
    outcome.prompt_tokens, outcome.completion_tokens = min(max(prompt, 0), _MOST), min(max(completion, 0), _MOST)
    usual = exchange.task.template.cost_usd if exchange.task and exchange.task.template else 0.0
    if not is_student(exchange.rung) and exchange.rung != CACHE:
        outcome.cost_usd = cost(priced)
        return outcome.cost_usd
    as_incumbent = msgspec.structs.replace(priced, provider="")
    if exchange.rung == CACHE:
        outcome.cost_usd = 0.0
        # What the incumbent said has its tokens; of a student's answer they are what it would have used.
        return (cost(as_incumbent) or usual or None) if exchange.upstream else (usual or cost(as_incumbent))
    outcome.cost_usd = exchange.own_usd
    return usual or cost(as_incumbent)


def _usage(response: dict[str, Any]) -> dict[str, Any]:
    usage = response.get("usage")
    return usage if isinstance(usage, dict) else {}


def _answer(exchange: Exchange) -> tuple[dict[str, Any] | None, str]:
    """The answer in chat shape, and what is wrong with it ("" for nothing)."""
    data = exchange.recorded
    if not data:
        return None, "The answer is empty."
    try:
        data = unpacked(data)
        if exchange.status >= 400:
            return None, _said(exchange.status, data)
        return _chat(exchange.wire, data, is_cut=bool(exchange.error) and exchange.streamed)
    except RecursionError:
        return None, "The answer cannot be read: it is nested too deeply."
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        # The wires raise ValueError in their own words; the others are fields of a type that no wire knows.
        said = str(error) if type(error) is ValueError else "a field has a wrong type"
        return None, f"The answer cannot be read: {said}."


def whole_answer(exchange: Exchange) -> dict[str, Any]:
    """The answer on the client's wire as one object, whether it was streamed or not. Raises ValueError."""
    body = _body(exchange.wire, unpacked(exchange.recorded))
    content = body.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and isinstance(block.get("input"), str):
            block["input"] = _json(block["input"].encode())  # A tool's input is streamed as text.
    return body


def _body(wire: ModuleType, data: bytes, is_cut: bool = False) -> dict[str, Any]:
    """is_cut: whether a stream broke off; what it then says of that is no part of the answer."""
    if data[:1] == b"{":
        return _json(data)
    text = data.decode("utf-8", "replace")
    if not looks_like(text):
        return _json(data)
    said = (event for event in events(_whole_events(text)) if not (is_cut and event.get("error")))
    found: dict[str, Any] = wire.joined(said)
    return found


def _chat(wire: ModuleType, data: bytes, is_cut: bool) -> tuple[dict[str, Any] | None, str]:
    body = _body(wire, data, is_cut)
    if body.get("error") and "choices" not in body and "content" not in body:
        return None, _message(body["error"])
    return {**wire.response(body), **beside(wire.NAME, body)}, ""


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
    template = task.template if task else None
    prompt = round(
        _length(chat.get("messages")) * (template.prompt_tokens_per_character if template else _TOKENS_PER_CHARACTER)
    )
    allowed = tokens_allowed(chat)
    count = chat.get("n")
    answer = max(0, _USUAL_TOKENS if allowed is None else allowed) * max(1, count if isinstance(count, int) else 1)
    usage = {"prompt_tokens": prompt, "completion_tokens": answer}
    asked = (exchange.outgoing or exchange.body).get("model")
    model = task.incumbent if task and task.incumbent and asked == task.task.match.model else str(asked)
    call = Call(id="", request={}, response={"model": model, "usage": usage}, timestamp=exchange.at)
    usual = template.cost_usd if template and allowed is None else 0.0
    return Estimate(prompt + answer, max(usual, cost(call) or 0.0))


def _estimated(exchange: Exchange, response: dict[str, Any]) -> tuple[int, int]:
    """Tokens from the lengths of texts, where an upstream said none (streams that were not asked to, or cut off)."""
    template = exchange.task.template if exchange.task else None
    per_prompt = template.prompt_tokens_per_character if template else _TOKENS_PER_CHARACTER
    per_completion = template.completion_tokens_per_character if template else _TOKENS_PER_CHARACTER
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
