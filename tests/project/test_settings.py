"""The settings of the machine that serves."""

from __future__ import annotations

import pytest

from stepdown.core.errors import ContractError
from stepdown.project.settings import parse_settings


def test_students_compute_on_the_cpu_unless_a_device_is_named() -> None:
    assert parse_settings({}).machine.device == "cpu"
    assert parse_settings({"machine": {"device": "cuda", "vcpus": 4}}).machine.device == "cuda"
    with pytest.raises(ContractError, match=r"'tpu'.*machine\.device"):
        parse_settings({"machine": {"device": "tpu"}})
