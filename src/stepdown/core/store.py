"""What the house asks of a store: calls, gold, tasks, the journal. A kind of store is one file in `stores/kinds/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.events import Event
from stepdown.core.tasks import Task


class Gold(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted answer for a call. split: "" or where its owner wants it used: train, tune (or dev), certify, test."""

    id: str
    gold: Any
    split: str = ""
    source: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's loss in [0, 1] for an answer to a call. answer: the answer judged; None means the incumbent's own."""

    id: str
    loss: float
    answer: Any = None
    judge: str = ""


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What an `add` did: new rows, rows that were there already, rows that contradict what was there."""

    new: int = 0
    known: int = 0
    changed: int = 0


class Store(Protocol):
    """Transactions are per method: each either happens or does not. Iterators stream; memory stays flat."""

    def add_calls(self, calls: Iterable[Call]) -> Added: ...
    def calls(self, workload: str | None = None, limit: int | None = None) -> Iterator[Call]: ...
    def calls_by_id(self, ids: Iterable[str]) -> Iterator[Call]: ...
    def count_calls(self, workload: str | None = None) -> int: ...
    def workloads(self) -> dict[str, int]: ...
    def keep_broken(self, broken: Iterable[Broken]) -> int: ...
    def broken(self) -> Iterator[Broken]: ...
    def add_gold(self, gold: Iterable[Gold]) -> Added: ...
    def gold(self) -> dict[str, Gold]: ...
    def add_verdicts(self, verdicts: Iterable[Verdict]) -> Added: ...
    def verdicts(self) -> Iterator[Verdict]: ...
    def put_task(self, task: Task) -> None: ...
    def tasks(self) -> dict[str, Task]: ...
    def append(self, kind: str, task: str, data: dict[str, Any], at: float) -> Event: ...
    def events(self, kind: str | None = None, task: str | None = None) -> Iterator[Event]: ...
    def close(self) -> None: ...
