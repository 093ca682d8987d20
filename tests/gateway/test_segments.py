"""Segments: what was appended is read again, whatever is cut, damaged, full or shared meanwhile."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.gateway.segments import ROLL_S, SegmentWriter, held_bytes, is_held, read_records, segments
from tests.gateway.waiting import wait_until


def written(folder: Path, payloads: list[bytes]) -> Path:
    writer = SegmentWriter(folder)
    for payload in payloads:
        writer.append(payload)
    writer.close()
    (path,) = segments(folder)
    return path


def read_all(path: Path, is_ended: bool = True) -> list[bytes]:
    at, found = 0, []
    while (records := read_records(path, at, is_ended)).end > at:
        found += records.payloads
        at = records.end
    return found


PAYLOADS = st.lists(st.binary(max_size=300), min_size=1, max_size=8)


@given(PAYLOADS)
def test_what_was_appended_is_read_in_order(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    path = written(tmp_path_factory.mktemp("segments"), payloads)
    assert read_all(path) == payloads
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(PAYLOADS, st.integers(0))
def test_a_segment_cut_anywhere_gives_what_was_whole(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], cut: int
) -> None:
    path = written(tmp_path_factory.mktemp("segments"), payloads)
    whole = path.read_bytes()
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    ends = [sum(16 + len(one) for one in payloads[: number + 1]) for number in range(len(payloads))]
    kept = payloads[: sum(end <= cut for end in ends)]
    assert read_all(path) == kept
    # While its writer lives the rest may still come, and then does.
    at = read_records(path, 0, False).end
    path.write_bytes(whole)
    assert kept + read_all_from(path, at) == payloads


def read_all_from(path: Path, at: int) -> list[bytes]:
    found = []
    while (records := read_records(path, at, True)).end > at:
        found += records.payloads
        at = records.end
    return found


@pytest.mark.parametrize("is_ended", [True, False])
@given(PAYLOADS, st.integers(0), st.integers(1, 255))
def test_a_damaged_byte_costs_one_record(
    tmp_path_factory: pytest.TempPathFactory, is_ended: bool, payloads: list[bytes], place: int, flip: int
) -> None:
    last = b"what comes after"
    path = written(tmp_path_factory.mktemp("segments"), [*payloads, last])
    data = bytearray(path.read_bytes())
    place %= len(data) - 16 - len(last)
    data[place] ^= flip
    path.write_bytes(data)
    ends = [sum(16 + len(one) for one in payloads[: number + 1]) for number in range(len(payloads))]
    hit = sum(end <= place for end in ends)
    assert read_all(path, is_ended) == [*payloads[:hit], *payloads[hit + 1 :], last]
    assert read_records(path, 0, is_ended).damaged == 1


def test_a_body_cannot_hold_what_is_taken_for_a_record(tmp_path: Path) -> None:
    other = written(tmp_path / "other", [b"forged"]).read_bytes()
    path = written(tmp_path / "own", [other * 3, b"next"])
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert read_all(path) == [b"next"]


def test_records_larger_than_one_reading(tmp_path: Path) -> None:
    payloads = [b"a" * (6 << 20), b"small", b"b" * (9 << 20)]
    folder = tmp_path
    writer = SegmentWriter(folder, roll_bytes=64 << 20)
    for payload in payloads:
        writer.append(payload)
    (path,) = segments(folder)
    assert read_all(path, is_ended=False) == payloads
    writer.close()


def test_segments_roll_by_size_and_age_and_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(tmp_path, roll_bytes=1000)
    for number in range(25):
        writer.append(bytes([number]) * 84)
    assert [len(read_all(path, False)) for path in segments(tmp_path)] == [10, 10, 5]
    assert held_bytes(tmp_path) == 2500
    assert [is_held(path) for path in segments(tmp_path)] == [False, False, True]
    clock = time.monotonic() + ROLL_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(time, "time_ns", lambda: 5)  # A clock that is set back changes no order.
    writer.look()
    writer.append(b"young")
    assert [read_all(path, False)[-1][:5] for path in segments(tmp_path)][-1] == b"young"
    writer.close()


def test_a_segment_that_was_deleted_is_followed_by_another(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append(b"gone")
    segments(tmp_path)[0].unlink()
    writer.look()
    writer.append(b"there")
    assert [read_all(path, False) for path in segments(tmp_path)] == [[b"there"]]
    writer.close()


FULL = """
import resource, signal, sys
from pathlib import Path
from stepdown.gateway.segments import SegmentWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
writer = SegmentWriter(Path(sys.argv[1]))
writer.append(b"a" * 800)
for number in range(3):
    try:
        writer.append(b"b" * 800)
        print("taken")
    except OSError:
        print("refused")
writer.append(b"c" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append(b"d" * 800)
"""


def test_a_disk_that_takes_half_a_record_takes_none_of_it_and_the_next_when_there_is_room(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["refused"] * 3
    (path,) = segments(tmp_path)
    assert [one[:1] for one in read_all(path)] == [b"a", b"c", b"d"]


KILLED = """
import sys
from pathlib import Path
from stepdown.gateway.segments import SegmentWriter
writer = SegmentWriter(Path(sys.argv[1]), roll_bytes=100_000)
number = 0
while True:
    number += 1
    writer.append(b"%d " % number * 200)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_what_was_appended_before_a_kill_is_there(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = b"".join(process.stdout.readline() for _ in range(2000))
    process.send_signal(signal.SIGKILL)
    told = int((said + process.stdout.read()).split(b"\n")[-2])
    process.wait()
    wait_until(lambda: not any(is_held(path) for path in segments(tmp_path)))
    found = [int(one.split()[0]) for path in segments(tmp_path) for one in read_all(path)]
    assert found[:told] == list(range(1, told + 1))
    assert len(found) <= told + 1


def test_files_are_nobody_elses(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = written(tmp_path / "capture", [b"x"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
