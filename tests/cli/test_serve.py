"""stepdown serve as a process: started, swapped under load, told to end, killed, doubled."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepdown.project.home import open_home
from tests.batteries.conftest import drop_schema
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import SETTINGS, Gateway, asked, copied, kept, launch, serving, soon, sure, unsure

pytestmark = pytest.mark.slow

HELLO: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


def calls_in(home: Path) -> int:
    with open_home(home).store() as store:
        return store.count_calls()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_others_may_not_reach_a_gateway_that_asks_for_no_key(tmp_path: Path, host: str) -> None:
    said = stepdown("serve", "--host", host, "--port", "0", "--upstream", "http://127.0.0.1:9/v1", "--home", tmp_path)
    assert said.code == 2
    assert "stepdown key create" in said.err


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 2, "--upstream"),
        (("--upstream", "ftp://example.com"), 2, "http"),
        (("--upstream", "http://user:pw@127.0.0.1/v1"), 2, "password"),
        (("--upstream", "http://127.0.0.1:9/v1", "--host", "not a host"), 4, "listen"),
        (("--upstream", "http://127.0.0.1:9/v1", "--workers", "0"), 2, "workers"),
    ],
)
def test_what_cannot_be_served_is_said_in_words(tmp_path: Path, options: tuple[str, ...], code: int, told: str) -> None:
    said = stepdown("serve", "--port", "0", "--home", str(tmp_path), *options)
    assert said.code != 0
    assert told in said.err
    assert "Traceback" not in said.err
    assert "pw" not in said.err.replace("password", "")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = stepdown("serve", "--port", port, "--upstream", "http://127.0.0.1:9/v1", "--home", str(tmp_path))
    assert said.code != 0
    assert "--port" in said.err


def test_told_to_end_it_finishes_what_it_began(upstream: LargeModel, tmp_path: Path) -> None:
    gateway = launch(tmp_path, "--upstream", upstream.url)
    with ThreadPoolExecutor(2) as threads, upstream.held():
        before = len(upstream.seen)
        whole = threads.submit(gateway.client.post, "/v1/chat/completions", json=HELLO)
        streamed = threads.submit(gateway.client.post, "/v1/chat/completions", json={**HELLO, "stream": True})
        assert soon(lambda: len(upstream.seen) == before + 2)
        gateway.process.send_signal(signal.SIGTERM)
        assert soon(lambda: _refuses(gateway))
        upstream_release = threading.Timer(0.3, upstream.release)
        upstream_release.start()
        assert json.loads(whole.result().content)["choices"][0]["message"]["content"] == SAID
        assert streamed.result().content.endswith(b"data: [DONE]\n\n")
    assert gateway.wait() == 0, gateway.log
    assert calls_in(tmp_path) == 2
    assert '"calls_lost":0' in gateway.log


def _refuses(gateway: Gateway) -> bool:
    try:
        httpx.get(gateway.url + "/healthz", trust_env=False)
    except httpx.TransportError:
        return True
    return False


def test_a_gateway_whose_parent_is_killed_ends_and_leaves_nothing_unwritten(
    upstream: LargeModel, tmp_path: Path
) -> None:
    gateway = launch(tmp_path, "--upstream", upstream.url)
    children = [*gateway.pids("worker"), *gateway.pids("mover")]
    names = [gateway.client.post("/v1/chat/completions", json=HELLO).headers["x-stepdown-id"] for _ in range(50)]
    gateway.process.kill()
    gateway.wait()
    gateway.client.close()
    assert soon(lambda: not any(Path(f"/proc/{pid}/comm").exists() for pid in children), 30.0)
    with open_home(tmp_path).store() as store:
        assert {call.id for call in store.calls_by_id(names)} == set(names)
    with serving(tmp_path, "--upstream", upstream.url) as again:
        assert again.client.post("/v1/chat/completions", json=HELLO).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_of_it_ends_it_well_whenever_it_comes(
    upstream: LargeModel, tmp_path: Path, number: signal.Signals
) -> None:
    """As Ctrl-C and service managers send it: to parent, workers and mover at once."""
    for wait_s in (0.4, 0.8, 1.2, 2.0):
        command = [sys.executable, "-m", "stepdown", "serve", "--port", "0", "--upstream", upstream.url]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--home", str(tmp_path)], start_new_session=True, stdout=log, stderr=log
            )
            time.sleep(wait_s)
            os.killpg(process.pid, number)
            # Before the command has begun to serve a signal ends it as it ends any.
            assert process.wait(30.0) in (0, 130, -number), (tmp_path / "log").read_text()


def test_a_new_build_is_swapped_in_without_a_failed_request(
    certified: Path,
    upstream: LargeModel,
    tmp_path: Path,
) -> None:
    home = copied(certified, tmp_path / "home")
    certificates: Counter[str] = Counter()
    wrong: list[str] = []
    ended = threading.Event()

    def hammer(first: int) -> None:
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30.0) as client:
            while not ended.is_set():
                first += 1
                text, label = sure(first)
                got = client.post("/v1/chat/completions", json=asked(text))
                if got.status_code != 200 or label not in got.text:
                    wrong.append(got.text)
                certificates[got.headers["x-stepdown-certificate"]] += 1
                time.sleep(0.002)

    with serving(home, "--upstream", upstream.url) as gateway, ThreadPoolExecutor(4) as threads:
        hammering = [threads.submit(hammer, number) for number in range(4)]
        try:
            assert soon(lambda: sum(certificates.values()) > 20)
            built = stepdown(
                "build", TASK, "--kinds", "linear", "--budget", "40s", "--seed", "7", "--home", str(home), "--json"
            )
            assert built.code == 0, built.err
            new = built.json["certificate"][:16]
            assert soon(lambda: certificates[new] > 20)
        finally:
            ended.set()
        for one in hammering:
            one.result()
    assert wrong == []
    assert len(certificates) == 2


def test_several_processes_on_one_port_and_one_dies(
    certified: Path,
    upstream: LargeModel,
    tmp_path: Path,
) -> None:
    home = copied(certified, tmp_path / "home")
    with serving(home, "--upstream", upstream.url, "--workers", "2") as gateway:
        assert soon(lambda: len(gateway.pids("worker")) == 2)
        names = [_asked_anew(gateway, unsure(number % 3)).headers["x-stepdown-id"] for number in range(20)]
        victim = gateway.pids("worker")[0]
        os.kill(victim, signal.SIGKILL)
        assert soon(lambda: victim not in gateway.pids("worker") and len(gateway.pids("worker")) == 2, 20.0)
        for number in range(20):
            got = _asked_anew(gateway, sure(number)[0])
            assert got.headers["x-stepdown-rung"] == "linear"
            names.append(got.headers["x-stepdown-id"])
    with open_home(home).store() as store:
        assert {call.id for call in store.calls_by_id(names)} == set(names)


def _asked_anew(gateway: Gateway, text: str) -> httpx.Response:
    """On a connection of its own, which may fall to any of the processes."""
    return httpx.post(gateway.url + "/v1/chat/completions", json=asked(text), trust_env=False, timeout=30.0)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    server = os.environ.get("STEPDOWN_TEST_POSTGRES")
    if not server:
        pytest.skip("STEPDOWN_TEST_POSTGRES is not set")
    address = f"{server}{'&' if '?' in server else '?'}schema=stepdown_serve_{os.getpid()}_{os.urandom(3).hex()}"
    yield address
    drop_schema(address)


def test_two_gateways_on_one_postgres_store(
    upstream: LargeModel,
    tmp_path: Path,
    postgres: str,
) -> None:
    """Two machines, as it were: each its own folder, one store. Keys, calls, feedback and totals are common."""
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
        (home / "stepdown.toml").write_text(f'store = "{postgres}"\n')
    with serving(homes[0], "--upstream", upstream.url) as one, serving(homes[1], "--upstream", upstream.url) as two:
        names = []
        for gateway in (one, two) * 10:
            got = gateway.client.post("/v1/chat/completions", json={**HELLO, "user": "a\x00b"})
            assert got.status_code == 200
            names.append(got.headers["x-stepdown-id"])
        assert kept(homes[0], names[-1]).content == kept(homes[1], names[-2]).content == SAID
        told = one.client.post("/v1/feedback", json={"id": names[1], "gold": {"a": "\x00"}})
        assert told.status_code in (200, 422), told.text
        assert two.client.post("/v1/feedback", json={"id": names[0], "score": 0.5}).json()["became"] == "verdict"
        token = stepdown("key", "create", "both", "--home", str(homes[0]), "--json").json["token"]
        for gateway in (one, two):
            assert soon(lambda gateway=gateway: _lists(gateway, {}) == 401)
            assert _lists(gateway, {"authorization": f"Bearer {token}"}) == 200
    with open_home(homes[0]).store() as store:
        assert {call.id for call in store.calls_by_id(names)} == set(names)
        assert sum(row.requests for row in store.served()) == 20


def _lists(gateway: Gateway, headers: dict[str, str]) -> int:
    return gateway.client.get("/v1/models", headers=headers).status_code


def test_status_tells_what_was_served(
    certified: Path,
    upstream: LargeModel,
    tmp_path: Path,
) -> None:
    home = copied(certified, tmp_path / "home", SETTINGS)
    with serving(home, "--upstream", upstream.url) as gateway:
        for _ in range(3):
            gateway.ask(sure()[0])
        gateway.ask(unsure())
    (served,) = stepdown("status", "--home", str(home), "--json").json["served"]
    assert served["task"] == TASK
    assert served["requests"] == 4
    assert served["shares"] == {"linear": 0.75, "incumbent": 0.25}
    assert served["saved_usd"] > 0
    told = stepdown("status", "--home", str(home))
    assert "75" in told.out
