"""docs/architecture.md names files, functions, folders and entry-point groups that are there, and every stage."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from stepdown.cli.catalogue import all_families

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "stepdown"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MOST = {"Follow a build": 9, "Follow a request": 18}


def listed(title: str) -> dict[str, str]:
    """The files of a list, and the name that each is followed by."""
    part = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\d+\. `([\w/]+\.py)`: `(\w+)`", part, re.MULTILINE))


def imported(file: str) -> dict[str, set[str]]:
    """What a file imports of stepdown: names by file."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse((PACKAGE / file).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stepdown."):
            path = f"{str(node.module).removeprefix('stepdown.').replace('.', '/')}.py"
            found.setdefault(path, set()).update(each.name for each in node.names)
    return found


@pytest.mark.parametrize("title", MOST)
def test_a_list_is_short_and_each_file_is_reached_from_another_by_the_name_that_it_gives(title: str) -> None:
    files = listed(title)
    assert 5 < len(files) <= MOST[title]
    for position, (file, name) in enumerate(files.items()):
        defined = {getattr(node, "name", "") for node in ast.parse((PACKAGE / file).read_text("utf-8")).body}
        assert name in defined, f"{file} has no {name}"
        # Kinds are found in their folder, not imported: what reaches the shared part of upstreams is each of them.
        beside = [f"gateway/upstreams/{path.name}" for path in (PACKAGE / "gateway" / "upstreams").glob("*.py")]
        others = [*files, *(beside if "upstreams" in file else [])]
        assert position == 0 or any(name in imported(other).get(file, ()) for other in others), file


def test_every_stage_of_a_build_is_listed() -> None:
    stages = {file for file in imported("build/pipeline.py") if file.startswith("build/")}
    assert stages <= set(listed("Follow a build"))


def test_every_middleware_is_listed() -> None:
    layers = {
        f"gateway/middleware/{path.name}"
        for path in (PACKAGE / "gateway" / "middleware").glob("*.py")
        if path.stem != "__init__"
    }
    assert layers <= set(listed("Follow a request"))


def test_the_drawing_has_the_floors_that_are_checked() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    folders = [each.split(".")[1].strip() for floor in contract["layers"] for each in floor.split("|")]
    drawn = re.findall(r'^ +(\w+)\["\1: ', PAGE, re.MULTILINE)
    assert drawn == folders


def test_every_folder_of_kinds_and_its_entry_point_group_is_there() -> None:
    rows = re.findall(r"^\| [\w ]+ \| (`[^|]+`) \| `([\w.-]+)` \|", PAGE, re.MULTILINE)
    assert {group for _, group in rows} == {kinds.group for kinds in all_families().values()}
    packages = {kinds.group: kinds.package for kinds in all_families().values()}
    for folders, group in rows:
        paths = re.findall(r"`([\w/]+)/`", folders)
        assert packages[group].removeprefix("stepdown.").replace(".", "/") in paths
        assert all((PACKAGE / path).is_dir() for path in paths)
