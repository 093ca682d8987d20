"""pyproject.toml names what is imported: each extra brings what its code needs, and nothing that no code asks for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PROGRAMS = {"import-linter", "mypy", "ruff", "pytest", "pytest-timeout", "pytest-xdist"}
"""What `dev` brings to be run and not to be imported."""
OWN = {"stepdown", "tests", "benchmarks", "run"}
"""`run` is the program of an export."""
BESIDE = {"pycrfsuite"}
"""What a benchmark compares with where someone installed it."""
IMPORTERS = {"import_module", "importorskip", "find_spec"}


def distribution(requirement: str) -> str:
    """The name in a requirement, as the index normalises it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def named(requirements: Iterable[str]) -> set[str]:
    return {distribution(each) for each in requirements}


@cache
def brought(name: str) -> frozenset[str]:
    """A distribution and all that it requires without any extra; where it is not installed, itself alone."""
    found, waiting = set(), {name}
    while waiting:
        one = waiting.pop()
        found.add(one)
        try:
            needed = {distribution(each) for each in requires(one) or () if "extra ==" not in each}
        except PackageNotFoundError:
            continue
        waiting |= needed - found
    return frozenset(found)


def brought_by(requirements: Iterable[str]) -> set[str]:
    return {each for name in named(requirements) for each in brought(name)}


def imported(folder: Path) -> dict[str, list[str]]:
    """Distribution → the files that import it, at their head, in a function, or by its name as a string."""
    homes = packages_distributions()
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*.py"):
        for module in modules(ast.parse(path.read_text("utf-8"))):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in OWN:
                continue
            for one in named(homes.get(top, [top])):
                found.setdefault(one, []).append(str(path.relative_to(ROOT)))
    return found


def modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (each.name for each in node.names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if called(node.func) in IMPORTERS:
                yield name
            case ast.keyword(arg="module", value=ast.Constant(value=str(name))):
                yield name


def called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


SOURCE = imported(ROOT / "src" / "stepdown")
USERS = [name for name in EXTRAS if name != "dev"]


def test_all_that_the_source_imports_is_brought_by_an_installation() -> None:
    known = brought_by([*PROJECT["dependencies"], *(each for name in USERS for each in EXTRAS[name])])
    assert {name: files for name, files in SOURCE.items() if name not in known} == {}


@pytest.mark.parametrize("extra", ["", *USERS])
def test_an_extra_brings_nothing_that_the_source_does_not_import(extra: str) -> None:
    asked = named(EXTRAS[extra] if extra else PROJECT["dependencies"])
    # A namespace's distributions share their import's name (opentelemetry); psycopg[binary] is psycopg.
    assert {name for name in asked - set(SOURCE) if not any(name.startswith(f"{each}-") for each in SOURCE)} == set()


def test_what_tests_and_benchmarks_import_is_brought_by_dev_and_train() -> None:
    known = brought_by([*PROJECT["dependencies"], *EXTRAS["train"], *EXTRAS["dev"], *EXTRAS["names"]])
    found = {**imported(ROOT / "tests"), **imported(ROOT / "benchmarks")}
    assert {name: files for name, files in found.items() if name not in known | BESIDE} == {}


def test_dev_brings_nothing_that_is_neither_imported_nor_run() -> None:
    found = {**imported(ROOT / "tests"), **imported(ROOT / "benchmarks"), **SOURCE}
    asked = {name for name in named(EXTRAS["dev"]) if not name.startswith("types-")}
    spare = {name for name in asked - set(found) - PROGRAMS if not any(name.startswith(f"{one}-") for one in found)}
    assert spare == set()
