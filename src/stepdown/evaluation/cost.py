"""The cost of a thousand requests: on a rented machine, at the incumbent, and through a cascade of both."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from stepdown.core.errors import UsageError
from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import product, resampled_mean

HOURS_PER_MONTH = 730.0


class MachinePrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine that answers, its price, and how busy it is kept. Prices in USD per hour for the whole machine.

    utilisation: the share of its CPU time that is spent answering; the rest is idle and paid for as well.

    The default is the public on-demand list price of AWS m7g.large (2 vCPU, 8 GiB, us-east-1, Linux) as of June 2026.
    The range runs from a burstable t4g.medium (0.0336) to a current x86 m7i.large (0.1008) of the same size.
    """

    name: str = "small cloud VM, 2 vCPU"
    usd_per_hour: float = 0.0816
    usd_per_hour_low: float = 0.0336
    usd_per_hour_high: float = 0.1008
    vcpus: int = 2
    utilisation: float = 0.3
    utilisation_low: float = 0.1
    utilisation_high: float = 0.6
    source: str = "AWS EC2 on-demand list prices, us-east-1, June 2026: m7g.large, range t4g.medium to m7i.large"

    def __post_init__(self) -> None:
        prices = 0 < self.usd_per_hour_low <= self.usd_per_hour <= self.usd_per_hour_high
        shares = 0 < self.utilisation_low <= self.utilisation <= self.utilisation_high <= 1
        if not (prices and shares and self.vcpus >= 1):
            raise UsageError(
                f"The machine {self.name!r} has a price or utilisation that does not fit its range.",
                "Expected 0 < low ≤ value ≤ high in USD per hour, utilisation in (0, 1] and at least one vCPU.",
                "Correct the machine in stepdown.toml.",
            )

    @property
    def usd_per_month(self) -> float:
        return self.usd_per_hour * HOURS_PER_MONTH


def own_cost_per_1k(seconds_per_request: Estimate, machine: MachinePrice) -> Estimate:
    """USD per thousand requests that each keep one vCPU busy for `seconds_per_request`, idle time paid for."""
    price = Estimate(
        value=machine.usd_per_hour,
        low=machine.usd_per_hour_low,
        high=machine.usd_per_hour_high,
        n=seconds_per_request.n,
        method="list price",
    )
    paid_per_used = Estimate(
        value=1.0 / machine.utilisation,
        low=1.0 / machine.utilisation_high,
        high=1.0 / machine.utilisation_low,
        n=seconds_per_request.n,
        method="assumed",
    )
    per_hour = product(
        (price, paid_per_used, seconds_per_request),
        "USD",
        f"machine price × busy time ÷ utilisation ({machine.source})",
        estimated=True,
    )
    return per_hour.scaled(1000.0 / (3600.0 * machine.vcpus))


def incumbent_cost_per_1k(costs_usd: Iterable[float | None], generator: np.random.Generator) -> Estimate | None:
    """USD per thousand calls from the priced ones among `costs_usd`, with a bootstrap interval; None when none is.

    The interval is that of the sample of calls; the price library itself is taken at its word (`estimated`).
    """
    known = [cost for cost in costs_usd if cost is not None]
    if not known:
        return None
    return msgspec.structs.replace(
        resampled_mean(known, generator, "USD").scaled(1000.0), estimated=True, method="list prices × recorded tokens"
    )


def cascade_cost_per_1k(
    own: Estimate, incumbent: Estimate | None, offload: Estimate, holdback: float = 0.0
) -> Estimate | None:
    """USD per thousand requests through a cascade: every request is tried locally, the rest go to the incumbent too.

    holdback: the share of requests that goes to the incumbent whatever the cascade would say, and is not tried. None
    when the incumbent's price is unknown and it still answers some requests.
    """
    if incumbent is None:
        return own if offload.value >= 1.0 and not holdback else None
    tried = 1.0 - holdback
    return Estimate(
        value=tried * own.value + (1.0 - tried * offload.value) * incumbent.value,
        low=tried * own.low + (1.0 - tried * offload.high) * incumbent.low,
        high=tried * own.high + (1.0 - tried * offload.low) * incumbent.high,
        n=offload.n,
        method="own cost + share escalated or held back × incumbent's cost",
        unit="USD",
        estimated=True,
    )
