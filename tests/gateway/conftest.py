"""A certified project, a large model to ask, and a gateway that stands in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, build_home, copied, serving


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a certified cascade for tickets: copy it, never change it."""
    return build_home(tmp_path_factory.mktemp("certified") / "home")


@pytest.fixture(scope="module")
def upstream() -> Iterator[LargeModel]:
    model = LargeModel().start()
    yield model
    model.stop()


@pytest.fixture(scope="module")
def gateway(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on a copy of the certified project, the same for a whole module."""
    with serving(copied(certified, tmp_path_factory.mktemp("serving") / "home"), "--upstream", upstream.url) as running:
        yield running
