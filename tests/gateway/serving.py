"""`stepdown serve` as users run it: a process of its own, a port of its own, ended by a signal."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec

from stepdown.certificate.files import read_certificate, write_certificate
from stepdown.certificate.hashes import contract_hash, contract_table
from stepdown.core.calls import Call
from stepdown.project.builds import built_tasks, latest
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import PHRASES, TASK, label, lines, ticket, write_gold

START_S, END_S = 120.0, 60.0
COUNT = 1000
SETTINGS = "[tasks.tickets.contract]\nmargin = 0.05\nholdback = 0.0\n"


class Gateway:
    """A gateway that runs. url: without /v1."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, home: Path, errors: Path) -> None:
        self.process, self.url, self.home, self._errors = process, url, home, errors
        self.client = httpx.Client(base_url=url, timeout=60.0, trust_env=False)

    @property
    def log(self) -> str:
        return self._errors.read_text("utf-8", "replace")

    def ask(self, text: str, path: str = "/v1/chat/completions", /, **more: Any) -> httpx.Response:
        """A ticket as the recorded traffic has it. `headers` are the request's; the rest goes into its body."""
        headers = more.pop("headers", {})
        return self.client.post(path, json={**asked(text), **more}, headers=headers)

    def pids(self, name: str) -> list[int]:
        """Its processes of a name: "worker" or "mover"."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if _comm(pid) == f"stepdown-{name}"]

    def end(self) -> int:
        """Ask it to end, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(END_S)


def _comm(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def asked(text: str) -> dict[str, Any]:
    request: dict[str, Any] = ticket(0, text)["request"]
    return request


def sure(number: int = 0) -> tuple[str, str]:
    """(a text that the student is sure of, its label)."""
    name = sorted(PHRASES)[number % len(PHRASES)]
    return f"hello {PHRASES[name][0]} order {number + 5} item 7", name


def build_home(
    folder: Path,
    settings: str = SETTINGS,
    build: bool = True,
    dress: Callable[[dict[str, Any], int], dict[str, Any]] = lambda response, number: response,
) -> Path:
    """A project with recorded tickets whose answers are JSON with more than the decision, built and certified. dress:
    makes a recorded response, the number's, one with more around the answer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stepdown.toml").write_text(settings)
    calls = []
    for number in range(COUNT):
        # A student cannot know what a puzzle is about: the incumbent is asked for those.
        call = ticket(number, puzzle(number) if number % 4 == 0 else "")
        given = label(number)
        answer = {"category": given, "team": f"{given} team", "note": f"ticket {number}", "confidence": 0.97}
        said = json.dumps(answer)
        call["response"]["choices"][0]["message"]["content"] = said
        call["response"] = dress(call["response"], number)
        calls.append(call)
    (folder / "calls.jsonl").write_bytes(lines(calls))
    gold = write_gold(folder / "gold.csv", COUNT)
    said_of_import = stepdown("import", str(folder / "calls.jsonl"), "--gold", str(gold), "--home", str(folder))
    assert said_of_import.code == 0, said_of_import.err
    if build:
        built = stepdown("build", TASK, "--kinds", "linear", "--budget", "40s", "--home", str(folder), "--json")
        assert built.code == 0, built.err
    return folder


def copied(home: Path, to: Path, settings: str = SETTINGS) -> Path:
    """The same project once more, under other settings, its certificates issued for the contracts in them."""
    shutil.copytree(home, to, dirs_exist_ok=True)
    (to / "stepdown.toml").write_text(settings)
    project = open_home(to)
    for task in built_tasks(project):
        table = contract_table(project.settings.task(task).contract)
        if table != latest(project, task).read_certificate().contract:
            issue(to, task, contract=table, contract_hash=contract_hash(table))
    return to


def issue(home: Path, task: str = TASK, **fields: Any) -> None:
    """Change a task's newest certificate, and have the journal know the changed one."""
    project = open_home(home)
    folder = latest(project, task)
    certificate = msgspec.structs.replace(read_certificate(folder.certificate), **fields)
    write_certificate(folder.certificate, certificate)
    fact = {"certificate": certificate.digest, "build": folder.path.name, "files": folder.hashes()}
    with project.store() as store:
        store.append("built", task, fact, at=project.clock())


def launch(home: Path, *options: str, **environment: str) -> Gateway:
    """Start a gateway and wait until it says that requests may come."""
    errors = home / f"serve-{time.monotonic_ns()}.log"
    environment = {"STEPDOWN_UPSTREAM_KEY": "", **environment}
    with errors.open("wb") as file:
        command = [sys.executable, "-m", "stepdown", "serve", "--port", "0", "--json", "--home", str(home), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, env={**os.environ, **environment})
    assert process.stdout is not None
    line = _first_line(process.stdout)
    if not line:
        process.kill()
        process.wait()
        raise AssertionError(f"the gateway did not start: {errors.read_text('utf-8', 'replace')}")
    return Gateway(process, json.loads(line)["address"], home, errors)


@contextmanager
def serving(home: Path, *options: str, **environment: str) -> Iterator[Gateway]:
    """A gateway that must end well: asked by SIGTERM, with code 0 and no traceback in what it said."""
    gateway = launch(home, *options, **environment)
    try:
        yield gateway
        assert gateway.process.poll() is None, f"the gateway ended on its own: {gateway.log}"
        assert gateway.end() == 0, gateway.log
        assert "Traceback" not in gateway.log, gateway.log
    finally:
        gateway.client.close()
        if gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait()


def kept(home: Path, call_id: str) -> Call:
    """A call out of the store, once it is there."""
    found: list[Call] = []

    def there() -> bool:
        with open_home(home).store() as store:
            found.extend(store.calls_by_id([call_id]))
        return bool(found)

    assert soon(there), f"{call_id} was never written"
    return found[0]


def soon(holds: Callable[[], bool], within_s: float = 60.0) -> bool:
    """Whether something comes to hold."""
    until = time.monotonic() + within_s
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return held


def unsure(number: int = 0) -> str:
    """A puzzle that was never recorded; number: 0 to 2."""
    return puzzle(2001 + number)


def puzzle(number: int = 0) -> str:
    """A text that could be about anything, so that no student is sure of it."""
    return f"hello hmm well order {number * 7919 % 10**6} item {number * 104729 % 10**5}"


def _first_line(stdout: IO[bytes]) -> bytes:
    ready, _, _ = select.select([stdout], [], [], START_S)
    return stdout.readline() if ready else b""
