"""Draws of evidence in the journal: read, entered, and how many of their calls are to be labelled."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stepdown.core.draw import ATTEMPTED, DRAWN, FORGOTTEN, LOOKED, PLANNED, Draw
from stepdown.core.errors import TamperedError
from stepdown.core.events import Event
from stepdown.core.store import Store


def read_draws(store: Store, task: str) -> tuple[Draw, ...]:
    """The draws of a task, oldest first. Raises TamperedError where one cannot be read."""
    draws = []
    for event in store.events(DRAWN, task):
        try:
            draws.append(msgspec.convert(event.data, Draw))
        except msgspec.ValidationError as error:
            raise TamperedError(
                f"Event {event.sequence} of the journal is a draw of evidence that cannot be read: {error}.",
                "Expected a draw as it was written.",
                "Restore the store from a backup; without its draws nothing can be certified.",
            ) from None
    return tuple(draws)


def ledger_events(store: Store) -> Iterator[Event]:
    """The events that the ledger counts: attempts and looks of every task, in the order of the journal."""
    return (event for event in store.events() if event.kind in (ATTEMPTED, LOOKED))


def whole_since(store: Store) -> float:
    """The time from which on every call is kept. Of earlier calls only those with gold are left, which are not a random
    sample."""
    return max((float(event.data.get("before", 0.0)) for event in store.events(FORGOTTEN)), default=0.0)


def keep_draw(store: Store, draw: Draw | None, now: float) -> None:
    """Enter a draw in the journal, unless it is there already or has no calls."""
    if draw is not None and draw.rows and all(known.digest != draw.digest for known in read_draws(store, draw.task)):
        store.append(DRAWN, draw.task, msgspec.to_builtins(draw), at=now)


def drawn_at(store: Store, draw: Draw) -> float:
    """When a draw was entered in the journal; 0 where it was not."""
    return next((event.at for event in store.events(DRAWN, draw.task) if _is(event.data, draw)), 0.0)


def plan_labels(store: Store, draw: Draw, rows: int, now: float) -> None:
    """Enter how many calls of a draw, from its first, are to be labelled. It only ever grows."""
    if rows > planned_rows(store, draw):
        store.append(PLANNED, draw.task, {"draw": draw.digest, "rows": rows}, at=now)


def planned_rows(store: Store, draw: Draw) -> int:
    """How many calls of a draw are to be labelled; 0 where nothing was planned."""
    planned = [event.data for event in store.events(PLANNED, draw.task) if event.data.get("draw") == draw.digest]
    return max((int(one.get("rows", 0)) for one in planned), default=0)


def _is(data: dict[str, object], draw: Draw) -> bool:
    return data.get("keys") == draw.keys and data.get("salt") == draw.salt and data.get("replaces") == draw.replaces
