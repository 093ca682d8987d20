"""docs/traffic.md tells the truth: its snippets are read, its kinds and bounds are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import stepdown

from stepdown.core.calls import Call
from stepdown.core.family import families
from stepdown.core.store import Gold, Verdict
from stepdown.core.tasks import Match, Task
from stepdown.project.settings import parse_settings
from stepdown.traffic.format import ReadOptions, formats
from stepdown.traffic.gold import read_gold, read_verdicts
from stepdown.traffic.pricing import Prices
from stepdown.traffic.read import read_calls

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "traffic.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```(\w+) (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("ending", "kind", "text"), [snippet for snippet in SNIPPETS if snippet[1] in formats().names()]
)
def test_a_snippet_is_found_to_be_its_format_and_read(ending: str, kind: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"snippet.{ending}"
    path.write_text(text)
    found, named = list(read_calls([str(path)])), list(read_calls([str(path)], format=kind))
    assert found == named
    assert found
    assert all(isinstance(item, Call) and item.content for item in found)


def test_every_format_and_option_is_on_the_page() -> None:
    assert re.findall(r"^### (\w+)$", PAGE, re.MULTILINE) == sorted(
        formats().names(), key=lambda name: PAGE.index(f"### {name}\n")
    )
    for name in formats().names():
        for field in msgspec.structs.fields(formats().load(name).Options):
            assert f"`{field.name}`" in PAGE


def test_the_bounds_are_the_codes() -> None:
    for field in msgspec.structs.fields(ReadOptions):
        assert f"| `{field.name}` | {field.default} |" in PAGE


def test_prices_gold_and_verdicts(tmp_path: Path) -> None:
    texts = {kind: text for _, kind, text in SNIPPETS}
    assert Prices(tomllib.loads(texts["prices"])["prices"]).source("qwen/qwen3-30b-a3b") == "your own prices"
    assert parse_settings(tomllib.loads(texts["tasks"])).task("bookings").answer == "$.result"
    reading = parse_settings(tomllib.loads(texts["labels"])).task("mood").gold_reading
    assert (reading.spelling, reading.map["POS"], reading.trusted) == ("loose", "good", False)
    (tmp_path / "verdicts").write_text(texts["verdicts"])
    assert [type(row) for row in read_verdicts(str(tmp_path / "verdicts"))] == [Verdict]
    (labels, objects) = (text for _, kind, text in SNIPPETS if kind == "gold")
    (tmp_path / "gold").write_text(labels)
    assert [type(row) for row in read_gold(str(tmp_path / "gold"))] == [Gold]
    (tmp_path / "gold").write_text(objects)
    (found,) = read_gold(str(tmp_path / "gold"))
    assert isinstance(found, Gold)
    task = Task(name="bookings", family="extract", match=Match())
    assert families().load("extract").canonical(task, found.gold) == {"people": 4, "date": "2026-05-05"}


def test_the_commands_on_the_page_have_their_options() -> None:
    shown = stepdown("import", "--help").out
    commands = re.findall(r"^stepdown import .*$", PAGE, re.MULTILINE)
    flags = {word for command in commands for word in command.split() if word.startswith("--")}
    assert "--prompt-column" in flags
    assert all(flag in shown for flag in flags)
