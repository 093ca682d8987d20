"""A journal whose past was changed does not verify."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.errors import TamperedError
from stepdown.core.events import Event, next_event, verify_chain


def chain(length: int) -> list[Event]:
    events: list[Event] = []
    for number in range(length):
        events.append(next_event(events[-1] if events else None, float(number), "kind", "task", {"number": number}))
    return events


def test_a_whole_chain_verifies() -> None:
    assert verify_chain(chain(5)) == 5
    assert verify_chain([]) == 0


@given(st.integers(0, 4), st.sampled_from(["kind", "task", "at", "data", "previous", "digest", "sequence"]))
def test_any_change_is_found(where: int, field: str) -> None:
    events = chain(5)
    other = {"at": 99.0, "data": {"number": -1}, "sequence": 77}.get(field, "changed")
    events[where] = msgspec.structs.replace(events[where], **{field: other})
    with pytest.raises(TamperedError):
        verify_chain(events)


@given(st.integers(0, 3))
def test_a_removed_event_is_found(where: int) -> None:
    events = chain(5)
    del events[where]
    with pytest.raises(TamperedError):
        verify_chain(events)
