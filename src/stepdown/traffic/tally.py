"""Counting calls as they stream by: sums, seeded samples and sketches of bounded size."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from typing import Generic, TypeVar

import msgspec
import numpy as np

from stepdown.core.calls import Call

T = TypeVar("T")

LATENCIES = 4_000
MAX_MODELS = 200
OTHER_MODELS = "(others)"


class Reservoir(Generic[T]):
    """A uniform sample of what was added, of at most `size` (Vitter, algorithm R, 1985)."""

    def __init__(self, size: int, generator: np.random.Generator) -> None:
        self.items: list[T] = []
        self.seen = 0
        self._size, self._generator = size, generator

    def add(self, item: T) -> None:
        self.seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
        elif (place := int(self._generator.random() * self.seen)) < self._size:
            self.items[place] = item


class Distinct:
    """An estimate of how many different byte strings were added, from the smallest hashes.

    Exact up to `size`, then within about 1/sqrt(size): Bar-Yossef et al., RANDOM 2002 (k minimum values).
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._largest_first: list[int] = []
        self._held: set[int] = set()

    def add(self, value: bytes) -> None:
        number = int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big")
        if number in self._held:
            return
        if len(self._held) < self._size:
            self._held.add(number)
            heapq.heappush(self._largest_first, -number)
        elif number < -self._largest_first[0]:
            self._held.add(number)
            self._held.discard(-heapq.heapreplace(self._largest_first, -number))

    @property
    def count(self) -> int:
        if len(self._held) < self._size:
            return len(self._held)
        return round((self._size - 1) / (-self._largest_first[0] / 2.0**64))


class Sum(msgspec.Struct):
    """Count, mean and variance of numbers, in one pass (Welford, 1962)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self.squares += step * (value - self.mean)

    @property
    def total(self) -> float:
        return self.mean * self.n

    @property
    def standard_error(self) -> float:
        return float((self.squares / (self.n - 1) / self.n) ** 0.5) if self.n > 1 else 0.0


class Tally:
    """What is counted of a group of calls. turns: calls whose request holds earlier answers or what tools gave."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.calls = self.errors = self.tool_calls = self.turns = 0
        self.cost, self.prompt_tokens, self.completion_tokens = Sum(), Sum(), Sum()
        self.models: Counter[str] = Counter()
        self.first = self.last = 0.0
        self.timed = 0
        self.inputs = Distinct()
        self.latencies: Reservoir[float] = Reservoir(LATENCIES, generator)
        self.models_without_price: Counter[str] = Counter()

    def add(self, call: Call, cost: float | None) -> None:
        """Count one call; `cost` in USD."""
        self.calls += 1
        self._count_model(call, cost)
        if (tokens := call.prompt_tokens) is not None:
            self.prompt_tokens.add(tokens)
        if (tokens := call.completion_tokens) is not None:
            self.completion_tokens.add(tokens)
        if call.latency_s is not None:
            self.latencies.add(call.latency_s)
        if call.timestamp > 0.0:
            self.first = min(self.first, call.timestamp) if self.timed else call.timestamp
            self.last = max(self.last, call.timestamp)
            self.timed += 1
        messages = call.request.get("messages")
        self.inputs.add(_encode(messages))
        self.turns += any(_is_answered(each) for each in messages) if isinstance(messages, list) else False
        message = call.message or {}
        self.errors += bool(call.error)
        self.tool_calls += bool(message.get("tool_calls"))

    def _count_model(self, call: Call, cost: float | None) -> None:
        model = call.model or "(unnamed)"
        self.models[model if model in self.models or len(self.models) < MAX_MODELS else OTHER_MODELS] += 1
        if cost is not None:
            self.cost.add(cost)
        elif model in self.models_without_price or len(self.models_without_price) < MAX_MODELS:
            self.models_without_price[model] += 1


def _is_answered(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") in {"assistant", "tool", "function"}


_encode = msgspec.json.Encoder().encode
