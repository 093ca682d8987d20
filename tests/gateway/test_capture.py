"""No answered call is lost, doubled or left uncounted, whoever is killed, and whatever the store and the disk do."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepdown.core.calls import Call
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.gateway.large_model import EVENTS, LargeModel, Says
from tests.gateway.serving import Gateway, kept, launch, serving, soon

HELLO: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**HELLO, "stream": True}


class Clients:
    """Clients that ask as fast as they are answered. acknowledged: ids of answers whose last byte came."""

    def __init__(self, gateway: Gateway, count: int = 4) -> None:
        self._url, self._ended = gateway.url, threading.Event()
        self.acknowledged: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 60) -> None:
        """Wait until so many more were answered."""
        goal = len(self.acknowledged) + count
        assert soon(lambda: len(self.acknowledged) >= goal, 60.0), "nobody answers"

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30.0) as client:
            while not self._ended.is_set():
                try:
                    got = client.post("/v1/chat/completions", json=STREAMED if number % 2 else HELLO)
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                assert got.status_code == 200, got.text
                self.acknowledged.append(got.headers["x-stepdown-id"])


def stored(home: Path) -> tuple[list[Call], int]:
    """The gateway's calls, and how many requests the sums have."""
    with open_home(home).store() as store:
        return list(store.calls()), sum(row.requests for row in store.served())


def check_nothing_lost(home: Path, acknowledged: list[str]) -> None:
    """Waits until all is moved."""
    assert soon(lambda: not list((home / ".stepdown/capture").glob("*.segment")), 60.0), "segments stay"
    calls, requests = stored(home)
    names = [call.id for call in calls]
    assert set(acknowledged) <= set(names)
    assert len(set(names)) == len(names)
    assert requests == len(names), "every exchange is counted once"
    assert len(acknowledged) > 100


@pytest.mark.parametrize("victims", [("mover",), ("worker",), ("worker", "mover")])
def test_a_kill_under_load_loses_nothing(upstream: LargeModel, tmp_path: Path, victims: tuple[str, ...]) -> None:
    with serving(tmp_path, "--upstream", upstream.url) as gateway, Clients(gateway) as clients:
        for _ in range(3):
            clients.more()
            for name in victims:
                assert soon(lambda name=name: gateway.pids(name))
                for pid in gateway.pids(name):
                    os.kill(pid, signal.SIGKILL)
        clients.more()
    check_nothing_lost(tmp_path, clients.acknowledged)


def test_a_gateway_killed_whole_is_taken_up_by_the_next(upstream: LargeModel, tmp_path: Path) -> None:
    gateway = launch(tmp_path, "--upstream", upstream.url)
    with Clients(gateway) as clients:
        clients.more(200)
        for pid in (gateway.process.pid, *gateway.pids("mover"), *gateway.pids("worker")):
            os.kill(pid, signal.SIGKILL)
        gateway.wait()
        clients.__exit__()
    with serving(tmp_path, "--upstream", upstream.url):
        check_nothing_lost(tmp_path, clients.acknowledged)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    connection = sqlite3.connect(home / ".stepdown/store.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_locked_store_and_kills_lose_nothing(upstream: LargeModel, tmp_path: Path) -> None:
    with serving(tmp_path, "--upstream", upstream.url) as gateway, Clients(gateway) as clients:
        clients.more()
        with locked(tmp_path):
            for name in ("mover", "worker", "mover"):
                clients.more()
                assert soon(lambda name=name: gateway.pids(name))
                os.kill(gateway.pids(name)[0], signal.SIGKILL)
            clients.more()
        clients.more()
    check_nothing_lost(tmp_path, clients.acknowledged)


def test_a_store_locked_to_the_end_leaves_calls_on_disk_for_the_next_gateway(
    upstream: LargeModel, tmp_path: Path
) -> None:
    (tmp_path / "stepdown.toml").write_text("[gateway]\ndrain_s = 0.5\n")
    gateway = launch(tmp_path, "--upstream", upstream.url)
    with locked(tmp_path), Clients(gateway) as clients:
        clients.more(120)
        clients.__exit__()
        assert gateway.end() == 0, gateway.log
    assert "calls_left_on_disk" in gateway.log
    assert stored(tmp_path)[0] == []
    with serving(tmp_path, "--upstream", upstream.url):
        check_nothing_lost(tmp_path, clients.acknowledged)


def fill(path: Path) -> None:
    """Write to a file until its disk takes no more."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_store_with_no_room_gets_everything_when_there_is(upstream: LargeModel, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    home = tmp_path / "home"
    home.mkdir()
    (home / "stepdown.toml").write_text(f'store = "sqlite:{place / "store.sqlite"}"\n')
    try:
        with serving(home, "--upstream", upstream.url) as gateway, Clients(gateway) as clients:
            clients.more()
            filler = place / "filler"
            fill(filler)
            clients.more(200)
            assert soon(lambda: "The store takes no calls" in gateway.client.get("/readyz").text)
            os.kill(gateway.pids("mover")[0], signal.SIGKILL)
            clients.more()
            filler.unlink()
            clients.more()
        check_nothing_lost(home, clients.acknowledged)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_takes_no_calls_is_said_and_all_are_answered_and_counted(
    upstream: LargeModel, tmp_path: Path
) -> None:
    """A place of 1 MB for what waits, while the store is locked."""
    place = tmp_path / ".stepdown/capture"
    place.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        with losing(tmp_path, upstream) as gateway:
            with locked(tmp_path):
                names = []
                for _ in range(60):
                    got = gateway.client.post("/v1/chat/completions", json={**HELLO, "user": "x" * 30_000})
                    assert got.status_code == 200
                    names.append(got.headers["x-stepdown-id"])
                assert soon(lambda: "The disk takes no calls" in gateway.client.get("/readyz").text)
                dropped = gauge(gateway, "stepdown_dropped_calls_total")
                assert gauge(gateway, "stepdown_capture_healthy_workers") == 0
                assert 0 < dropped < 60
            assert soon(lambda: stored(tmp_path)[1] == 60, 30.0), "sums are of all calls"
            assert soon(lambda: "warnings" not in gateway.client.get("/readyz").text)
            assert len(stored(tmp_path)[0]) == 60 - dropped
            after = gateway.client.post("/v1/chat/completions", json=HELLO).headers["x-stepdown-id"]
            assert kept(tmp_path, after).content
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def losing(home: Path, upstream: LargeModel) -> Iterator[Gateway]:
    """A gateway that does not keep all calls, and says so with its exit code."""
    gateway = launch(home, "--upstream", upstream.url)
    try:
        yield gateway
        assert gateway.end() == 1, gateway.log
    finally:
        gateway.client.close()
        gateway.process.kill()
        gateway.process.wait()


def gauge(gateway: Gateway, name: str) -> float:
    lines = gateway.client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_beyond_its_bound_capture_keeps_no_more_and_counts_all(upstream: LargeModel, tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text("[gateway]\ncapture_bytes = 1048576\n")
    with losing(tmp_path, upstream) as gateway:
        with locked(tmp_path):
            for _ in range(60):
                got = gateway.client.post("/v1/chat/completions", json={**HELLO, "user": "x" * 30_000})
                assert got.status_code == 200
            dropped = gauge(gateway, "stepdown_dropped_calls_total")
            assert 20 <= dropped < 40
            assert soon(lambda: "not kept" in gateway.client.get("/readyz").text)
            assert gateway.client.get("/readyz").status_code == 200
        assert soon(lambda: stored(tmp_path)[1] == 60, 40.0)
        calls, _ = stored(tmp_path)
        assert len(calls) == 60 - dropped
        with open_home(tmp_path).store() as store:
            assert sum(row.prompt_tokens for row in store.served()) == 60 * (calls[0].prompt_tokens or 0) > 0


@pytest.mark.parametrize("sync", ["none", "group"])
def test_an_answer_is_on_disk_before_its_last_byte(upstream: LargeModel, tmp_path: Path, sync: str) -> None:
    """Nothing but the segment has the call: the store is locked and everyone is killed at once."""
    (tmp_path / "stepdown.toml").write_text(f'[gateway]\nsync = "{sync}"\n')
    gateway = launch(tmp_path, "--upstream", upstream.url)
    names = []
    with locked(tmp_path):
        for body in (HELLO, STREAMED) * 5:
            got = gateway.client.post("/v1/chat/completions", json=body)
            names.append(got.headers["x-stepdown-id"])
        anthropic = {**STREAMED, "max_tokens": 5}
        names.append(gateway.client.post("/v1/messages", json=anthropic).headers["x-stepdown-id"])
        for pid in (gateway.process.pid, *gateway.pids("mover"), *gateway.pids("worker")):
            os.kill(pid, signal.SIGKILL)
    gateway.wait()
    with serving(tmp_path, "--upstream", upstream.url):
        for name in names:
            assert not kept(tmp_path, name).error


def stream_cut_after(upstream: LargeModel, gateway: Gateway, wanted: bytes, *pieces: bytes) -> str:
    """The id of a stream that its client leaves as soon as it has read `wanted`, although more could come."""
    upstream.then(Says([*pieces, *[b": still here\n\n"] * 40], headers=dict(EVENTS), pause_s=0.1))
    with gateway.client.stream("POST", "/v1/chat/completions", json=STREAMED) as got:
        name: str = got.headers["x-stepdown-id"]
        seen = b""
        for piece in got.iter_raw():
            seen += piece
            if wanted in seen:
                break
    return name


def chunk(**choice: Any) -> bytes:
    said = {"id": "s1", "model": "m", "choices": [{"index": 0, **choice}]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def test_a_stream_is_whole_when_its_wires_end_was_seen(upstream: LargeModel, tmp_path: Path) -> None:
    hi, stop, done = chunk(delta={"content": "hi"}), chunk(delta={}, finish_reason="stop"), b"data: [DONE]\n\n"
    trick = chunk(delta={"content": "data: [DONE]\n\n[DONE] message_stop"})
    with serving(tmp_path, "--upstream", upstream.url) as gateway:
        whole = stream_cut_after(upstream, gateway, b"[DONE]", hi, stop, done)
        in_two = stream_cut_after(upstream, gateway, b"[DONE]\n\n", hi, stop, b"data: [DO", b"NE]\n\n")
        left = stream_cut_after(upstream, gateway, b"message_stop", hi, trick)
        assert (kept(tmp_path, whole).content, kept(tmp_path, whole).error) == ("hi", "")
        assert (kept(tmp_path, in_two).content, kept(tmp_path, in_two).error) == ("hi", "")
        assert kept(tmp_path, left).error == "the client went away"
        # An upstream that ends cleanly after a text that only speaks of an end has been cut.
        upstream.then(Says([hi, trick], headers=dict(EVENTS)))
        with gateway.client.stream("POST", "/v1/chat/completions", json=STREAMED) as got:
            name = got.headers["x-stepdown-id"]
            with pytest.raises(httpx.TransportError):
                got.read()
        assert "before its end" in kept(tmp_path, name).error


def test_what_is_cut_at_the_end_is_recorded_as_cut(upstream: LargeModel, tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text("[gateway]\ndrain_s = 0.3\n")
    gateway = launch(tmp_path, "--upstream", upstream.url)
    outcomes: list[Callable[[], None]] = []

    def ask(body: dict[str, Any]) -> None:
        try:
            httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=30.0, trust_env=False)
        except httpx.TransportError:
            outcomes.append(lambda: None)

    with upstream.held():
        before = len(upstream.seen)
        threads = [threading.Thread(target=ask, args=(body,)) for body in (HELLO, STREAMED)]
        for thread in threads:
            thread.start()
        assert soon(lambda: len(upstream.seen) == before + 2)
        assert gateway.end() == 0, gateway.log
        for thread in threads:
            thread.join()
    assert len(outcomes) == 2
    calls, requests = stored(tmp_path)
    assert requests == 2
    assert [call.error for call in calls] == ["cut at shutdown: its time to end was over"] * 2


def test_nothing_unmasked_is_ever_on_disk(upstream: LargeModel, tmp_path: Path) -> None:
    """What waits is masked too, where a task's contract says so; and there is none of what is not to be kept."""
    secret = "jane.doe@example.com"
    (tmp_path / "stepdown.toml").write_text("[gateway]\ncapture_share = 0.0\n")
    with serving(tmp_path, "--upstream", upstream.url) as gateway, locked(tmp_path):
        for body in (HELLO, STREAMED):
            got = gateway.client.post("/v1/chat/completions", json={**body, "user": secret})
            assert got.status_code == 200
        written = b"".join(path.read_bytes() for path in (tmp_path / ".stepdown/capture").iterdir())
        assert written
        assert secret.encode() not in written
    calls, requests = stored(tmp_path)
    assert (calls, requests) == ([], 2)


def test_workers_and_mover_are_started_anew_however_often_they_die(upstream: LargeModel, tmp_path: Path) -> None:
    with serving(tmp_path, "--upstream", upstream.url) as gateway:
        for name in ("mover", "worker"):
            for _ in range(7):
                kill_newest(gateway, name, 1)
        assert soon(lambda: answers(gateway), 60.0)
        name = gateway.client.post("/v1/chat/completions", json=HELLO).headers["x-stepdown-id"]
        assert kept(tmp_path, name).content
    waits = [json.loads(line)["again_in_s"] for line in gateway.log.splitlines() if '"process_died"' in line]
    assert len(waits) == 14
    assert max(waits) >= 3.2


def kill_newest(gateway: Gateway, name: str, of: int) -> None:
    """Kill the process that was started last, once there are so many, and wait until it is gone."""
    assert soon(lambda: len(gateway.pids(name)) == of, 60.0)
    victim = max(gateway.pids(name))
    os.kill(victim, signal.SIGKILL)
    assert soon(lambda: victim not in gateway.pids(name))


def answers(gateway: Gateway) -> bool:
    try:
        return gateway.client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_readyz_says_who_is_down(upstream: LargeModel, tmp_path: Path) -> None:
    with serving(tmp_path, "--upstream", upstream.url, "--workers", "2") as gateway:

        def warned(words: str) -> bool:
            with httpx.Client(base_url=gateway.url, trust_env=False) as client:
                try:
                    got = client.get("/readyz")
                except httpx.TransportError:
                    return False
                return got.status_code == 200 and words in got.text

        assert soon(lambda: warned('{"status":"ready"}'), 30.0)
        for name, words in (("mover", "Nothing moves calls"), ("worker", "1 of 2 workers are down")):
            for _ in range(6):  # After the sixth in a row three seconds pass.
                kill_newest(gateway, name, 1 if name == "mover" else 2)
            assert soon(lambda words=words: warned(words)), words
            assert soon(lambda: warned('{"status":"ready"}'), 30.0)


def test_ids_cannot_be_guessed(upstream: LargeModel, tmp_path: Path) -> None:
    with serving(tmp_path, "--upstream", upstream.url) as gateway:
        names = [gateway.client.post("/v1/chat/completions", json=HELLO).headers["x-stepdown-id"] for _ in range(20)]
    bits = [int(name.removeprefix("call-"), 16) for name in names]
    assert all(len(name) == len("call-") + 24 for name in names)
    # Of 20 random numbers every bit is set in some and not in others.
    assert all(0 < sum(number >> bit & 1 for number in bits) < 20 for bit in range(96))


def test_budgets_are_of_all_calls_while_nothing_moves_them(upstream: LargeModel, tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text(
        '[prices."gpt-4o-mini-2024"]\ninput_per_mtok = 1e5\noutput_per_mtok = 1e5\n'
    )
    token = stepdown("key", "create", "few", "--usd-per-day", "10", "--home", str(tmp_path), "--json").json["token"]
    headers = {"authorization": f"Bearer {token}"}
    with serving(tmp_path, "--upstream", upstream.url) as gateway, locked(tmp_path):

        def status() -> int:
            return gateway.client.post("/v1/chat/completions", json=HELLO, headers=headers).status_code

        assert status() == 200
        assert soon(lambda: status() == 429)
