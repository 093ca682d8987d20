"""What a key or a task may use: requests and tokens a minute, USD a day and a month."""

from __future__ import annotations

import math

import msgspec

from stepdown.core.errors import ContractError


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Each is a positive number, or None where there is no such limit.

    Days and months are those of UTC. USD are what answers cost: of one that a student gave, the machine time.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ContractError(
                    f"There is a limit {name} = {value!r}.",
                    "Expected a positive number.",
                    f"Change {name}, or leave it out where there is to be no limit.",
                )

    def any(self) -> bool:
        """Whether anything is limited at all."""
        return any(getattr(self, name) is not None for name in self.__struct_fields__)
