"""Prices: offline, dated, overridable, and never 0 for what is not known."""

from __future__ import annotations

import pytest

from stepdown.core.calls import Call
from stepdown.core.errors import UsageError
from stepdown.traffic.pricing import Prices


def _call(model: str, provider: str = "", cached: int | None = None, **fields: float) -> Call:
    usage: dict[str, object] = {"prompt_tokens": 10_000, "completion_tokens": 1_000}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    response = {"model": model, "usage": usage, "choices": []}
    return Call(id="x", request={}, response=response, provider=provider, timestamp=1751942128.0, **fields)


def test_a_listed_model_and_its_cached_tokens() -> None:
    prices = Prices()
    full, cached = prices.cost(_call("gpt-4o-2024-08-06")), prices.cost(_call("gpt-4o-2024-08-06", cached=8_000))
    assert full == pytest.approx(0.035)
    assert cached == pytest.approx(0.025)
    assert prices.source("gpt-4o-2024-08-06") == "genai-prices: gpt-4o at OpenAI"


@pytest.mark.parametrize("model", ["Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b", "QWEN/QWEN3-30B-A3B"])
def test_an_open_model_is_found_where_some_provider_lists_it(model: str) -> None:
    cost = Prices().cost(_call(model))
    assert cost is not None
    assert 0.0 < cost < 0.01
    assert "at" in Prices().source(model)


def test_an_unknown_model_has_no_price_and_a_reason() -> None:
    prices = Prices()
    assert prices.cost(_call("house-model-9")) is None
    assert "no price: 'house-model-9'" in prices.source("house-model-9")
    assert prices.cost(_call("")) is None


def test_the_users_own_prices_come_first() -> None:
    own = {"gpt-4o": {"input_per_mtok": 1.0, "output_per_mtok": 10.0, "cached_input_per_mtok": 0.5, "per_call": 0.001}}
    prices = Prices(own)
    assert prices.cost(_call("gpt-4o-2024-08-06", cached=4_000)) == pytest.approx(0.006 + 0.002 + 0.01 + 0.001)
    assert prices.source("openai/gpt-4o") == "your own prices"


def test_a_recorded_cost_is_taken_as_it_is() -> None:
    assert Prices().cost(_call("house-model-9", cost_usd=0.5)) == 0.5


def test_calls_without_token_counts_have_no_price() -> None:
    assert Prices().cost(Call(id="x", request={"model": "gpt-4o"}, response={"choices": []})) is None


@pytest.mark.parametrize("table", [{"input_per_mtoks": 1.0}, {"input_per_mtok": -1.0, "output_per_mtok": 1.0}, {}, 3])
def test_a_wrong_table_is_refused(table: object) -> None:
    with pytest.raises(UsageError, match="prices"):
        Prices({"m": table})
