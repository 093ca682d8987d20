"""The recording process: fed, drained, killed and started again, held back by it where it is slow."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from stepdown.gateway.channel import Report
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.recorder_process import HIGH_WATER, RecorderProcess
from stepdown.loop.home import open_home
from tests.gateway.test_channel import finished
from tests.gateway.test_lean_outcome import REPLY


def process(home: Path, reports: list[Report], dropped: list[str], queue_bytes: int = 64 << 20) -> RecorderProcess:
    command = [sys.executable, "-m", "stepdown.loop.recording_process", str(home), str(home / "run")]
    return RecorderProcess(command, queue_bytes, lambda reason, count: dropped.append(reason), reports.append)


def exchanges(count: int) -> list[Exchange]:
    import msgspec

    return [finished(msgspec.json.encode(REPLY)) for _ in range(count)]


def kept(home: Path) -> set[str]:
    with open_home(home).store() as store:
        return {call.id for call in store.calls()}


def test_what_was_put_is_in_the_store_when_it_has_drained(tmp_path: Path) -> None:
    reports: list[Report] = []
    sent = exchanges(3000)

    async def run() -> int:
        recorder = process(tmp_path, reports, [])
        recorder.start()
        for exchange in sent:
            recorder.put(exchange)
        return await recorder.drain(30.0)

    assert asyncio.run(run()) == 0
    assert kept(tmp_path) == {exchange.id for exchange in sent}
    assert sum(len(report.charges) for report in reports) == 3000
    assert {charge.key for report in reports for charge in report.charges} == {"k1"}
    assert reports[-1].lost == 0


def test_a_killed_process_is_started_again_and_what_follows_is_kept(tmp_path: Path) -> None:
    after = exchanges(5)

    async def run() -> int:
        recorder = process(tmp_path, [], [])
        recorder.start()
        os.kill(recorder.pid, signal.SIGKILL)
        while recorder.healthy:
            await asyncio.sleep(0.01)
        assert recorder.last_error
        for exchange in after:
            recorder.put(exchange)
        return await recorder.drain(30.0)

    assert asyncio.run(run()) == 0
    assert kept(tmp_path) >= {exchange.id for exchange in after}


def test_the_process_ends_when_the_gateway_is_gone_and_writes_what_it_was_told(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.gateway.test_recorder_process import exchanges, process
async def run():
    recorder = process(Path({str(tmp_path)!r}), [], [])
    recorder.start()
    sent = exchanges(200)
    for exchange in sent:
        recorder.put(exchange)
    while recorder.waiting:
        await asyncio.sleep(0.01)
    print(recorder.pid, len(sent), flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(run())
"""

    async def run() -> tuple[int, int]:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate()
        pid, count = (int(word) for word in out.split())
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            await asyncio.sleep(0.02)
        return pid, count

    _, count = asyncio.run(run())
    assert len(kept(tmp_path)) == count


def test_beyond_the_bound_is_given_up_and_counted_and_requests_are_held_back_before(tmp_path: Path) -> None:
    dropped: list[str] = []

    async def run() -> tuple[bool, bool]:
        recorder = process(tmp_path, [], dropped, queue_bytes=HIGH_WATER + 1000)
        before = recorder.is_behind
        for exchange in exchanges(1 + (HIGH_WATER + 40_000) // 500):
            exchange.request.body = b'{"messages":[],"x":"' + b"y" * 4000 + b'"}'
            recorder.put(exchange)
        return before, recorder.is_behind

    assert asyncio.run(run()) == (False, True)
    assert dropped
    assert set(dropped) == {"queue-full"}


@pytest.mark.parametrize("word", ["SIGINT", "SIGTERM"])
def test_signals_meant_for_the_gateway_do_not_end_it(tmp_path: Path, word: str) -> None:
    sent = exchanges(3)

    async def run() -> int:
        reports: list[Report] = []
        recorder = process(tmp_path, reports, [])
        recorder.start()
        recorder.put(sent[0])
        while not reports:
            await asyncio.sleep(0.01)
        os.kill(recorder.pid, getattr(signal, word))
        for exchange in sent[1:]:
            recorder.put(exchange)
        return await recorder.drain(30.0)

    assert asyncio.run(run()) == 0
    assert kept(tmp_path) == {exchange.id for exchange in sent}
