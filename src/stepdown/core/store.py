"""What the house asks of a store: calls, gold, tasks, the journal. A kind of store is one file in `stores/kinds/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
"""How the source of gold and the judge of a verdict begin that came as feedback; the name of the key follows. Both are
kept, and are never evidence."""

FeedbackKind = Literal["gold", "accepted", "rejected", "score", "withdrawn"]
"""gold, accepted: `value` is the right answer. rejected, score: `value` is the loss of the answer that was given.
withdrawn: no earlier piece that says what is right for the call holds any more."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of feedback, beside which others stay. key: the id of the key that gave it, name: its name; "" where
    the gateway has no keys. answer: the one judged, None for the incumbent's own. comment: the client's words."""

    call: str
    kind: FeedbackKind
    value: Any
    answer: Any = None
    key: str = ""
    name: str = ""
    comment: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's loss in [0, 1] for an answer to a call. answer: the answer judged; None means the incumbent's own."""

    id: str
    loss: float
    answer: Any = None
    judge: str = ""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What was served in one hour for one task, key and rung: sums, so that any number of gateways can add to them.

    hour: whole hours since the epoch. task, key: "" for none; key is a key's id. rung: "incumbent", a student's kind,
    "cache", "abstained" or "error". cost_usd: with the students that were tried. saved_usd: what the incumbent alone
    would have cost, less that. latency_s: of all requests.
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
    """What an `add` did: new rows, rows that were there already, rows that contradict what was there."""

    new: int = 0
    known: int = 0
    changed: int = 0


class Store(Protocol):
    """Transactions are per method: each either happens or does not. Iterators stream; memory stays flat.

    A store is for one thread at a time; threads and processes that open one each may work at once. Every method raises
    StoreError where the store is locked or gone and ResourceError where the disk is full; once that is over, the same
    store works again.
    """

    def add_calls(self, calls: Iterable[Call | EncodedCall]) -> Added: ...
    def calls(self, workload: str | None = None, limit: int | None = None) -> Iterator[Call]: ...
    def calls_by_id(self, ids: Iterable[str]) -> Iterator[Call]: ...
    def have_calls(self, ids: Iterable[str]) -> set[str]: ...
    def count_calls(self, workload: str | None = None) -> int: ...
    def workloads(self) -> dict[str, int]: ...
    def keep_broken(self, broken: Iterable[Broken]) -> int: ...
    def broken(self) -> Iterator[Broken]: ...
    def add_gold(self, gold: Iterable[Gold]) -> Added: ...
    def gold(self) -> dict[str, Gold]: ...
    def remove_gold(self, ids: Iterable[str]) -> int: ...
    def imported_gold(self, call_id: str) -> Gold | None: ...
    def has_gold_value(self, workload: str, value: Any) -> bool: ...
    def add_verdicts(self, verdicts: Iterable[Verdict]) -> Added: ...
    def verdicts(self) -> Iterator[Verdict]: ...
    def add_feedback(self, task: str, feedback: Feedback, at: float) -> Event: ...
    def feedback(self) -> Iterator[Event]: ...
    def last_feedback(self) -> Event | None: ...
    def put_task(self, task: Task, at: float) -> None: ...
    def tasks(self) -> dict[str, Task]: ...
    def append(self, kind: str, task: str, data: dict[str, Any], at: float, tables: Iterable[str] = ()) -> Event: ...
    def events(self, kind: str | None = None, task: str | None = None, after: int = 0) -> Iterator[Event]: ...
    def on_append(self, appended: Callable[[Event], None]) -> None: ...
    def last_event(self, kind: str | None = None) -> Event | None: ...
    def event_at(self, sequence: int) -> Event | None: ...
    def rows_digest(self, table: str) -> str: ...
    def call_id_of(self, response_id: str) -> str | None: ...
    def call_ids_of(self, response_id: str) -> list[str]: ...
    def forget_calls(self, before: float, keep_gold: bool = True) -> int: ...
    def compact(self) -> int: ...
    def put_key(self, key: Key) -> None: ...
    def keys(self) -> list[Key]: ...
    def revoke_key(self, key_id: str, at: float) -> bool: ...
    def check_calls(self) -> Iterator[str]: ...
    def add_served(self, rows: Iterable[Served]) -> None: ...
    def take(self, segment: str, start: int, end: int, calls: Iterable[Call], served: Iterable[Served]) -> None: ...
    def taken(self, segment: str) -> int: ...
    def forget_segment(self, segment: str) -> None: ...
    def sync(self) -> None: ...
    def served(self, since_hour: int | None = None) -> Iterator[Served]: ...
    def served_sums(self, since_hour: int, until_hour: int | None = None) -> Iterator[Served]: ...
    def close(self) -> None: ...
