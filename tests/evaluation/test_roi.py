from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.record import Roi, RoiInput
from stepdown.evaluation.cost import MachinePrice
from stepdown.evaluation.roi import NEVER_MONTHS, RoiInputs, machine_per_month, ranged, roi, stated, unknown_volume


def inputs(calls: float = 2e6, **others: RoiInput) -> RoiInputs:
    given = {
        "calls_per_month": ranged("calls_per_month", (calls / 2, calls, calls * 1.5), "calls", "measured"),
        "offload": ranged("offload", (0.9, 0.95, 0.97), "share", "measured"),
        "incumbent_usd_per_1k": ranged("incumbent_usd_per_1k", (1.4, 1.45, 1.5), "USD", "priced"),
    }
    return RoiInputs(**{**given, **others})


def certain(**values: float) -> RoiInputs:
    """Every input without a range, so that the sums can be done by hand."""
    every = inputs().known
    fixed = {name: stated(name, values.get(name, given.value), given.unit, "stated") for name, given in every.items()}
    return RoiInputs(**fixed)


def test_the_sums_are_those_of_a_spreadsheet() -> None:
    found = roi(
        certain(
            calls_per_month=1e6, offload=0.9, incumbent_usd_per_1k=2.0, machine_usd_per_month=60.0,
            licence_usd_per_month=10.0, shadow_share=0.05, upkeep_hours_per_month=1.0, usd_per_engineer_hour=100.0,
            labels=2000.0, usd_per_label=0.1, engineer_hours=10.0, build_machine_hours=1.0, usd_per_build_hour=0.1,
        )
    )  # fmt: skip
    saving, cost = 1000 * 0.9 * 0.95 * 2.0 - 60 - 10 - 100, 200 + 1000 + 0.1
    assert found.saving_per_month.value == pytest.approx(saving)
    assert (found.saving_per_month.low, found.saving_per_month.high) == (pytest.approx(saving), pytest.approx(saving))
    assert found.one_off_cost.value == pytest.approx(cost)
    assert found.payback_months is not None
    assert found.payback_months.value == pytest.approx(cost / saving)
    assert found.roi_12_months.value == pytest.approx((12 * saving - cost) / cost)
    assert found.sensitivity == ()


def test_doubt_about_the_inputs_is_doubt_about_the_result() -> None:
    found = roi(inputs())
    for each in (found.saving_per_month, found.one_off_cost, found.payback_months, found.roi_12_months):
        assert each is not None
        assert each.low < each.value < each.high
        assert each.estimated
    assert found == roi(inputs())
    swings = [abs(each.at_high - each.at_low) for each in found.sensitivity]
    assert swings == sorted(swings, reverse=True)
    assert found.sensitivity[0].name == "calls_per_month"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Roi) == found


@settings(max_examples=10, deadline=None)
@given(calls=st.floats(0.0, 1e9), price=st.floats(0.0, 50.0))
def test_any_traffic_gives_finite_figures_that_hold_their_value(calls: float, price: float) -> None:
    found = roi(inputs(calls, incumbent_usd_per_1k=stated("incumbent_usd_per_1k", price, "USD", "stated")))
    assert (found.payback_months is None) == (found.saving_per_month.value <= 0.0)
    for each in (found.saving_per_month, found.one_off_cost, found.roi_12_months):
        assert each.low <= each.value <= each.high
        assert abs(each.value) < 1e12


def test_what_may_never_pay_back_is_given_as_ten_years() -> None:
    found = roi(inputs(150_000.0))
    assert found.payback_months is not None
    assert found.payback_months.high == NEVER_MONTHS
    assert roi(inputs(1000.0)).payback_months is None


def test_time_and_energy_are_there_only_where_they_are_known() -> None:
    bare = roi(inputs())
    assert bare.hours_saved_per_month is None
    assert bare.energy_saved_kwh_per_month is None
    times = {
        "incumbent_latency_s": stated("incumbent_latency_s", 0.9, "s", "measured"),
        "own_latency_s": stated("own_latency_s", 0.001, "s", "measured"),
        "incumbent_joules": ranged("incumbent_joules", (100.0, 1000.0, 9000.0), "J", "estimated"),
        "own_joules": ranged("own_joules", (0.01, 0.02, 0.03), "J", "estimated"),
    }
    found = roi(inputs(1e6, **times))
    assert found.hours_saved_per_month is not None
    assert found.hours_saved_per_month.value == pytest.approx(1e6 * (0.9 * 0.95 - 0.001) / 3600)
    assert found.energy_saved_kwh_per_month is not None
    assert found.energy_saved_kwh_per_month.value == pytest.approx(1e6 * (1000 * 0.95 * 0.98 - 0.02) / 3.6e6)


def test_nothing_is_assumed_in_silence() -> None:
    found = roi(inputs(calls_per_month=unknown_volume()))
    assert all(each.source and each.unit for each in found.inputs)
    by_name = {each.name: each for each in found.inputs}
    assert by_name["calls_per_month"].source.startswith("assumed: volume unknown")
    assert by_name["licence_usd_per_month"].value == 0.0
    assert "AWS" in machine_per_month(MachinePrice()).source
    with pytest.raises(ValueError, match="outside its range"):
        roi(inputs(offload=ranged("offload", (0.9, 0.5, 1.0), "share", "wrong")))


def test_a_large_traffic_needs_more_machines() -> None:
    small = roi(inputs(1e5)).sensitivity
    assert "machine_capacity" not in {each.name for each in small}
    assert "machine_capacity" in {each.name for each in roi(inputs(5e8)).sensitivity}
