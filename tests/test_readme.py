"""The README tells the truth: its commands and options exist, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import stepdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = "".join(README.split(f"## {title}")[1].split("```")[1] for title in ("Five commands", "A tour"))
COMMANDS = [shlex.split(line, comments=True) for line in SHOWN.splitlines() if line.startswith("stepdown ")]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_of_the_tour_exists_with_its_options(words: list[str]) -> None:
    verbs = words[1:3] if words[1] in ("certificate", "key", "audit", "gold", "task") else words[1:2]
    said = stepdown(*verbs, "--help")
    assert said.code == 0
    assert all(word in said.out for word in words if word.startswith("--"))


def test_the_tour_names_every_verb() -> None:
    listed = re.findall(r"^  ([\w-]+) ", stepdown("--help").out.split("Commands:")[1], re.MULTILINE)
    beside = set(re.findall(r"`stepdown ([\w-]+)`", README.split("## A tour")[1].split("\n## ")[0]))
    assert {words[1] for words in COMMANDS} | beside | {"demo"} == set(listed)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
