"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.gateway.large_model import LargeModel

# What a check says must depend on the change and not on luck. STEPDOWN_TEST_RANDOM=N looks further, N examples each.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("far", max_examples=int(os.environ.get("STEPDOWN_TEST_RANDOM") or 100), deadline=None)
settings.load_profile("far" if os.environ.get("STEPDOWN_TEST_RANDOM") else "steady")

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


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a certified cascade for tickets: copy it, never change it."""
    from tests.gateway.serving import build_home

    return build_home(tmp_path_factory.mktemp("certified") / "home")


@pytest.fixture(scope="session")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `certified`, for bookings whose answers are JSON objects."""
    from tests.cli.bookings import build_home

    return build_home(tmp_path_factory.mktemp("booked") / "home", "json")


@pytest.fixture(scope="session")
def booked_by_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `certified`, for bookings whose answers call tools."""
    from tests.cli.bookings import build_home

    return build_home(tmp_path_factory.mktemp("booked-by-tools") / "home", "tools")


@pytest.fixture(scope="module")
def upstream() -> Iterator[LargeModel]:
    """A large model to ask, the same for a whole module."""
    model = LargeModel().start()
    yield model
    model.stop()
