"""The recorder as a process of its own: started, fed, listened to, started again when it dies, drained at the end."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Sequence

from stepdown.gateway.call_writer import QUEUE_FULL
from stepdown.gateway.channel import Frames, Report, pack, unpack_report
from stepdown.gateway.exchange import Exchange

log = logging.getLogger("stepdown.gateway")

FLUSH_S = 0.004
RESTART_S = 0.5
HIGH_WATER = 8 << 20
MOST_WAIT_S = 0.01
"""How long one request is held back at most, when four times the mark waits."""
_AT_ONCE = 256 << 10
_BUFFER = 4 << 20


class RecorderProcess:
    """command: starts the process; the number of its socket is added. dropped: told how many were given up.

    report: called with what the process says of itself. Everything here is of the event loop.
    """

    def __init__(
        self,
        command: Sequence[str],
        queue_bytes: int,
        dropped: Callable[[str, int], None],
        report: Callable[[Report], None],
    ) -> None:
        self._command, self._queue_bytes, self._dropped, self._report = list(command), queue_bytes, dropped, report
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._sending: list[bytes] = []
        self._part = memoryview(b"")
        self._held = 0
        self._scheduled = self._blocked = self._draining = False
        self._lost: int | None = None
        self._gone = asyncio.Event()
        self._up = asyncio.Event()
        self._frames = Frames()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.healthy = True
        self.last_error = ""

    def start(self) -> None:
        """Start the process. What is put before it reads waits in the socket and here."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [*self._command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._socket, self._frames = ours, Frames()
        self._loop.add_reader(ours, self._readable)
        self._flush()

    async def is_up(self, within_s: float) -> bool:
        """Wait until the process has said its first word; False where it did not in that time."""
        try:
            async with asyncio.timeout(within_s):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    def put(self, exchange: Exchange) -> None:
        """Tell of a finished exchange. Beyond the bound it is given up and counted."""
        if self._held > self._queue_bytes:
            self._dropped(QUEUE_FULL, 1)
            return
        frame = pack(exchange)
        self._held += len(frame)
        self._waiting.append(frame)
        if not self._scheduled and not self._blocked:
            self._scheduled = True
            self._loop.call_later(FLUSH_S, self._flush)

    async def room(self) -> None:
        """Wait a moment where recording is behind: better a little slower than a call that is not kept.

        Where the store is down waiting would not help, and what is beyond the bound is given up.
        """
        if self.healthy:
            await asyncio.sleep(MOST_WAIT_S * min(1.0, self._held / HIGH_WATER / 4))

    @property
    def is_behind(self) -> bool:
        return self._held >= HIGH_WATER

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._sending)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def drain(self, within_s: float) -> int:
        """Send everything, wait until it is written, end the process. Returns how many calls were lost."""
        self._draining = True
        try:
            async with asyncio.timeout(within_s):
                while (self._held or self._blocked) and not self._gone.is_set():
                    self._flush()
                    await asyncio.sleep(0.005)
                if self._socket is not None:
                    self._socket.shutdown(socket.SHUT_WR)
                await self._gone.wait()
        except (TimeoutError, OSError):
            log.warning("recorder_slow", extra={"waiting": self.waiting})
        if self._process is not None:
            code = await self._loop.run_in_executor(None, self._end, max(1.0, within_s))
            log.debug("recorder_ended", extra={"code": code})
        return (self._lost or 0) + self.waiting

    def _end(self, within_s: float) -> int:
        assert self._process is not None
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _flush(self) -> None:
        self._scheduled = False
        while self._socket is not None:
            if not self._part:
                self._sent()
                if not self._waiting:
                    break
                self._load()
            try:
                self._part = self._part[self._socket.send(self._part) :]
            except BlockingIOError:
                if not self._blocked:
                    self._blocked = True
                    self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                return  # The process has died; the reader hears of it too, and starts another.
        if self._blocked and self._socket is not None:
            self._blocked = False
            self._loop.remove_writer(self._socket)

    def _load(self) -> None:
        size = 0
        while self._waiting and size < _AT_ONCE:
            frame = self._waiting.popleft()
            self._sending.append(frame)
            size += len(frame)
        self._part = memoryview(b"".join(self._sending))

    def _sent(self) -> None:
        self._held -= sum(map(len, self._sending))
        self._sending = []

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._closed()
            return
        for frame in self._frames.feed(data):
            report = unpack_report(frame)
            self._up.set()
            self.healthy, self.last_error = report.healthy, report.last_error
            if report.lost is not None:
                self._lost = report.lost
            self._report(report)

    def _closed(self) -> None:
        assert self._socket is not None
        self._loop.remove_reader(self._socket)
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._socket)
        self._socket.close()
        self._socket = None
        if self._lost is not None:
            self._gone.set()
            return
        # What was sent in part is sent anew, whole: a call that is told twice is kept once.
        self._waiting.extendleft(reversed(self._sending))
        self._sending, self._part = [], memoryview(b"")
        self.healthy, self.last_error = False, "The recording process ended."
        log.error("recorder_died")
        if self._process is not None:
            self._process.poll()
        self._loop.call_later(RESTART_S, self.start)
