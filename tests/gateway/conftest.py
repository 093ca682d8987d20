"""A gateway that stands in a large model's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, copied, serving


@pytest.fixture(scope="module")
def gateway(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on a copy of the certified project, the same for a whole module."""
    with serving(copied(certified, tmp_path_factory.mktemp("serving") / "home"), "--upstream", upstream.url) as running:
        yield running
