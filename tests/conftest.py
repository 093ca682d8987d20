"""Fixtures that every room's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.gateway.large_model import LargeModel

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


@pytest.fixture(scope="module")
def upstream() -> Iterator[LargeModel]:
    """A large model to ask, the same for a whole module."""
    model = LargeModel().start()
    yield model
    model.stop()
