from __future__ import annotations

from pathlib import Path

import pytest

from stepdown.evaluation.energy import Reading, incumbent_joules_per_1k, joules_between, read_counters


def powercap(root: Path, package: int, part: int, most: int = 10_000_000) -> Path:
    """The folders that Linux shows: a package, and a part of it that must not be counted twice."""
    for name, used in (("intel-rapl:0", package), ("intel-rapl:0:0", part)):
        (root / name).mkdir(exist_ok=True)
        (root / name / "energy_uj").write_text(f"{used}\n")
        (root / name / "max_energy_range_uj").write_text(f"{most}\n")
    return root


def test_the_package_counter_is_read_where_it_is(tmp_path: Path) -> None:
    before = read_counters(powercap(tmp_path, 1_000_000, 500))
    after = read_counters(powercap(tmp_path, 3_000_000, 900))
    found = joules_between(before, after, requests=400)
    assert found.value == pytest.approx(2.0 / 400 * 1000)
    assert (found.method, found.estimated, found.unit, found.n) == ("RAPL, package", False, "J", 400)


def test_the_counter_may_wrap_round(tmp_path: Path) -> None:
    before = read_counters(powercap(tmp_path, 9_000_000, 0))
    after = read_counters(powercap(tmp_path, 1_000_000, 0))
    assert joules_between(before, after, 1000).value == pytest.approx(2.0)


def test_without_a_counter_it_is_an_estimate_and_says_so(tmp_path: Path) -> None:
    assert read_counters(tmp_path / "absent").packages == {}
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("not a number")
    assert read_counters(tmp_path).packages == {}
    found = joules_between(Reading(1.0, {}), Reading(3.0, {}), requests=1000)
    assert (found.low, found.value, found.high) == (4.0, 8.0, 20.0)
    assert found.estimated
    assert "Cloud Carbon Footprint" in found.method


def test_a_large_models_energy_is_a_wide_cited_range() -> None:
    found = incumbent_joules_per_1k(14_000, 20, n=13_083)
    assert found.estimated
    assert found.low < found.value < found.high
    assert found.high / found.low > 20.0
    assert "Samsi" in found.method
    gemini_median_prompt_j = 864.0
    short = incumbent_joules_per_1k(500, 300, n=1)
    assert short.low / 1000 < gemini_median_prompt_j < 2 * short.high / 1000
