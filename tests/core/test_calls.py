"""What a call says of itself: who answered, and by which id its client knows it."""

from __future__ import annotations

from typing import Any

import pytest

from stepdown.core.calls import Call, incumbent_calls


def call(provider: str = "", response: dict[str, Any] | None = None) -> Call:
    return Call(id="c", request={}, response=response, provider=provider)


@pytest.mark.parametrize(
    ("provider", "rung"),
    [("stepdown/encoder", "encoder"), ("openai", ""), ("", ""), ("stepdown", ""), ("stepdown/cache", "cache")],
)
def test_the_rung_is_in_the_provider(provider: str, rung: str) -> None:
    assert call(provider).rung == rung
    assert list(incumbent_calls([call(provider)])) == ([] if rung else [call(provider)])


@pytest.mark.parametrize(("response", "found"), [(None, ""), ({}, ""), ({"id": 7}, ""), ({"id": "r-1"}, "r-1")])
def test_the_responses_own_id(response: dict[str, Any] | None, found: str) -> None:
    assert call(response=response).response_id == found
