"""What `deploy/` names exists: commands, options, paths, extras, settings; and its times fit the gateway's own."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepdown.core.gateway import GatewaySettings
from stepdown.gateway.openapi import describe
from stepdown.project.settings import parse_settings
from tests.cli.conftest import stepdown

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "stepdown.service"
CONTAINER = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
DRAIN_S = 2 * GatewaySettings().drain_s
"""What ending may take: requests under way, then what was captured."""


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser["Service"]


def steps(verb: str) -> list[str]:
    """What stands behind one instruction of the container file, each line made whole."""
    whole = CONTAINER.replace("\\\n", " ")
    return [line[len(verb) :].strip() for line in whole.splitlines() if line.startswith(f"{verb} ")]


def check_command(words: list[str]) -> None:
    said = stepdown(words[0], "--help")
    assert said.code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in said.out


def test_the_unit_runs_a_command_that_exists_where_its_state_is() -> None:
    service = unit()
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).name == "stepdown"
    check_command(words)
    assert words[words.index("--home") + 1] == service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_the_unit_waits_for_the_gateway_to_end() -> None:
    service = unit()
    assert service["KillSignal"] == "SIGTERM"
    assert float(service["TimeoutStopSec"]) > DRAIN_S


def test_the_unit_gives_away_nothing_it_need_not() -> None:
    service = unit()
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["User"] not in ("", "root")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/stepdown/bin/stepdown", sys.executable))
    said = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_the_container_runs_the_gateway_itself_and_not_as_root() -> None:
    entry, words = json.loads(steps("ENTRYPOINT")[0]), json.loads(steps("CMD")[0])
    assert entry == ["stepdown"]
    check_command(words)
    assert steps("USER") == ["stepdown"]
    assert words[words.index("--home") + 1] == steps("VOLUME")[0] == steps("WORKDIR")[0]
    assert words[words.index("--port") + 1] == steps("EXPOSE")[0]


def test_the_container_copies_what_is_there_and_installs_extras_that_exist() -> None:
    for line in steps("COPY"):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        if "--from" not in line:
            assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"/source\[([\w,]+)\]", CONTAINER)
    assert named
    assert set(named[0].split(",")) <= set(project["optional-dependencies"])


def test_the_container_asks_for_its_health_where_it_is_told() -> None:
    check = json.loads(steps("HEALTHCHECK")[0].split("CMD", 1)[1])
    assert check[:2] == ["python", "-c"]
    compile(check[2], "healthcheck", "exec")
    port, path = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", check[2]).groups()  # type: ignore[union-attr]
    assert port == steps("EXPOSE")[0]
    assert "get" in describe("0")["paths"][path]


def test_the_composition_hangs_together() -> None:
    services = COMPOSE["services"]
    gateways = [one for name, one in services.items() if name.startswith("gateway")]
    assert len(gateways) == 2
    for one in gateways:
        assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
        assert set(one["depends_on"]) <= set(services)
        assert float(one["stop_grace_period"].removesuffix("s")) > DRAIN_S
        named = [mount.split(":")[0] for mount in one["volumes"]]
        assert all((DEPLOY / name).is_file() for name in named if name.startswith("./"))
        assert {name for name in named if not name.startswith("./")} <= set(COMPOSE["volumes"])
        assert all(port.startswith("127.0.0.1:") for port in one["ports"])


def test_the_settings_of_the_composition_can_be_read() -> None:
    settings = parse_settings(tomllib.loads((DEPLOY / "stepdown.toml").read_text(encoding="utf-8")))
    assert f"@{next(name for name in COMPOSE['services'] if name == 'store')}/" in settings.store
    assert settings.gateway.all_upstreams()


def test_no_file_holds_a_secret() -> None:
    for path in DEPLOY.iterdir():
        given = re.findall(r"^\s*\w*(?:KEY|PASSWORD)\w* *[:=] *(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(value.startswith("${") for value in given), path
