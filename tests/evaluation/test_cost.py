from __future__ import annotations

import numpy as np
import pytest

from stepdown.core.errors import UsageError
from stepdown.core.estimates import Estimate
from stepdown.evaluation.cost import MachinePrice, cascade_cost_per_1k, incumbent_cost_per_1k, own_cost_per_1k


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=50, method="m", unit="USD")


def test_own_cost_is_busy_time_at_the_stated_price_and_utilisation() -> None:
    machine = MachinePrice(
        usd_per_hour=0.36, usd_per_hour_low=0.36, usd_per_hour_high=0.36, vcpus=1,
        utilisation=0.5, utilisation_low=0.5, utilisation_high=0.5,
    )  # fmt: skip
    found = own_cost_per_1k(estimate(0.001, 0.0005, 0.002), machine)
    assert found.value == pytest.approx(0.36 / 3600 * 0.001 / 0.5 * 1000)
    assert (found.low, found.high) == (pytest.approx(found.value / 2), pytest.approx(found.value * 2))
    assert found.estimated


def test_the_default_machine_is_cited_and_cheap() -> None:
    found = own_cost_per_1k(estimate(0.001, 0.001, 0.001), MachinePrice())
    assert 1e-6 < found.low < found.value < found.high < 0.01
    assert "2026" in MachinePrice().source
    assert MachinePrice().source in found.method


def test_a_machine_whose_range_does_not_hold_its_price_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit its range"):
        MachinePrice(usd_per_hour=1.0)
    with pytest.raises(UsageError):
        MachinePrice(utilisation=0.0, utilisation_low=0.0)


def test_the_incumbents_cost_is_that_of_its_priced_calls() -> None:
    costs = [0.001, 0.002, None, 0.003] * 30
    found = incumbent_cost_per_1k(costs, np.random.default_rng(0))
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert (found.n, found.estimated) == (90, True)
    assert 1.8 < found.low < 2.0 < found.high < 2.2
    assert incumbent_cost_per_1k([None], np.random.default_rng(0)) is None


def test_a_cascade_pays_for_itself_and_for_what_it_escalates() -> None:
    own, theirs = estimate(0.01, 0.005, 0.02), estimate(2.0, 1.9, 2.1)
    found = cascade_cost_per_1k(own, theirs, estimate(0.9, 0.85, 0.95))
    assert found is not None
    assert found.value == pytest.approx(0.21)
    assert (found.low, found.high) == (pytest.approx(0.005 + 0.05 * 1.9), pytest.approx(0.02 + 0.15 * 2.1))
    held = cascade_cost_per_1k(own, theirs, estimate(1.0, 1.0, 1.0), 0.2)
    assert held is not None
    assert held.value == pytest.approx(0.8 * own.value + 0.2 * theirs.value)
    assert cascade_cost_per_1k(own, None, estimate(1.0, 0.9, 1.0), 0.2) is None
    assert cascade_cost_per_1k(own, None, estimate(0.9, 0.8, 1.0)) is None
    assert cascade_cost_per_1k(own, None, estimate(1.0, 0.9, 1.0)) == own
