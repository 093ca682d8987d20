"""The pages that teach by example are run as they stand, from the first block to the last, in an empty folder.

A block after a line that ends in a file's name and a colon (`` `logs.py`: ``) is that file. A block of `sh` is run, and
so is one of `python` without a file's name; a block of `text` after it says what it prints: each of its lines must be
there, "…" standing for anything. `pip install -e FOLDER` does what pip does for plain modules, without a network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("bring-a-task", "write-a-student-kind", "write-an-importer")
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n+^```(?P<said>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(?P<path>[\w./-]+)`:$")
SECONDS = 120
PIP = f"""#!{sys.executable}
import pathlib, site, sys, tomllib
assert sys.argv[1:3] == ["install", "-e"] and len(sys.argv) == 4, sys.argv
folder = pathlib.Path(sys.argv[3]).resolve()
project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
installed = pathlib.Path(__file__).parent.parent / "installed"
(installed / (project["name"] + ".pth")).write_text(str(folder) + "\\n")
facts = installed / f"{{project['name'].replace('-', '_')}}-{{project['version']}}.dist-info"
facts.mkdir()
lines = ["Metadata-Version: 2.1", f"Name: {{project['name']}}", f"Version: {{project['version']}}", ""]
(facts / "METADATA").write_text("\\n".join(lines))
lines = []
for group, points in project.get("entry-points", {{}}).items():
    lines += [f"[{{group}}]", *(f"{{name}} = {{at}}" for name, at in points.items()), ""]
(facts / "entry_points.txt").write_text("\\n".join(lines))
"""
# What is on PYTHONPATH is imported from, but its .pth files are read only in a site folder.
SITE = 'import pathlib, site\nsite.addsitedir(str(pathlib.Path(__file__).parent / "installed"))\n'


@dataclass(frozen=True)
class Block:
    """line: of the page. said: the words after the fence. path: the file it is, "" for what is run."""

    line: int
    said: tuple[str, ...]
    path: str
    body: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        named = FILE.search(match["before"])
        line = text.count("\n", 0, match.start("said")) + 1
        found.append(Block(line, tuple(match["said"].split()), named["path"] if named else "", match["body"]))
    return found


@pytest.mark.parametrize("name", PAGES)
def test_the_page_does_what_it_says(name: str, tmp_path: Path) -> None:
    if any(line.startswith("stepdown build") for line in (ROOT / "docs" / f"{name}.md").read_text().splitlines()):
        pytest.importorskip("torch", reason="building needs the extra 'train'")
    folder, environment = _workplace(tmp_path)
    printed, ran = "", 0
    for block in blocks(ROOT / "docs" / f"{name}.md"):
        kind, *more = block.said or ("",)
        where = f"{name}.md, line {block.line}"
        if block.path:
            path = folder / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        elif kind in ("sh", "python"):
            printed = _run(kind, block.body, ROOT if "checkout" in more else folder, environment, where)
            ran += 1
        elif kind == "text":
            _compare(block.body, printed, where)
    assert ran >= 2


def _workplace(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """An empty folder, and an environment whose `pip` installs beside it and whose other programs are this one's."""
    for name in ("work", "bin", "installed"):
        (tmp_path / name).mkdir()
    (tmp_path / "sitecustomize.py").write_text(SITE)
    begin = f'#!/bin/sh\nexec "{sys.executable}"'
    for name, program in {"pip": PIP, "python": f'{begin} "$@"\n', "stepdown": f'{begin} -m stepdown "$@"\n'}.items():
        (tmp_path / "bin" / name).write_text(program)
        (tmp_path / "bin" / name).chmod(0o755)
    places = (str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    # A battery needs none of pytest's plug-ins; to import them all takes longer than to run it.
    modules = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    own = {"PATH": os.pathsep.join(places), "PYTHONPATH": modules, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return tmp_path / "work", {**os.environ, **own, "PYTHONDONTWRITEBYTECODE": "1"}


def _run(kind: str, body: str, folder: Path, environment: dict[str, str], where: str) -> str:
    words = [sys.executable, "-"] if kind == "python" else ["bash", "-euo", "pipefail"]
    done = subprocess.run(
        words,
        input=body,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{where} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def _compare(expected: str, printed: str, where: str) -> None:
    plain = " ".join(printed.split())
    for line in filter(None, (" ".join(each.split()) for each in expected.splitlines())):
        pattern = ".*?".join(re.escape(part.strip()) for part in line.split("…"))
        assert re.search(pattern, plain), f"{where}: {line!r} is not in\n{printed}"
