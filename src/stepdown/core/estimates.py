"""A number with its uncertainty and how it was got. No figure leaves the house without one."""

from __future__ import annotations

import msgspec


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A value with an interval [low, high] at `confidence`, from `n` observations, by `method`.

    `estimated` is True where the value rests on an assumption rather than a measurement (a price, a power model).
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    confidence: float = 0.95
    unit: str = ""
    estimated: bool = False

    def scaled(self, factor: float, unit: str | None = None) -> Estimate:
        """The same estimate in another unit; `factor` must be positive."""
        return msgspec.structs.replace(
            self,
            value=self.value * factor,
            low=self.low * factor,
            high=self.high * factor,
            unit=self.unit if unit is None else unit,
        )
