"""The base of stream translations: bytes of one wire in, split anywhere, bytes of the other out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from stepdown.wires.event_stream import MAX_EVENT_BYTES, EventSplitter
from stepdown.wires.wire_errors import WireError, read_error


class StreamTranslator(ABC):
    """Feed it what the upstream sends, send on what it returns, and close it when the upstream ends.

    However the upstream's bytes are cut, the same bytes come out. `ended` is true once the client has been told the end
    or an error; `error` is that error. An answer is never ended as if whole when the upstream's was not: a stream that
    stops early becomes an error.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.ended = False
        self.error: WireError | None = None
        self._splitter = EventSplitter(max_event_bytes)
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """The translation of the events that `data` completes.

        Raises ValueError where an event is too large, not a JSON object, or impossible to say on the other wire; what
        was translated before it is kept for `failed`, which should then be called.
        """
        for event in () if self.ended else self._splitter.split(data):
            if self.ended or self._splitter.done:
                break
            self._receive(event)
        if self._splitter.done:
            self._end()
        return self._said()

    def close(self) -> bytes:
        """The last bytes once the upstream has ended: the answer's end, or an error where it was cut off."""
        if self.ended:
            return self._said()
        try:
            for event in self._splitter.close():
                self._receive(event)
        except ValueError:
            return self.failed("the upstream's stream broke off in the middle of an event")
        if not (self._is_answered() or self._splitter.done):
            return self.failed("the upstream's stream ended before its answer did")
        self._end()
        return self._said()

    def failed(self, message: str, status: int = 502) -> bytes:
        """End the client's stream with an error, unless it has ended already: time-outs, lost connections, garbage."""
        if not self.ended:
            self._fail(WireError(status=status, message=message, kind="api_error"))
        return self._said()

    def _receive(self, event: dict[str, Any]) -> None:
        if event.get("type") == "error" or isinstance(event.get("error"), dict | str):
            self._fail(read_error(event))
        elif not self.ended:
            self._take(event)

    def _fail(self, error: WireError) -> None:
        self.error, self.ended = error, True
        self._out.append(self._error_event(error))

    def _end(self) -> None:
        if not self.ended:
            self._finish()
            self.ended = True

    def _said(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    @abstractmethod
    def _take(self, event: dict[str, Any]) -> None:
        """Append to `_out` the translation of one event of the upstream."""

    @abstractmethod
    def _is_answered(self) -> bool:
        """Whether the upstream has said why the answer ended, so that only the stream's own end may be missing."""

    @abstractmethod
    def _finish(self) -> None:
        """Append to `_out` the end of the stream."""

    @abstractmethod
    def _error_event(self, error: WireError) -> bytes:
        """An error as the client's wire says it in the middle of a stream."""
