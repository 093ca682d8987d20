"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.fixture_cache import KeptFolder, run_cache
from tests.gateway.large_model import LargeModel

# What a check says must depend on the change and not on luck. STEPDOWN_TEST_RANDOM=N looks further, N examples each.
settings.register_profile("steady", derandomize=True, deadline=None)
# STEPDOWN_TEST_EXAMPLES=N makes do with the first N, as `make check` does.
FAR, FEW = (int(os.environ.get(f"STEPDOWN_TEST_{name}") or 0) for name in ("RANDOM", "EXAMPLES"))
settings.register_profile("far", max_examples=FAR or 100, deadline=None)
settings.register_profile("few", derandomize=True, max_examples=FEW or 100, deadline=None)
settings.load_profile("far" if FAR else "few" if FEW else "steady")

SLOW_FIXTURES = {"kept_folder", "upstream"}
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared data folder is not beside the repository")
    return SHARED / "data"


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded, so that a failing test fails again."""
    return np.random.default_rng(20261120)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What trains, builds, or starts a gateway in processes of its own is slow, however long it takes here."""
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def kept_folder(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """kept_folder(name, make, *arguments, fresh=False): a copy of what make(folder, *arguments) wrote, in this run or,
    unless fresh, in an earlier one. Never change it."""
    base, worker = tmp_path_factory.getbasetemp(), os.environ.get("PYTEST_XDIST_WORKER", "")
    return run_cache(base.parent if worker else base, worker).folder


@pytest.fixture(scope="session")
def certified(kept_folder: KeptFolder) -> Path:
    """A project folder with a certified cascade for tickets: copy it, never change it."""
    from tests.gateway.serving import build_home

    return kept_folder("certified", build_home)


@pytest.fixture(scope="session")
def booked(kept_folder: KeptFolder) -> Path:
    """As `certified`, for bookings whose answers are JSON objects."""
    from tests.cli.bookings import build_home

    return kept_folder("booked", build_home, "json")


@pytest.fixture(scope="session")
def booked_by_tools(kept_folder: KeptFolder) -> Path:
    """As `certified`, for bookings whose answers call tools."""
    from tests.cli.bookings import build_home

    return kept_folder("booked-by-tools", build_home, "tools")


@pytest.fixture(scope="module")
def upstream() -> Iterator[LargeModel]:
    """A large model to ask, the same for a whole module."""
    model = LargeModel().start()
    yield model
    model.stop()
