"""A call: one recorded request to a large language model with its response, usage, time and price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from stepdown.core.inputs import Input, Passage
from stepdown.core.served import INCUMBENT, Selection, Served

_NAMES = frozenset({"model", "id", "object", "system_fingerprint"})


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a call that a gateway answered adds to spend and savings, in USD.

    spent_usd: the answer and the students that were tried for it. saved_usd: what the incumbent alone would have cost,
    less that; 0 where its price is unknown. estimated: whether the answer's tokens are guessed from lengths, because
    the upstream did not say them.
    """

    spent_usd: float = 0.0
    saved_usd: float = 0.0
    estimated: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its response, in OpenAI chat.completions shape whatever wire it came over.

    timestamp: seconds since the epoch, UTC. latency_s: seconds, None when not recorded.
    cost_usd: None until priced. `error` is the upstream's error when the call failed; `response` is then None.
    `source` says where it was read ("traffic.jsonl.gz:17").
    provider: the upstream that answered; "" where it is not known, or none was asked. served: who answered and what
    decided that; None where the incumbent did and nothing else is known of it.
    workload_id: what the client called it; task: the task that the gateway matched it to, "" where it matched none.
    account: its part of spend and savings; None for calls that no gateway answered. cost_usd is the price of the answer
    alone, and is never a guess.
    """

    id: str
    request: dict[str, Any]
    response: dict[str, Any] | None
    timestamp: float = 0.0
    client_id: str = ""
    workload_id: str = ""
    latency_s: float | None = None
    cost_usd: float | None = None
    provider: str = ""
    error: str = ""
    source: str = ""
    account: Account | None = None
    task: str = ""
    served: Served | None = None

    @property
    def model(self) -> str:
        """The model that answered, else the one asked for, else ""."""
        answered = self.response.get("model") if self.response else None
        return str(answered or self.request.get("model") or "")

    @property
    def rung(self) -> str:
        """The rung that answered in the incumbent's place ("encoder"); "" where the incumbent itself did."""
        return self.served.rung if self.served is not None and self.served.rung != INCUMBENT else ""

    @property
    def selection(self) -> Selection:
        return self.served.selection if self.served is not None else ""

    @property
    def is_cached(self) -> bool:
        """Whether a gateway repeated an earlier answer."""
        return self.served is not None and self.served.cached

    @property
    def response_id(self) -> str:
        """The response's own `id`, by which a client that kept the response may name this call; "" when it has none."""
        found = self.response.get("id") if self.response else None
        return found if isinstance(found, str) else ""

    @property
    def prompt_tokens(self) -> int | None:
        return self._usage("prompt_tokens")

    @property
    def completion_tokens(self) -> int | None:
        return self._usage("completion_tokens")

    def _usage(self, key: str) -> int | None:
        usage = (self.response or {}).get("usage")
        value = usage.get(key) if isinstance(usage, dict) else None
        return value if isinstance(value, int) else None

    @property
    def message(self) -> dict[str, Any] | None:
        """The first choice's message, or None when the response has none."""
        choices = (self.response or {}).get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        message = choices[0].get("message")
        return message if isinstance(message, dict) else None

    @property
    def content(self) -> str | None:
        """The text of the first choice, or None (tool calls, refusals, errors)."""
        text = (self.message or {}).get("content")
        return text if isinstance(text, str) else None


def incumbent_calls(calls: Iterable[Call]) -> Iterator[Call]:
    """Those that the incumbent answered. What students answered teaches nobody: they would learn from themselves."""
    return (call for call in calls if not call.rung)


def as_production_makes_them(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls that evidence may be drawn from: those that the incumbent answered whatever a cascade would have said.

    Calls from before a cascade served (selection "") stand for themselves; where one served, a call of the holdback
    stands for 1 / `served.probability` calls. A sample over both times must weigh them so, or be drawn within one of
    the two. Escalated calls are the hard ones: students may learn from them, and no evidence is drawn from them.
    """
    return (call for call in calls if not call.rung and call.selection != "escalated")


def redacted(call: Call, mask: Callable[[str], str]) -> Call:
    """The call with `mask` applied to every text but what tells structure and the names of models: any field may hold
    what people wrote."""
    request = {name: value if name in _NAMES else masked(value, mask) for name, value in call.request.items()}
    response = call.response
    if response is not None:
        response = {name: value if name in _NAMES else masked(value, mask) for name, value in response.items()}
    return msgspec.structs.replace(call, request=request, response=response, error=mask(call.error))


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """A JSON value with `mask` applied to every text in it and every name of a field."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(each, mask) for each in value]
    if isinstance(value, dict):
        return {mask(key): masked(each, mask) for key, each in value.items()}
    return value


def masked_input(input: Input, mask: Callable[[str], str]) -> Input:
    """The input with `mask` applied to every text in it."""
    passages = tuple(Passage(mask(passage.text), mask(passage.source)) for passage in input.passages)
    return Input(mask(input.text), masked(input.request, mask), passages)


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be read: kept aside, never dropped in silence.

    source: file; line: 1-based line or record number, 0 for the whole file; raw: its first bytes as text, bounded.
    """

    source: str
    line: int
    reason: str
    raw: str = ""
