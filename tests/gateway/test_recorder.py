"""What is kept of finished exchanges: on real stores, through failures, and never unmasked where that was promised."""

from __future__ import annotations

import gzip
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepdown.core.calls import Call
from stepdown.core.errors import StoreError
from stepdown.core.store import Store
from stepdown.core.wires import anthropic_messages
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.outcome import Outcome
from stepdown.gateway.recorder import Recorder, RecorderOptions
from stepdown.stores.store import open_store, store_kinds
from tests.gateway.exchanges import AT, KEY, answer, exchange, task
from tests.gateway.waiting import wait_until

Recorded = tuple[list[Call], Metrics]


def price(call: Call) -> float | None:
    """A dollar a thousand tokens, where they are known."""
    prompt, completion = call.prompt_tokens, call.completion_tokens
    return None if prompt is None or completion is None else (prompt + completion) / 1000


def mask(text: str) -> str:
    return text.replace("4111111111111111", "[card]")


def recorder_of(
    open_one: Callable[[], AbstractContextManager[Store]], metrics: Metrics | None = None, **options: Any
) -> Recorder:
    listeners = options.pop("listeners", ())
    return Recorder(
        open_one,
        RecorderOptions(**options),
        price,
        mask,
        metrics or Metrics("1.0"),
        random.Random(7),
        listeners,
    )


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    text = metrics.render().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'store.sqlite'}"


@pytest.fixture(params=[name for name in store_kinds().names() if name != "memory"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    found = store_kinds().load(request.param).examples()
    if not found:
        pytest.skip(f"no {request.param} server: STEPDOWN_TEST_POSTGRES is not set")
    yield str(found[0])
    if "schema=" in found[0]:
        psycopg = pytest.importorskip("psycopg")
        server, _, schema = found[0].rpartition("schema=")
        with psycopg.connect(server.rstrip("?&"), autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def kept(address: str) -> dict[str, Call]:
    with closing(open_store(address)) as store:
        return {call.id: call for call in store.calls()}


def recorded(address: str, *exchanges: Exchange, **options: Any) -> dict[str, Call]:
    recorder = recorder_of(lambda: closing(open_store(address)), **options)
    for one in exchanges:
        recorder.put(one)
    assert recorder.drain(30.0) == (0, "")
    return kept(address)


def test_an_answer_becomes_a_call_and_sums(address: str) -> None:
    first, second = exchange(served=task(), key=KEY), exchange(served=task(), key=KEY, rung="linear", upstream="")
    calls = recorded(address, first, second)
    call = calls[first.id]
    assert call.request == first.chat
    assert call.content == "yes"
    assert (call.provider, call.workload_id, call.client_id, call.source) == (
        "openai",
        "intent",
        KEY.id,
        "gateway",
    )
    assert (call.timestamp, call.latency_s, call.cost_usd) == (AT, 0.25, 0.12)
    assert (calls[second.id].provider, calls[second.id].cost_usd) == ("stepdown/linear", 0.0005)
    with closing(open_store(address)) as store:
        rows = {row.rung: row for row in store.served()}
        assert store.call_id_of("chatcmpl-1") in calls
    assert rows["incumbent"].requests == rows["linear"].requests == 1
    assert (rows["incumbent"].prompt_tokens, rows["incumbent"].completion_tokens) == (100, 20)
    assert (rows["incumbent"].key, rows["incumbent"].hour, rows["incumbent"].task) == ("k1", 500_000, "intent")
    assert rows["linear"].saved_usd == pytest.approx(0.0015)


def test_streams_and_other_wires_are_kept_in_chat_shape(sqlite: str) -> None:
    chunks = [
        b'data: {"id":"s1","model":"m","choices":[{"index":0,"delta":{"content":"he"}}]}\n\n',
        b'data: {"id":"s1","choices":[{"index":0,"delta":{"content":"llo"},"finish_reason":"stop"}]}\n\ndata: {"id":',
        b'"s1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n',
    ]
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    streamed, packed = exchange(chunks, streamed=True), exchange(gzip.compress(msgspec.json.encode(answer("zipped"))))
    other = exchange(message, wire=anthropic_messages)
    calls = recorded(sqlite, streamed, packed, other)
    assert calls[streamed.id].content == "hello"
    assert calls[streamed.id].prompt_tokens == 7
    assert calls[packed.id].content == "zipped"
    assert (calls[other.id].content, calls[other.id].prompt_tokens) == ("hi", 3)


@pytest.mark.parametrize(
    ("reply", "fields", "said"),
    [
        (b"", {}, "The answer is empty."),
        (b"<html>busy</html>", {}, "The answer cannot be read: it is neither JSON nor a stream of events."),
        (b"[1]", {}, "The answer cannot be read: it is not a JSON object."),
        (b'{"choices": 3}', {}, "The answer cannot be read: the response has no list of choices."),
        (b"\x1f\x8b broken", {}, "The answer cannot be read: its compression is broken."),
        (b"[" * 100_000, {}, "The answer cannot be read"),
        (b'\xff\xfe{"a', {}, "The answer cannot be read"),
        (b'data: {"choices": [{"in', {"streamed": True}, "The answer cannot be read"),
        (b'{"error": {"message": "slow down"}}', {"status": 429}, "HTTP 429: slow down"),
        (b"Bad Gateway", {"status": 502}, "HTTP 502: Bad Gateway"),
        (b'{"choices": []}', {"error": "the client went away"}, "the client went away"),
    ],
)
def test_what_is_no_answer_is_kept_with_its_error_in_words(
    sqlite: str, reply: bytes, fields: dict[str, Any], said: str
) -> None:
    broken, whole = exchange(reply, **fields), exchange()
    calls = recorded(sqlite, broken, whole)
    assert calls[broken.id].error.startswith(said)
    assert calls[broken.id].response is None
    assert calls[whole.id].content == "yes"


def test_a_body_that_unpacks_without_end_is_not_unpacked(sqlite: str) -> None:
    bomb = exchange(gzip.compress(bytes(80 << 20), 9))
    assert "too long" in recorded(sqlite, bomb)[bomb.id].error


def test_who_was_not_asked_is_counted_and_not_kept(sqlite: str) -> None:
    metrics = Metrics("1.0")
    refused = exchange(rung="refused", upstream="", status=429, reason="too_many_requests", served=task())
    abstained = exchange(rung="abstained", upstream="", status=422, served=task())
    unreached = exchange(upstream="", status=502, error="no upstream")
    assert recorded(sqlite, refused, abstained, unreached, metrics=metrics) == {}
    assert counted(metrics, "stepdown_requests_total") == 3
    assert counted(metrics, "stepdown_refusals_total", reason="too_many_requests") == 1
    with closing(open_store(sqlite)) as store:
        assert sum(row.requests for row in store.served()) == 3


def test_a_cached_answer_saves_all_of_its_cost(sqlite: str) -> None:
    heard: list[Outcome] = []
    hit = exchange(rung="cache", upstream="", served=task())
    calls = recorded(sqlite, hit, listeners=[lambda _, outcome: heard.append(outcome)])
    assert calls[hit.id].provider == "stepdown/cache"
    assert (heard[0].cost_usd, heard[0].saved_usd) == (0.0, 0.002)


def test_tokens_are_guessed_for_budgets_and_not_for_the_record(sqlite: str) -> None:
    heard: list[Outcome] = []
    silent = exchange(answer("x" * 400, usage=None), said="y" * 4000)
    calls = recorded(sqlite, silent, listeners=[lambda _, outcome: heard.append(outcome)])
    assert (heard[0].prompt_tokens, heard[0].completion_tokens, heard[0].estimated) == (1001, 102, True)
    assert heard[0].cost_usd == pytest.approx(1.103)
    assert (calls[silent.id].prompt_tokens, calls[silent.id].cost_usd) == (None, None)


def test_a_secret_never_reaches_the_stores_files(tmp_path: Path, sqlite: str) -> None:
    card = "4111111111111111"
    private = exchange(answer(f"card {card}"), said=f"my card is {card}", served=task(privacy="redact"))
    private.chat["user"] = f"{card}@example.com"
    failed = exchange(
        msgspec.json.encode({"error": {"message": f"bad {card}"}}), status=400, served=task(privacy="redact")
    )
    calls = recorded(sqlite, private, failed)
    assert calls[private.id].content == "card [card]"
    assert calls[failed.id].error == "HTTP 400: bad [card]"
    # Blocks are compressed: the store's text is looked through, and the files' bytes.
    with closing(open_store(sqlite)) as store:
        assert card not in str([msgspec.to_builtins(call) for call in store.calls()])
    assert all(card.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_sampling_follows_the_generator_and_the_totals_count_all(sqlite: str, tmp_path: Path) -> None:
    def sample(address: str) -> list[int]:
        exchanges = [exchange(served=task()) for _ in range(400)]
        calls = recorded(address, *exchanges, capture_share=0.25)
        return [number for number, one in enumerate(exchanges) if one.id in calls]

    first = sample(sqlite)
    assert 60 <= len(first) <= 140
    assert sample(f"sqlite:{tmp_path / 'second.sqlite'}") == first
    with closing(open_store(sqlite)) as store:
        assert sum(row.requests for row in store.served()) == 400


def test_calls_of_no_task_are_left_out_where_that_is_set(sqlite: str) -> None:
    matched, other = exchange(served=task()), exchange()
    assert set(recorded(sqlite, matched, other, unmatched_capture=False)) == {matched.id}


def test_a_store_that_is_locked_gets_everything_when_it_is_free(sqlite: str, tmp_path: Path) -> None:
    path = sqlite.removeprefix("sqlite:")
    open_store(sqlite).close()

    @contextmanager
    def impatient() -> Iterator[Store]:
        with closing(open_store(sqlite)) as store:
            store._database._connection.execute("PRAGMA busy_timeout = 20")  # type: ignore[attr-defined]
            yield store

    recorder = recorder_of(impatient)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    exchanges = [exchange(served=task(), key=KEY) for _ in range(600)]
    for one in exchanges:
        recorder.put(one)
    wait_until(lambda: not recorder.healthy)
    assert "in use" in recorder.last_error
    late = exchange(served=task(), key=KEY)
    recorder.put(late)
    wait_until(lambda: recorder.waiting == 601)
    blocker.execute("ROLLBACK")
    wait_until(lambda: recorder.waiting == 0 and recorder.healthy)
    assert recorder.last_error == ""
    assert recorder.drain(30.0) == (0, "")
    assert set(kept(sqlite)) == {one.id for one in (*exchanges, late)}
    with closing(open_store(sqlite)) as store:
        assert sum(row.requests for row in store.served()) == 601


def test_a_full_disk_is_said_and_written_to_when_there_is_room(sqlite: str) -> None:
    room = threading.Event()

    @contextmanager
    def small() -> Iterator[Store]:
        with closing(open_store(sqlite)) as store:
            if not room.is_set():
                store._database._connection.execute("PRAGMA max_page_count = 40")  # type: ignore[attr-defined]
            yield store

    recorder = recorder_of(small)
    generator = random.Random(1)
    exchanges = [exchange(said=generator.randbytes(2000).hex()) for _ in range(300)]
    for one in exchanges:
        recorder.put(one)
    wait_until(lambda: not recorder.healthy)
    assert "full" in recorder.last_error
    room.set()
    wait_until(lambda: recorder.waiting == 0)
    recorder.drain(30.0)
    assert set(kept(sqlite)) == {one.id for one in exchanges}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Write to a file until its disk takes no more."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_that_is_really_full_loses_nothing(small_disk: Path) -> None:
    address = f"sqlite:{small_disk / 'store.sqlite'}"
    filler = small_disk / "filler"
    recorder = recorder_of(lambda: closing(open_store(address)))
    before, during = exchange(), [exchange(said=random.Random(n).randbytes(500).hex()) for n in range(200)]
    recorder.put(before)
    wait_until(lambda: recorder.waiting == 0)
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    for one in during:
        recorder.put(one)
    wait_until(lambda: not recorder.healthy)
    assert kept(address).keys() >= {before.id}
    filler.unlink()
    wait_until(lambda: recorder.waiting == 0 and recorder.healthy)
    assert recorder.drain(30.0) == (0, "")
    assert set(kept(address)) == {before.id, *(one.id for one in during)}


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    metrics = Metrics("1.0")

    def unreachable() -> AbstractContextManager[Store]:
        raise StoreError("The server is away.")

    recorder = recorder_of(unreachable, metrics, queue_bytes=1 << 20, interval_s=0.001)
    for number in range(10, 201, 10):
        for _ in range(10):
            recorder.put(exchange(said="x" * 10_000))
        wait_until(lambda: counted(metrics, "stepdown_requests_total") == number)  # noqa: B023
    assert recorder.waiting_bytes <= 1 << 20
    dropped = counted(metrics, "stepdown_dropped_calls_total", reason="queue-full")
    assert recorder.waiting + dropped == 200
    assert dropped > 0
    assert counted(metrics, "stepdown_tokens_total") == 200 * 120
    left = recorder.drain(0.3)
    assert left.calls == 200 - dropped
    assert left.error == "The server is away."


def test_a_burst_beyond_the_bound_loses_bodies_and_is_counted(sqlite: str) -> None:
    metrics = Metrics("1.0")
    recorder = recorder_of(lambda: closing(open_store(sqlite)), metrics, queue_bytes=1 << 20, interval_s=1.0)
    exchanges = [exchange(said="x" * 20_000, served=task()) for _ in range(100)]
    for one in exchanges:
        recorder.put(one)
    recorder.drain(30.0)
    dropped = counted(metrics, "stepdown_dropped_calls_total", reason="queue-full")
    assert 0 < dropped < 100
    assert len(kept(sqlite)) == 100 - dropped
    assert counted(metrics, "stepdown_requests_total", task="intent") == 100


def test_a_store_that_hangs_holds_up_no_count_and_no_end(sqlite: str) -> None:
    metrics = Metrics("1.0")
    open_store(sqlite).close()
    blocker = sqlite3.connect(sqlite.removeprefix("sqlite:"), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    recorder = recorder_of(lambda: closing(open_store(sqlite)), metrics)
    for _ in range(5):
        recorder.put(exchange())
    wait_until(lambda: counted(metrics, "stepdown_tokens_total") == 5 * 120)
    assert recorder.drain(0.2) == (5, "The store did not answer in time.")
    blocker.execute("ROLLBACK")


def test_a_server_that_drops_its_connections_loses_no_call(address: str) -> None:
    if not address.startswith("postgresql"):
        pytest.skip("a file has no server")
    psycopg = pytest.importorskip("psycopg")
    recorder = recorder_of(lambda: closing(open_store(address)))
    exchanges = [exchange(served=task()) for _ in range(300)]
    with psycopg.connect(address.rpartition("schema=")[0].rstrip("?&"), autocommit=True) as connection:
        for number, one in enumerate(exchanges):
            recorder.put(one)
            if number % 100 == 50:
                wait_until(lambda: recorder.waiting == 0)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )
    assert recorder.drain(30.0) == (0, "")
    assert set(kept(address)) == {one.id for one in exchanges}
    with closing(open_store(address)) as store:
        assert sum(row.requests for row in store.served()) == 300


def test_one_exchange_or_listener_that_fails_stops_nothing(sqlite: str) -> None:
    metrics = Metrics("1.0")

    def failing(_: Exchange, __: Outcome) -> None:
        raise RuntimeError("a listener's own fault")

    poison, deep = exchange(), exchange(served=task(privacy="redact"))
    poison.chat = {"messages": [{"role": "user", "content": object()}]}
    nested: Any = "x"
    for _ in range(5000):
        nested = [nested]
    deep.chat = {"messages": [{"role": "user", "content": nested}]}
    whole = [exchange() for _ in range(10)]
    calls = recorded(sqlite, poison, deep, *whole, metrics=metrics, listeners=[failing])
    assert set(calls) == {one.id for one in whole}
    assert counted(metrics, "stepdown_dropped_calls_total", reason="unwritable") == 1
    assert counted(metrics, "stepdown_dropped_calls_total", reason="unreadable") == 1


def test_what_clients_and_upstreams_choose_fits_every_store(address: str) -> None:
    odd = exchange(answer(id="a\0b" * 500), workload="w\0" * 200)
    odd.chat["seed"] = 1 << 70
    calls = recorded(address, odd)
    assert calls[odd.id].request["seed"] == str(1 << 70)
    assert len(calls[odd.id].workload_id) == 200


KILLED = """
import random, sys, time
from contextlib import closing
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.recorder import Recorder, RecorderOptions
from stepdown.stores.store import open_store
from tests.gateway.exchanges import exchange

recorder = Recorder(lambda: closing(open_store(sys.argv[1])), RecorderOptions(), lambda call: None, str, Metrics("1"),
                    random.Random(1))
while True:
    one = exchange()
    one.at = time.time()
    recorder.put(one)
    print(one.id, one.at, flush=True)
    time.sleep(0.002)
"""


def test_kill_minus_nine_loses_nothing_but_the_last_moment(address: str) -> None:
    open_store(address).close()
    root = Path(__file__).resolve().parents[2]
    writer = subprocess.Popen([sys.executable, "-c", KILLED, address], stdout=subprocess.PIPE, cwd=root, text=True)
    assert writer.stdout is not None
    with closing(open_store(address)) as store:
        wait_until(lambda: store.count_calls() > 300)
    writer.send_signal(signal.SIGKILL)
    killed = time.time()
    put = [line.split() for line in writer.stdout.read().splitlines() if line.count(" ") == 1]
    writer.wait()
    calls = kept(address)
    # The bound is 200 ms; a test machine may be busy with other things for longer than that.
    old = [name for name, at in put if float(at) < killed - 0.5]
    assert len(old) > 50
    assert [name for name in old if name not in calls] == []
