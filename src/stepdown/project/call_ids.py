"""Calls by either id: the call's own, or the one in the response that its client received."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.canonical import digest_of
from stepdown.core.store import Gold, Store, Verdict

T = TypeVar("T", Gold, Verdict)

_CHUNK = 500


def ids_of(store: Store, name: str) -> list[str]:
    """The calls that a name stands for: the call of that id, else those whose response has it, the newest first."""
    return [name] if store.have_calls([name]) else store.call_ids_of(name)


def by_call(store: Store, rows: Iterable[T], may_be: Callable[[str], bool] = lambda name: True) -> Iterator[T | Broken]:
    """The rows under the ids of their calls, where they name responses. A response that the cache repeated is the
    answer of several calls, and what is said of it holds for each of them. may_be: for which of several it may hold.

    Broken is a row whose id several different calls have; a row without a call stays as it is.
    """
    for chunk in _chunks(rows):
        known = store.have_calls(row.id for row in chunk)
        for row in chunk:
            ids = [] if row.id in known else store.call_ids_of(row.id)
            if len(ids) > 1 and not are_equal(store.calls_by_id(ids)):
                reason = f"{len(ids)} calls that differ have a response with the id {row.id!r}; name one by its own id"
                yield Broken(source=f"response {row.id[:200]}".replace("\0", "\ufffd"), line=0, reason=reason, raw="")
                continue
            chosen = [name for name in ids if may_be(name)] or ids
            for name in chosen or [row.id]:
                yield row if name == row.id else msgspec.structs.replace(row, id=name)


def are_equal(calls: Iterable[Call]) -> bool:
    """Whether calls have equal requests and answers."""
    return len({_content(call) for call in calls}) == 1


def _content(call: Call) -> str:
    return digest_of([call.request.get("messages"), call.message])


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    chunk: list[T] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
