"""The sorts of records, by name, for every test of the report."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _beside(file: str) -> ModuleType:
    """A module of this folder; the suite's import mode puts no folder on the path."""
    name = f"report_tests_{file.removesuffix('.py')}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sort" in metafunc.fixturenames:
        metafunc.parametrize("sort", list(_beside("records.py").every_sort()))


@pytest.fixture(scope="session")
def records() -> ModuleType:
    """The factory of records (records.py)."""
    return _beside("records.py")


@pytest.fixture(scope="session")
def page() -> ModuleType:
    """The strict reader of pages (page.py)."""
    return _beside("page.py")
