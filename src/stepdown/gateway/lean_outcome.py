"""The outcome of the exchange that is by far the most frequent, without reading its bodies as a whole.

A chat completion asked and answered whole: its answer is checked and its usage read, and both bodies are kept as the
JSON they came as. Everything else (streams, other wires, errors, what must be masked) goes the long way; this way took
a third of its time.
"""

from __future__ import annotations

import msgspec

from stepdown.core.calls import Call, EncodedCall, Selection
from stepdown.core.cascade import INCUMBENT
from stepdown.core.wires import openai_chat
from stepdown.gateway.channel import fill_in
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.outcome import Cost, Outcome, is_student, outcome_of, provider_of, student_money

_ABSENT = msgspec.Raw(b"null")


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Reply(msgspec.Struct):
    id: str
    model: str
    choices: list[_Choice]
    usage: _Usage
    error: msgspec.Raw = _ABSENT


class _Fields(msgspec.Struct, omit_defaults=True):
    """A Call's fields, its bodies as they came."""

    id: str
    request: msgspec.Raw
    response: msgspec.Raw
    timestamp: float
    client_id: str
    workload_id: str
    latency_s: float
    cost_usd: float | None
    provider: str
    source: str
    selection: Selection = ""
    selection_probability: float = 1.0


_decode = msgspec.json.Decoder(_Reply).decode
_encode = msgspec.json.Encoder().encode


def lean_or_whole(exchange: Exchange, cost: Cost) -> Outcome:
    """The outcome of an exchange whose bodies were not decoded yet; they are, where the lean way cannot take it."""
    outcome = _lean(exchange, cost)
    if outcome is None:
        fill_in(exchange)
        outcome = outcome_of(exchange, cost)
    return outcome


def _lean(exchange: Exchange, cost: Cost) -> Outcome | None:
    task, reply = exchange.task, exchange.reply
    if (
        exchange.wire is not openai_chat
        or exchange.status != 200
        or exchange.error
        or not isinstance(reply, bytes)
        or reply[:1] != b"{"
        or (task is not None and task.privacy == "redact")
    ):
        return None
    student = is_student(exchange.rung)
    if not student and (exchange.rung != INCUMBENT or not exchange.upstream):
        return None
    try:
        said = _decode(reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usage = said.usage
    if said.error != _ABSENT or not said.model or usage.prompt_tokens < 0 or usage.completion_tokens < 0:
        return None
    outcome = Outcome(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
    provider = provider_of(exchange)
    if student:
        outcome.cost_usd, outcome.saved_usd = student_money(task)
    else:
        outcome.cost_usd = cost(_priced(exchange, said, provider))
    workload = exchange.workload or (task.name if task else "")
    if "\0" in workload or "\0" in said.id:
        return None
    fields = _Fields(
        exchange.id,
        msgspec.Raw(exchange.request.body),
        msgspec.Raw(reply),
        exchange.at,
        exchange.key.id if exchange.key else "",
        workload,
        exchange.latency_s,
        outcome.cost_usd,
        provider,
        "gateway",
        exchange.selection,
        exchange.selection_probability,
    )
    outcome.call = EncodedCall(exchange.id, workload, exchange.at, said.id, _encode(fields))
    return outcome


def _priced(exchange: Exchange, said: _Reply, provider: str) -> Call:
    usage: dict[str, object] = {
        "prompt_tokens": said.usage.prompt_tokens,
        "completion_tokens": said.usage.completion_tokens,
    }
    if said.usage.prompt_tokens_details != _ABSENT:
        usage["prompt_tokens_details"] = msgspec.json.decode(said.usage.prompt_tokens_details)
    response = {"model": said.model, "usage": usage}
    return Call(id="", request={}, response=response, timestamp=exchange.at, provider=provider)
