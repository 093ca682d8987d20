"""An event: one fact in the hash-chained journal. Changing or removing one breaks every hash after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.errors import TamperedError

GENESIS = "0" * 64


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact: its kind ("imported", "built", "certificate-attempted" …), its task, its data, and the hash before it."""

    sequence: int
    at: float
    kind: str
    task: str
    data: dict[str, Any]
    previous: str
    digest: str = ""

    def sealed(self) -> Event:
        """This event with its digest filled in."""
        blank = msgspec.structs.replace(self, digest="")
        return msgspec.structs.replace(self, digest=digest_of(blank))


def next_event(previous: Event | None, at: float, kind: str, task: str, data: dict[str, Any]) -> Event:
    """The event that follows `previous` in the chain."""
    sequence, link = (previous.sequence + 1, previous.digest) if previous else (1, GENESIS)
    return Event(sequence=sequence, at=at, kind=kind, task=task, data=data, previous=link).sealed()


def verify_chain(events: Iterable[Event]) -> int:
    """The number of events, when the chain is whole. Raises TamperedError naming the first event that is not."""
    link, count = GENESIS, 0
    for event in events:
        count += 1
        if event.sequence != count or event.previous != link or event.sealed().digest != event.digest:
            raise TamperedError(
                f"Event {event.sequence} ({event.kind}) of the journal does not follow from the one before it.",
                "Every event carries the hash of its predecessor.",
                "Restore the store from a backup; certificates after this event cannot be trusted.",
            )
        link = event.digest
    return count
