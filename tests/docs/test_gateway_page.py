"""docs/gateway.md is followed to the letter in an empty folder: each command runs as it is printed, in its order.

What stands in for what a test cannot have: a small model server for https://api.openai.com/v1, a free port for 8080, a
new folder for /srv/project, and a call's own id for `call-…`. A gateway that is started serves until the next one is,
and must end well when told to.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, SECONDS, blocks, check, is_not_run, run, workplace, write
from tests.gateway.large_model import LargeModel

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "gateway.md"
CLIENTS = ("openai", "anthropic", "langchain_openai")
EXPORT = re.compile(r"export (?P<name>\w+)=(?P<value>\S+)")


def test_every_command_of_the_page_runs_as_it_is_printed(tmp_path: Path, upstream: LargeModel) -> None:
    for client in CLIENTS:
        pytest.importorskip(client, reason="the page shows this client")
    follower = Follower(tmp_path, upstream.url)
    printed = ""
    try:
        for block in blocks(PAGE):
            kind = block.said[0] if block.said else ""
            where = f"gateway.md, line {block.line}"
            if block.path:
                write(block, follower.folder)
            elif kind == "sh" and not is_not_run(block):
                printed = follower.shell(block.body, where)
            elif kind == "python":
                printed = run(
                    "python", follower.with_stand_ins(block.body), follower.folder, follower.environment, where
                )
            else:
                check(block, printed.replace(follower.port, "8080"), where)
    finally:
        follower.stop()
    assert follower.started >= 2
    assert {seen.path for seen in upstream.seen} == {"/v1/chat/completions"}
    assert {seen.headers.get("authorization") for seen in upstream.seen} == {f"Bearer {follower.key}"}


class Follower:
    """Does what a page says in an empty folder. `started`: how many gateways were."""

    key = "sk-upstream-stand-in"

    def __init__(self, tmp_path: Path, upstream: str) -> None:
        self.folder, environment = workplace(tmp_path)
        own = {"OPENAI_API_KEY": "sk-client", "ANTHROPIC_API_KEY": "sk-client"}
        self.environment = {**environment, **own}
        self.started = 0
        self.port = str(_free_port())
        project = tmp_path / "srv"
        project.mkdir()
        self._stand_ins = {"https://api.openai.com/v1": upstream, "8080": self.port, "/srv/project": str(project)}
        self._call = ""
        self._log = tmp_path / "serve.log"
        self._gateway: subprocess.Popen[bytes] | None = None

    def with_stand_ins(self, text: str) -> str:
        for shown, here in self._stand_ins.items():
            text = text.replace(shown, here)
        return text.replace("call-…", self._call) if self._call else text

    def python(self, body: str, where: str) -> str:
        return run("python", self.with_stand_ins(body), self.folder, self.environment, where)

    def shell(self, body: str, where: str) -> str:
        """What a block of commands prints; one that serves goes on in the background."""
        printed, waiting = "", list[str]()
        for line in self.with_stand_ins(body).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if exported := EXPORT.match(line):
                self.environment[exported["name"]] = self.key if exported["value"] == "…" else exported["value"]
            elif words[:2] == ["stepdown", "serve"]:
                printed += self._run(waiting, where) + self._serve(words, where)
                waiting = []
            else:
                waiting.append(line)
        return printed + self._run(waiting, where)

    def _run(self, lines: list[str], where: str) -> str:
        if not "".join(lines).strip():
            return ""
        for _ in range(60):
            printed = run("sh", "\n".join(lines), self.folder, self.environment, where)
            # As the page says: a call that is not kept yet is a 404. It takes a moment, and here all cores are busy.
            if '"unknown_call"' not in printed:
                break
            time.sleep(0.25)
        if found := re.search(r"x-stepdown-id: (call-\w+)", printed):
            self._call = found[1]
        return printed

    def _serve(self, words: list[str], where: str) -> str:
        self.stop()
        if "--port" not in words:
            words = [*words, "--port", self.port]
        with self._log.open("wb") as log:
            self._gateway = subprocess.Popen(
                words, cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.started += 1
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            printed = self._log.read_text()
            assert self._gateway.poll() is None, f"{where}: the gateway ended: {printed}"
            if "Serving" in printed and self._is_ready():
                return printed
            time.sleep(0.1)
        raise AssertionError(f"{where}: no gateway is ready: {self._log.read_text()}")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End the gateway as Ctrl-C and systemd do; it must end well."""
        gateway, self._gateway = self._gateway, None
        if gateway is None:
            return
        gateway.terminate()
        try:
            code = gateway.wait(SECONDS)
        except subprocess.TimeoutExpired:
            gateway.kill()
            raise
        assert code == 0, self._log.read_text()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
