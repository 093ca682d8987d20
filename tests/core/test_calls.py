"""What a call says of itself: who answered, and by which id its client knows it."""

from __future__ import annotations

from typing import Any

import pytest

from stepdown.core.calls import Call, as_production_makes_them, incumbent_calls
from stepdown.core.served import Served


def call(served: Served | None = None, response: dict[str, Any] | None = None) -> Call:
    return Call(id="c", request={}, response=response, served=served)


@pytest.mark.parametrize(
    ("served", "rung"),
    [
        (Served(rung="encoder"), "encoder"),
        (None, ""),
        (Served(), ""),
        (Served(cached=True), ""),
        (Served(rung="cache", cached=True), "cache"),
    ],
)
def test_nobody_learns_from_what_a_rung_answered(served: Served | None, rung: str) -> None:
    assert call(served).rung == rung
    assert list(incumbent_calls([call(served)])) == ([] if rung else [call(served)])


@pytest.mark.parametrize(
    ("served", "is_sample"),
    [
        (None, True),
        (Served(cached=True), True),
        (Served(selection="holdback", probability=0.1), True),
        (Served(selection="escalated"), False),
        (Served(cached=True, selection="escalated"), False),
        (Served(rung="encoder"), False),
    ],
)
def test_evidence_may_be_drawn_from_what_no_cascade_selected(served: Served | None, is_sample: bool) -> None:
    assert list(as_production_makes_them([call(served)])) == ([call(served)] if is_sample else [])


@pytest.mark.parametrize(("response", "found"), [(None, ""), ({}, ""), ({"id": 7}, ""), ({"id": "r-1"}, "r-1")])
def test_the_responses_own_id(response: dict[str, Any] | None, found: str) -> None:
    assert call(response=response).response_id == found
