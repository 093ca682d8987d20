"""What is kept of finished exchanges: on real stores, through failures, and never unmasked where that was promised."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepdown.core.calls import Call
from stepdown.core.errors import StoreError
from stepdown.core.gateway import GatewaySettings
from stepdown.core.served import Served
from stepdown.core.store import Store
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.metrics import Metrics
from stepdown.gateway.mover import Listener, Mover
from stepdown.gateway.outcome import Outcome
from stepdown.gateway.recorder import Recorder
from stepdown.gateway.records import pack
from stepdown.gateway.segments import SegmentWriter, segments
from stepdown.stores.store import open_store, store_kinds
from stepdown.wires import anthropic_messages
from tests.gateway.exchanges import AT, KEY, answer, exchange, task
from tests.gateway.waiting import wait_until


def price(call: Call) -> float | None:
    """A dollar a thousand tokens, where they are known."""
    prompt, completion = call.prompt_tokens, call.completion_tokens
    return None if prompt is None or completion is None else (prompt + completion) / 1000


def mask(text: str) -> str:
    return text.replace("4111111111111111", "[card]")


def record(folder: Path, exchanges: Sequence[Exchange], metrics: Metrics | None = None, **options: Any) -> Recorder:
    """As the gateway does: every exchange kept, what is returned waited for, the segment ended."""
    charge = options.pop("charge", None)

    async def run() -> Recorder:
        recorder = Recorder(
            folder,
            GatewaySettings(**options),
            price,
            mask,
            metrics or Metrics("1.0"),
            lambda exchange: charge is not None,
            charge or (lambda exchange, outcome: None),
        )
        for one in exchanges:
            recorder.under_way += 1
            waiting = recorder.keep(one)
            if waiting is not None:
                await waiting
        await recorder.close(10.0)
        return recorder

    return asyncio.run(run())


def mover_of(address: str, folder: Path, metrics: Metrics | None = None, listeners: Sequence[Listener] = ()) -> Mover:
    return Mover(folder, lambda: closing(open_store(address)), price, metrics or Metrics("1.0"), listeners)


def moved(mover: Mover, folder: Path) -> None:
    """Move until nothing is left."""

    def is_empty() -> bool:
        mover.move()
        return not segments(folder)

    wait_until(is_empty)
    mover.close()


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


def recorded(
    address: str, folder: Path, *exchanges: Exchange, metrics: Metrics | None = None, **options: Any
) -> dict[str, Call]:
    listeners = options.pop("listeners", ())
    record(folder, exchanges, metrics, **options)
    moved(mover_of(address, folder, metrics, listeners), folder)
    return kept(address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "capture"


def test_an_answer_becomes_a_call_and_sums(address: str, folder: Path) -> None:
    first, second = exchange(served=task(), key=KEY), exchange(served=task(), key=KEY, rung="linear", upstream="")
    calls = recorded(address, folder, first, second)
    call = calls[first.id]
    assert call.request == first.chat
    assert call.content == "yes"
    assert (call.provider, call.task, call.workload_id) == ("openai", "intent", "")
    assert (call.client_id, call.source) == (KEY.id, "gateway")
    assert (call.timestamp, call.latency_s, call.cost_usd) == (AT, 0.25, 0.12)
    assert (calls[second.id].provider, calls[second.id].rung, calls[second.id].cost_usd) == ("", "linear", 0.0005)
    with closing(open_store(address)) as store:
        rows = {row.rung: row for row in store.served()}
        assert store.call_id_of("chatcmpl-1") in calls
    assert rows["incumbent"].requests == rows["linear"].requests == 1
    assert (rows["incumbent"].prompt_tokens, rows["incumbent"].completion_tokens) == (100, 20)
    assert (rows["incumbent"].key, rows["incumbent"].hour, rows["incumbent"].task) == ("k1", 500_000, "intent")
    assert rows["linear"].saved_usd == pytest.approx(0.0015)


def test_streams_and_other_wires_are_kept_in_chat_shape(sqlite: str, folder: Path) -> None:
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
    calls = recorded(sqlite, folder, streamed, packed, other)
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
    sqlite: str, folder: Path, reply: bytes, fields: dict[str, Any], said: str
) -> None:
    broken, whole = exchange(reply, **fields), exchange()
    calls = recorded(sqlite, folder, broken, whole)
    assert calls[broken.id].error.startswith(said)
    assert calls[broken.id].response is None
    assert calls[whole.id].content == "yes"


def test_a_body_that_unpacks_without_end_is_not_unpacked(sqlite: str, folder: Path) -> None:
    bomb = exchange(gzip.compress(bytes(80 << 20), 9))
    assert "too long" in recorded(sqlite, folder, bomb)[bomb.id].error


def test_who_was_not_asked_is_counted_and_not_kept(sqlite: str, folder: Path) -> None:
    metrics = Metrics("1.0")
    refused = exchange(rung="refused", upstream="", status=429, reason="too_many_requests", served=task())
    abstained = exchange(rung="abstained", upstream="", status=422, served=task())
    unreached = exchange(upstream="", status=502, error="no upstream")
    assert recorded(sqlite, folder, refused, abstained, unreached, metrics=metrics) == {}
    assert counted(metrics, "stepdown_requests_total") == 3
    assert counted(metrics, "stepdown_refusals_total", reason="too_many_requests") == 1
    with closing(open_store(sqlite)) as store:
        assert sum(row.requests for row in store.served()) == 3


def test_a_cached_answer_saves_all_of_its_cost(sqlite: str, folder: Path) -> None:
    heard: list[Outcome] = []
    hit = exchange(rung="cache", upstream="", served=task())
    calls = recorded(sqlite, folder, hit, listeners=[lambda _, outcome: heard.append(outcome)])
    assert calls[hit.id].served == Served(rung="cache", cached=True)
    assert (heard[0].cost_usd, heard[0].saved_usd) == (0.0, 0.002)


def test_tokens_are_guessed_for_budgets_and_not_for_the_record(sqlite: str, folder: Path) -> None:
    heard: list[Outcome] = []
    silent = exchange(answer("x" * 400, usage=None), said="y" * 4000)
    calls = recorded(sqlite, folder, silent, listeners=[lambda _, outcome: heard.append(outcome)])
    assert (heard[0].prompt_tokens, heard[0].completion_tokens, heard[0].estimated) == (1001, 102, True)
    assert heard[0].cost_usd == pytest.approx(1.103)
    assert (calls[silent.id].prompt_tokens, calls[silent.id].cost_usd) == (None, None)


def test_a_secret_never_reaches_the_stores_files(tmp_path: Path, folder: Path, sqlite: str) -> None:
    card = "4111111111111111"
    private = exchange(answer(f"card {card}"), said=f"my card is {card}", served=task(privacy="redact"))
    private.chat["user"] = f"{card}@example.com"
    failed = exchange(
        msgspec.json.encode({"error": {"message": f"bad {card}"}}), status=400, served=task(privacy="redact")
    )
    record(folder, [private, failed])
    assert all(card.encode() not in path.read_bytes() for path in folder.iterdir())
    moved(mover_of(sqlite, folder), folder)
    calls = kept(sqlite)
    assert calls[private.id].content == "card [card]"
    assert calls[failed.id].error == "HTTP 400: bad [card]"
    # Blocks are compressed: the store's text is looked through, and the files' bytes.
    with closing(open_store(sqlite)) as store:
        assert card not in str([msgspec.to_builtins(call) for call in store.calls()])
    assert all(card.encode() not in path.read_bytes() for path in tmp_path.rglob("*.sqlite*"))


def test_a_share_is_kept_and_the_totals_count_all(sqlite: str, folder: Path) -> None:
    exchanges = [exchange(served=task()) for _ in range(400)]
    calls = recorded(sqlite, folder, *exchanges, capture_share=0.25)
    assert 60 <= len(calls) <= 140
    with closing(open_store(sqlite)) as store:
        assert sum(row.requests for row in store.served()) == 400
        assert sum(row.prompt_tokens for row in store.served()) == 40_000


def test_calls_of_no_task_are_left_out_where_that_is_set(sqlite: str, folder: Path) -> None:
    matched, other = exchange(served=task()), exchange()
    assert set(recorded(sqlite, folder, matched, other, unmatched_capture=False)) == {matched.id}


def test_each_record_is_taken_once_wherever_the_mover_dies(address: str, folder: Path) -> None:
    """A mover that goes on from any state that another left: before and after every transaction, and with the segment
    deleted or not."""
    exchanges = [exchange(served=task(), key=KEY) for _ in range(30)]

    class Dying:
        """A store whose process dies at its nth call, before or after it is done."""

        def __init__(self, store: Store, dies_at: float) -> None:
            self._store, self._dies_at, self._calls = store, dies_at, 0

        def __getattr__(self, name: str) -> Any:
            def called(*given: Any) -> Any:
                self._calls += 1
                if self._calls > self._dies_at:
                    raise KeyboardInterrupt
                result = getattr(self._store, name)(*given)
                if self._calls == self._dies_at:
                    raise KeyboardInterrupt
                return result

            return getattr(self._store, name) if name in ("close", "taken") else called

    for number in range(12):
        record(folder, exchanges[number * 2 : number * 2 + 2])
        dying = Mover(
            folder, lambda n=number: closing(Dying(open_store(address), n % 4 + 0.5 * (n % 2))), price, Metrics("1")
        )  # type: ignore[arg-type, misc]
        with suppress(KeyboardInterrupt):
            dying.move()
        dying.close()
    record(folder, exchanges[24:])
    moved(mover_of(address, folder), folder)
    assert set(kept(address)) == {one.id for one in exchanges}
    with closing(open_store(address)) as store:
        assert sum(row.requests for row in store.served()) == 30
        assert sum(row.prompt_tokens for row in store.served()) == 3000
    assert not list(folder.glob("*.taken"))


def test_a_live_segment_is_moved_as_it_grows(sqlite: str, folder: Path) -> None:
    writer, mover = SegmentWriter(folder), mover_of(sqlite, folder)
    for count in range(1, 4):
        one = exchange()
        writer.append(pack(one))
        assert mover.move() == 1
        assert mover.waiting_bytes() == 0
        assert one.id in kept(sqlite)
        assert len(kept(sqlite)) == count
    assert mover.move() == 0
    writer.close()
    moved(mover, folder)
    assert len(kept(sqlite)) == 3


def test_one_mover_at_a_time(sqlite: str, folder: Path) -> None:
    record(folder, [exchange()])
    first, second = mover_of(sqlite, folder), mover_of(sqlite, folder)
    assert (first.alone(), second.alone(), second.move()) == (True, False, 0)
    first.close()
    moved(second, folder)
    assert len(kept(sqlite)) == 1


def test_a_store_that_is_away_is_tried_again_and_memory_is_not_needed_for_what_waits(folder: Path, sqlite: str) -> None:
    is_away = True

    def reached() -> AbstractContextManager[Store]:
        if is_away:
            raise StoreError("The server is away.")
        return closing(open_store(sqlite))

    exchanges = [exchange(said="x" * 10_000) for _ in range(200)]
    record(folder, exchanges)
    mover = Mover(folder, reached, price, Metrics("1"))
    assert mover.move() == 0
    assert mover.last_error == "The server is away."
    assert mover.waiting_bytes() > 2_000_000
    is_away = False
    moved(mover, folder)
    assert mover.last_error == ""
    assert set(kept(sqlite)) == {one.id for one in exchanges}


def test_a_torn_tail_and_a_damaged_record_cost_only_themselves(sqlite: str, folder: Path) -> None:
    metrics = Metrics("1.0")
    exchanges = [exchange(said=str(number) * 50) for number in range(5)]
    record(folder, exchanges)
    (path,) = segments(folder)
    data = bytearray(path.read_bytes())
    data[data.index(b"2" * 50)] ^= 1
    path.write_bytes(data[:-10])
    moved(mover_of(sqlite, folder, metrics), folder)
    assert set(kept(sqlite)) == {exchanges[number].id for number in (0, 1, 3)}
    assert counted(metrics, "stepdown_dropped_calls_total", reason="damaged") == 2


def test_a_file_that_is_no_segment_keeps_no_other_from_being_moved(sqlite: str, folder: Path) -> None:
    metrics = Metrics("1.0")
    record(folder, [exchange()])
    (folder / "0-not hex.segment").write_bytes(b"?")
    (folder / f"1-{'0' * 16}.segment").mkdir()
    writer = SegmentWriter(folder)
    writer.append(b"of another version")
    writer.close()
    mover = mover_of(sqlite, folder, metrics)
    mover.move()
    assert len(kept(sqlite)) == 1
    assert mover.last_error == ""
    assert counted(metrics, "stepdown_dropped_calls_total", reason="unreadable") == 1
    mover.close()


def test_what_is_limited_is_charged_at_once(folder: Path) -> None:
    """By whom the answer was given, whether it is kept, masked or neither: nobody waits for the store."""
    charged: list[tuple[str, int, float | None]] = []
    plain, masked_one = exchange(served=task(), key=KEY), exchange(served=task(privacy="redact"), key=KEY)
    refused = exchange(rung="refused", upstream="", status=429, key=KEY)
    record(
        folder,
        [plain, masked_one, refused],
        charge=lambda one, outcome: charged.append((one.id, outcome.tokens, outcome.cost_usd)),
    )
    assert sorted(charged, key=str) == sorted(
        [(plain.id, 120, 0.12), (masked_one.id, 120, 0.12), (refused.id, 0, None)], key=str
    )


def test_a_server_that_drops_its_connections_loses_no_call(address: str, folder: Path) -> None:
    if not address.startswith("postgresql"):
        pytest.skip("a file has no server")
    psycopg = pytest.importorskip("psycopg")
    exchanges = [exchange(served=task()) for _ in range(300)]
    mover = mover_of(address, folder)
    with psycopg.connect(address.rpartition("schema=")[0].rstrip("?&"), autocommit=True) as connection:
        for number in range(3):
            record(folder, exchanges[number * 100 : number * 100 + 100])
            mover.move()
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
    moved(mover, folder)
    assert set(kept(address)) == {one.id for one in exchanges}
    with closing(open_store(address)) as store:
        assert sum(row.requests for row in store.served()) == 300


def test_one_exchange_or_listener_that_fails_stops_nothing(sqlite: str, folder: Path) -> None:
    metrics = Metrics("1.0")

    def failing(_: Exchange, __: Outcome) -> None:
        raise RuntimeError("a listener's own fault")

    deep = exchange(served=task(privacy="redact"))
    nested: Any = "x"
    for _ in range(5000):
        nested = [nested]
    deep.chat = {"messages": [{"role": "user", "content": nested}]}
    whole = [exchange() for _ in range(10)]
    calls = recorded(sqlite, folder, deep, *whole, metrics=metrics, listeners=[failing])
    assert set(calls) == {one.id for one in whole}
    assert counted(metrics, "stepdown_dropped_calls_total", reason="unreadable") == 1
    with closing(open_store(sqlite)) as store:
        assert sum(row.requests for row in store.served()) == 11


def test_what_clients_and_upstreams_choose_fits_every_store(address: str, folder: Path) -> None:
    odd = exchange(answer(id="a\0b" * 500), workload="w\0" * 200)
    odd.request.body = msgspec.json.encode({**odd.chat, "seed": 1 << 70})
    masked_one = exchange(served=task(privacy="redact"))
    masked_one.chat["seed"] = 1 << 70
    many = exchange(answer(usage=(1 << 90, 1)))
    calls = recorded(address, folder, odd, masked_one, many)
    assert calls[masked_one.id].request["seed"] == str(1 << 70)
    assert calls[odd.id].request["seed"] == str(1 << 70)
    assert len(calls[odd.id].workload_id) == 200
