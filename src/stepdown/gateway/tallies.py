"""Sums of what was served, by hour, task, key and rung, until the store has them."""

from __future__ import annotations

from typing import NamedTuple

from stepdown.core.store import Served
from stepdown.gateway.exchange import FAILED, Exchange
from stepdown.gateway.outcome import Outcome


class Tally(NamedTuple):
    """What sums are kept apart by. hour: whole hours since the epoch; key: a key's id."""

    hour: int
    task: str
    key: str
    rung: str

    @classmethod
    def of(cls, exchange: Exchange) -> Tally:
        rung = FAILED if exchange.error and exchange.status >= 500 else exchange.rung
        return cls(
            int(exchange.at // 3600),
            exchange.task.name if exchange.task else "",
            exchange.key.id if exchange.key else "",
            rung,
        )


class Sums:
    """What has come together under one tally."""

    __slots__ = ("completion_tokens", "cost_usd", "latency_s", "prompt_tokens", "requests", "saved_usd")

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = 0
        self.cost_usd = self.saved_usd = self.latency_s = 0.0

    def add(self, exchange: Exchange, outcome: Outcome) -> None:
        self.requests += 1
        self.prompt_tokens += outcome.prompt_tokens
        self.completion_tokens += outcome.completion_tokens
        self.cost_usd += outcome.spent_usd
        self.saved_usd += outcome.saved_usd
        self.latency_s += exchange.latency_s

    def row(self, tally: Tally) -> Served:
        return Served(**tally._asdict(), **{name: getattr(self, name) for name in self.__slots__})


Tallies = dict[Tally, Sums]
