"""What calls cost: list prices from the bundled data of genai-prices, or the user's own. Nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# Calls without a time are priced at the newest price listed.
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
_NEWEST = datetime(2100, 1, 1, 12, tzinfo=UTC)


class ModelPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price of the user's own, in USD per million tokens (`[prices."model"]`) and per call.

    cached_input_per_mtok: tokens read from the provider's cache; as input where None.
    """

    input_per_mtok: float
    output_per_mtok: float
    cached_input_per_mtok: float | None = None
    per_call: float = 0.0

    def __post_init__(self) -> None:
        for name in ("input_per_mtok", "output_per_mtok", "cached_input_per_mtok", "per_call"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < 1e9:
                raise ValueError(f"{name} = {value!r} is not a price in USD")


class _Listing(msgspec.Struct, frozen=True):
    """Where a model's price comes from: the user, the library's listing, or nowhere (then `reason`)."""

    own: ModelPrices | None = None
    listed: Any = None
    provider: Any = None
    reason: str = ""


class _DayPrice(msgspec.Struct, frozen=True):
    """A listing's prices at one time, in USD per million tokens, plain or tiered by the length of the prompt."""

    input: Any
    output: Any
    cache_read: Any
    cache_write: Any
    per_thousand_calls: Any


class Prices:
    """Prices by model. A model that has none costs None, with a reason, never 0."""

    def __init__(self, overrides: Mapping[str, Any] | None = None) -> None:
        """overrides: the table `prices` of stepdown.toml, by model name. Raises UsageError."""
        self._own = {normal(name): _own_price(name, table) for name, table in (overrides or {}).items()}
        self._found: dict[tuple[str, str], _Listing] = {}
        self._dated: dict[tuple[str, str, int], _DayPrice] = {}

    def cost(self, call: Call) -> float | None:
        """USD for one call: what was recorded, else its tokens at the price of its day; None where either is unknown.

        Discounts for batches are not assumed. Cached tokens cost what the provider lists for them.
        """
        if call.cost_usd is not None:
            return call.cost_usd
        prompt, completion = call.prompt_tokens, call.completion_tokens
        if prompt is None or completion is None or prompt < 0 or completion < 0:
            return None
        listing = self._find(call.model, call.provider)
        cached, written = _cache_tokens(call, prompt)
        if listing.own is not None:
            return _own_cost(listing.own, prompt, completion, cached)
        if listing.listed is None:
            return None
        price = self._price_of_day(call, listing)
        return _simple_cost(price, prompt, completion, cached, written)

    def source(self, model: str, provider: str = "") -> str:
        """Where a model's price comes from, or why it has none, in plain words."""
        listing = self._find(model, provider)
        if listing.own is not None:
            return "your own prices"
        if listing.listed is None:
            return listing.reason
        return f"genai-prices: {listing.listed.id} at {listing.provider.name}"

    def _find(self, model: str, provider: str) -> _Listing:
        key = (model, provider)
        if key not in self._found:
            names = (normal(model), _bare(model), _DATE.sub("", normal(model)), _DATE.sub("", _bare(model)))
            own = next((self._own[name] for name in names if name in self._own), None)
            self._found[key] = _Listing(own=own) if own else _listed(model, provider)
        return self._found[key]

    def _price_of_day(self, call: Call, listing: _Listing) -> _DayPrice:
        """Prices change by day, and at some providers by hour."""
        hour = int(call.timestamp // 3600)
        key = (call.model, call.provider, hour)
        if key not in self._dated:
            if len(self._dated) > 10_000:
                self._dated.clear()
            moment = datetime.fromtimestamp(hour * 3600, UTC) if 0 < hour < 1_100_000 else _NEWEST
            self._dated[key] = _day_price(listing.listed.get_prices(moment))
        return self._dated[key]


def normal(model: str) -> str:
    """A model's name as prices are looked up by: lower case, without surrounding space."""
    return model.strip().lower()


def _bare(model: str) -> str:
    """A model's name without who serves or made it: "Qwen/Qwen3-30B-A3B" is qwen3-30b-a3b."""
    return normal(model).rsplit("/", 1)[-1]


def _own_price(name: str, table: Any) -> ModelPrices:
    if isinstance(table, ModelPrices):
        return table
    allowed = [field.name for field in msgspec.structs.fields(ModelPrices)]
    for key in table if isinstance(table, dict) else ():
        if key not in allowed:
            close = nearest(str(key), allowed)
            raise UsageError(
                f"[prices.{name!r}] has the unknown key {key!r}.",
                f"Known keys: {', '.join(allowed)}.",
                f"Did you mean {close!r}?" if close else "Remove it.",
            )
    try:
        return msgspec.convert(table, ModelPrices)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(
            f"[prices.{name!r}] cannot be read: {error}.", f"Known keys: {', '.join(allowed)}.", "Correct it."
        ) from None


def _own_cost(price: ModelPrices, prompt: int, completion: int, cached: int) -> float:
    per_cached = price.input_per_mtok if price.cached_input_per_mtok is None else price.cached_input_per_mtok
    tokens = (prompt - cached) * price.input_per_mtok + cached * per_cached + completion * price.output_per_mtok
    return tokens / 1e6 + price.per_call


def _listed(model: str, provider: str) -> _Listing:
    """The library's listing: at the provider that answered, else at the model's maker, else the cheapest that has it.

    The cheapest, so that a saving is never overstated.
    """
    from genai_prices.data_snapshot import get_snapshot

    if not model:
        return _Listing(reason="no price: the calls name no model")
    snapshot = get_snapshot()
    for name in dict.fromkeys((normal(model), _bare(model))):
        for chosen in (provider or None, None):
            try:
                provider_found, listed = snapshot.find_provider_model(name, None, chosen, None)
            except LookupError:
                continue
            if _rates(listed) is not None:
                return _Listing(listed=listed, provider=provider_found)
    everywhere = list(_everywhere(snapshot.providers, model))
    if not everywhere:
        return _Listing(reason=f"no price: {model!r} is not in the price list; add [prices.{model!r}] to stepdown.toml")
    provider_found, listed = min(everywhere, key=lambda pair: (sum(_rates(pair[1]) or ()), pair[0].id))
    return _Listing(listed=listed, provider=provider_found)


def _everywhere(providers: Iterable[Provider], model: str) -> Iterable[tuple[Provider, ModelInfo]]:
    """Every provider's listing of a model, under its whole name, else under its name without the maker's."""
    for name in dict.fromkeys((normal(model), _bare(model))):
        offers = []
        for provider in providers:
            listed = provider.find_model(name)
            if listed is None and "/" not in name:
                listed = next((one for one in provider.models if _bare(one.id) == name), None)
            if listed is not None and _rates(listed) is not None:
                offers.append((provider, listed))
        if offers:
            return offers
    return []


def _rates(listed: ModelInfo) -> tuple[float, float] | None:
    """Newest input and output price in USD per million tokens; None where a listing has none (or is a free tier)."""
    price = listed.get_prices(_NEWEST)
    rates = (_rate(price.input_mtok, 0), _rate(price.output_mtok, 0))
    return None if None in rates or sum(rate or 0.0 for rate in rates) == 0.0 else (rates[0] or 0.0, rates[1] or 0.0)


def _rate(price: Any, prompt: int) -> float | None:
    """A price per million tokens; where it is tiered, that of the tier a prompt of so many tokens falls in."""
    if price is None or isinstance(price, Decimal):
        return None if price is None else float(price)
    reached = [tier for tier in price.tiers if prompt > tier.start]
    return float(max(reached, key=lambda tier: tier.start).price if reached else price.base)


def _day_price(price: ModelPrice) -> _DayPrice:
    per_call = getattr(price, "requests_kcount", None)
    return _DayPrice(price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok, per_call)


def _simple_cost(price: _DayPrice, prompt: int, completion: int, cached: int, written: int) -> float | None:
    per_input, per_output = _rate(price.input, prompt), _rate(price.output, prompt)
    if per_input is None or per_output is None:
        return None
    per_cached = _rate(price.cache_read, prompt)
    per_written = _rate(price.cache_write, prompt)
    tokens = (prompt - cached - written) * per_input + completion * per_output
    tokens += cached * (per_input if per_cached is None else per_cached)
    tokens += written * (per_input if per_written is None else per_written)
    per_call = _rate(price.per_thousand_calls, prompt) or 0.0
    return tokens / 1e6 + per_call / 1e3


def _cache_tokens(call: Call, prompt: int) -> tuple[int, int]:
    """Tokens read from and written to a cache; both are part of the prompt's."""
    usage = (call.response or {}).get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    if not isinstance(details, dict):
        return 0, 0
    read, written = details.get("cached_tokens"), details.get("cache_write_tokens")
    cached = min(max(read, 0), prompt) if isinstance(read, int) else 0
    return cached, min(max(written, 0), prompt - cached) if isinstance(written, int) else 0
