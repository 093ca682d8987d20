"""docs/gateway.md tells the truth: settings parse, commands and paths exist, metrics and headers are all there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from stepdown.gateway.metric_names import METRICS
from stepdown.gateway.openapi import describe
from stepdown.gateway.upstream import UpstreamOptions, open_upstream, upstream_kinds
from stepdown.project.settings import parse_settings
from tests.cli.conftest import stepdown

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """What the page shows in one language."""
    shown = PAGE.split("```")[1::2]
    return [block.partition("\n")[2] for block in shown if block.partition("\n")[0].partition(" ")[0] == language]


def commands() -> list[str]:
    """What is said to stepdown, wherever on a line."""
    verbs = re.findall(r"^  (\w+) ", stepdown("--help").out.split("Commands:")[1], re.MULTILINE)
    shown = "\n".join((*blocks("sh"), *blocks(""))).replace("\\\n", " ")
    return re.findall(rf"\bstepdown ((?:{'|'.join(verbs)})\b[^#\n]*)", shown)


SETTINGS = [parse_settings(tomllib.loads(block)) for block in blocks("toml")]
UPSTREAMS = [(said.kind, said.url) for settings in SETTINGS for said in settings.gateway.all_upstreams()]


@pytest.mark.parametrize(("kind", "url"), UPSTREAMS, ids=[url for _, url in UPSTREAMS])
def test_every_upstream_can_be_opened(kind: str, url: str) -> None:
    assert open_upstream(UpstreamOptions(url=url, kind=kind, calls=lambda: []))


def test_every_kind_of_upstream_is_shown() -> None:
    assert {kind for kind, _ in UPSTREAMS} >= {name for name in upstream_kinds().names() if not name.startswith("_")}


@pytest.mark.parametrize("said", commands())
def test_every_command_exists_with_its_options(said: str) -> None:
    words = shlex.split(said)
    shown = stepdown(*(words[:2] if words[0] == "key" else words[:1]), "--help")
    assert shown.code == 0
    assert all(word in shown.out for word in words if word.startswith("--"))


def test_every_metric_is_listed_as_it_is() -> None:
    rows = re.findall(r"^\| `(stepdown_\w+)` \| (\w+) \| ([\w, ]*) \| (.*) \|$", PAGE, re.MULTILINE)
    made = [
        (each.name + ("_total" if each.kind == "counter" else ""), each.kind, ", ".join(each.labels), each.help)
        for each in METRICS
    ]
    assert rows == made


def test_every_path_and_header_of_the_description_is_named() -> None:
    said = describe("0")
    call = said["paths"]["/v1/chat/completions"]["post"]
    names = [each["name"] for each in call["parameters"]] + list(call["responses"]["200"]["headers"])
    assert all(f"`{name}`" in PAGE for name in names)
    for path, methods in said["paths"].items():
        if path.startswith("/v1") or f"/v1{path}" not in said["paths"]:
            assert all(f"`{method.upper()} {path}`" in PAGE for method in methods), path


def test_the_python_on_the_page_can_be_compiled() -> None:
    assert blocks("python")
    for block in blocks("python"):
        compile(block, "docs/gateway.md", "exec")
