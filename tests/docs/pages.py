"""Pages that are run as they stand: their fences, a folder to run them in, and what a fence says is printed.

A block after a line that ends in a file's name and a colon (`` `logs.py`: ``) is that file. A block of `sh` is run, and
so is one of `python` without a file's name; a block of `text` after it says what it prints: each of its lines must be
there, "…" standing for anything. `toml`, `json` and `jsonl` without a name are read. `sh not run: WHY` is not run.
`pip install -e FOLDER` does what pip does for plain modules, without a network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from stepdown.project.settings import parse_settings

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n+^```(?P<said>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`(?P<path>[\w./-]+)`:$")
SECONDS = 120
NOT_RUN = ("not", "run:")
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
    fences = len(re.findall(r"^\s*```", text, re.MULTILINE))
    assert fences == 2 * len(found), (
        f"{page.name}: {fences} fences, of which {2 * len(found)} begin a line and are paired"
    )
    return found


def check(block: Block, printed: str, where: str) -> None:
    """What needs no running: output is compared, settings and JSON are read. Any other kind of block fails."""
    kind = block.said[0] if block.said else ""
    if kind == "text":
        compare(block.body, printed, where)
    elif kind == "toml":
        parse_settings(tomllib.loads(block.body))
    elif kind in ("json", "jsonl"):
        for value in [block.body] if kind == "json" else block.body.splitlines():
            json.loads(value)
    elif not is_not_run(block):
        raise AssertionError(
            f"{where}: a block of {kind or 'no language'!r} that is no file is neither run nor compared. "
            "Expected sh, python, text, toml, json or jsonl, or `sh not run: WHY` for what cannot be run here."
        )


def is_not_run(block: Block) -> bool:
    """Whether a block says why it is not run."""
    return len(block.said) > 3 and block.said[1:3] == NOT_RUN


def workplace(tmp_path: Path) -> tuple[Path, dict[str, str]]:
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
    inherited = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    modules = os.pathsep.join((str(tmp_path), *inherited))
    own = {"PATH": os.pathsep.join(places), "PYTHONPATH": modules, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return tmp_path / "work", {**os.environ, **own, "PYTHONDONTWRITEBYTECODE": "1"}


def write(block: Block, folder: Path) -> None:
    """The file that a block is."""
    path = folder / block.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.body, encoding="utf-8")


def run(kind: str, body: str, folder: Path, environment: dict[str, str], where: str) -> str:
    """What a block of sh or python prints. It must end well."""
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


def compare(expected: str, printed: str, where: str) -> None:
    plain = " ".join(printed.split())
    for line in filter(None, (" ".join(each.split()) for each in expected.splitlines())):
        pattern = ".*?".join(re.escape(part.strip()) for part in line.split("…"))
        assert re.search(pattern, plain), f"{where}: {line!r} is not in\n{printed}"
