"""What a call says of itself: who answered, and by which id its client knows it."""

from __future__ import annotations

from typing import Any

import pytest

from stepdown.core.calls import Call, Selection, as_production_makes_them, incumbent_calls


def call(provider: str = "", response: dict[str, Any] | None = None) -> Call:
    return Call(id="c", request={}, response=response, provider=provider)


@pytest.mark.parametrize(
    ("provider", "rung"),
    [("stepdown/encoder", "encoder"), ("openai", ""), ("", ""), ("stepdown", ""), ("stepdown/cache", "cache")],
)
def test_the_rung_is_in_the_provider(provider: str, rung: str) -> None:
    assert call(provider).rung == rung
    assert list(incumbent_calls([call(provider)])) == ([] if rung else [call(provider)])


@pytest.mark.parametrize(
    ("provider", "selection", "is_sample"),
    [
        ("openai", "", True),
        ("cache", "", True),
        ("openai", "holdback", True),
        ("openai", "escalated", False),
        ("cache", "escalated", False),
        ("stepdown/encoder", "", False),
    ],
)
def test_evidence_may_be_drawn_from_what_no_cascade_selected(
    provider: str, selection: Selection, is_sample: bool
) -> None:
    one = Call(id="c", request={}, response={}, provider=provider, selection=selection)
    assert list(as_production_makes_them([one])) == ([one] if is_sample else [])


@pytest.mark.parametrize(("response", "found"), [(None, ""), ({}, ""), ({"id": 7}, ""), ({"id": "r-1"}, "r-1")])
def test_the_responses_own_id(response: dict[str, Any] | None, found: str) -> None:
    assert call(response=response).response_id == found
