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


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The journal's head at one time: how many events it had, the hash of the last one, and when that was entered.

    Kept elsewhere, it shows whether the journal of later still begins with the one of then.
    """

    version: int = 1
    events: int
    head: str
    at: float


def anchor_of(event: Event | None) -> Anchor:
    """The anchor of a journal that ends with `event`; None: an empty one."""
    return Anchor(events=event.sequence, head=event.digest, at=event.at) if event else Anchor(events=0, head="", at=0.0)


def follows(event: Event, previous: Event | None) -> bool:
    """Whether an event is whole and the next one after `previous`."""
    sequence, link = (previous.sequence + 1, previous.digest) if previous else (1, GENESIS)
    return event.sequence == sequence and event.previous == link and event.sealed().digest == event.digest


def verify_chain(events: Iterable[Event]) -> int:
    """The number of events, when the chain is whole. Raises TamperedError naming the first event that is not."""
    last = continue_chain(events)
    return last.sequence if last else 0


def continue_chain(events: Iterable[Event], after: Event | None = None, what: str = "journal") -> Event | None:
    """The last event, when the chain is whole from `after` on; `after` where there are none. Raises TamperedError
    naming the first event that does not follow."""
    for event in events:
        if not follows(event, after):
            raise TamperedError(
                f"Event {event.sequence} ({event.kind}) of the {what} does not follow from the one before it.",
                "Every event carries the hash of its predecessor.",
                "Restore the store from a backup; certificates after this event cannot be trusted.",
            )
        after = event
    return after
