"""What the house asks of a store: calls, gold, tasks, the journal. A kind of store is one file in `stores/kinds/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import msgspec

from stepdown.core.calls import Broken, Call, EncodedCall
from stepdown.core.events import Event
from stepdown.core.keys import Key
from stepdown.core.tasks import Task

GoldBasis = Literal["", "drawn", "random-sample", "all", "volunteered"]
"""drawn: for calls that stepdown drew. random-sample: for a random sample that the user drew. all: for every call of
the task. volunteered: for calls that somebody picked; such gold is learned from and is never evidence."""


class Gold(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted answer for a call. split: "" or where its owner wants it used: train, tune (or dev), certify, test.

    basis: how it came to be that these calls were labelled and not others, as declared; "" where nobody said.
    """

    id: str
    gold: Any
    split: str = ""
    source: str = ""
    basis: GoldBasis = ""


VOLUNTEERED_JUDGE = "feedback:"
"""How the judge of a verdict is named that came as feedback: it is kept, and is never evidence."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's loss in [0, 1] for an answer to a call. answer: the answer judged; None means the incumbent's own."""

    id: str
    loss: float
    answer: Any = None
    judge: str = ""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What was served in one hour for one task, key and rung: sums, so that any number of gateways can add to them.

    hour: whole hours since the epoch. task, key: "" for none; key is a key's id. rung: "incumbent", a student's kind,
    "cache", "abstained" or "error". saved_usd: what the incumbent would have cost more. latency_s: of all requests.
    """

    hour: int
    task: str = ""
    key: str = ""
    rung: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    saved_usd: float = 0.0
    latency_s: float = 0.0


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What an `add` did: new rows, rows that were there already, rows that contradict what was there. kept: rows that
    contradict what was there and do not replace it."""

    new: int = 0
    known: int = 0
    changed: int = 0
    kept: int = 0


class Store(Protocol):
    """Transactions are per method: each either happens or does not. Iterators stream; memory stays flat.

    A store is for one thread at a time; threads and processes that open one each may work at once. Every method raises
    StoreError where the store is locked or gone and ResourceError where the disk is full; once that is over, the same
    store works again.
    """

    def add_calls(self, calls: Iterable[Call | EncodedCall]) -> Added: ...
    def calls(self, workload: str | None = None, limit: int | None = None) -> Iterator[Call]: ...
    def calls_by_id(self, ids: Iterable[str]) -> Iterator[Call]: ...
    def count_calls(self, workload: str | None = None) -> int: ...
    def workloads(self) -> dict[str, int]: ...
    def keep_broken(self, broken: Iterable[Broken]) -> int: ...
    def broken(self) -> Iterator[Broken]: ...
    def add_gold(self, gold: Iterable[Gold], yielding: bool = False) -> Added: ...
    def gold(self) -> dict[str, Gold]: ...
    def add_verdicts(self, verdicts: Iterable[Verdict], yielding: bool = False) -> Added: ...
    def verdicts(self) -> Iterator[Verdict]: ...
    def put_task(self, task: Task) -> None: ...
    def tasks(self) -> dict[str, Task]: ...
    def append(self, kind: str, task: str, data: dict[str, Any], at: float) -> Event: ...
    def events(self, kind: str | None = None, task: str | None = None) -> Iterator[Event]: ...
    def call_id_of(self, response_id: str) -> str | None: ...
    def forget_calls(self, before: float, keep_gold: bool = True) -> int: ...
    def compact(self) -> int: ...
    def put_key(self, key: Key) -> None: ...
    def keys(self) -> list[Key]: ...
    def revoke_key(self, key_id: str, at: float) -> bool: ...
    def add_served(self, rows: Iterable[Served]) -> None: ...
    def take(self, segment: str, start: int, end: int, calls: Iterable[Call], served: Iterable[Served]) -> None: ...
    def taken(self, segment: str) -> int: ...
    def forget_segment(self, segment: str) -> None: ...
    def sync(self) -> None: ...
    def served(self, since_hour: int | None = None) -> Iterator[Served]: ...
    def served_sums(self, since_hour: int, until_hour: int | None = None) -> Iterator[Served]: ...
    def close(self) -> None: ...
