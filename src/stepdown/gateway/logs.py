"""Log lines for machines: one JSON object each, without bodies, header values or secrets."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import IO, Any

import msgspec

from stepdown.core.errors import StepdownError
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.outcome import Outcome

LOGGER = "stepdown.gateway"

_LONGEST = 500
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=str).encode

log = logging.getLogger(LOGGER)


class JsonLines(logging.Formatter):
    """time (UTC), level, event (the message), then the fields given as `extra`.

    Of an exception only its kind and the places it passed are told: its words may quote what a client sent. What our
    own errors say is for people to read, and is told.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _bounded(record.getMessage()),
        }
        if record.name != LOGGER:
            line["logger"] = record.name
        for name, value in vars(record).items():
            if name not in _OWN and name not in line:
                line[name] = _bounded(value)
        if record.exc_info and record.exc_info[1] is not None:
            line |= _failure(record.exc_info[1])
        try:
            return _encode(line).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            return _encode({name: _bounded(str(value)) for name, value in line.items()}).decode("utf-8", "replace")


def configure_logs(stream: IO[str], level: int = logging.INFO) -> None:
    """Send every log line of this process to `stream`, in place of whatever was set up before."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)


def log_request(exchange: Exchange, outcome: Outcome) -> None:
    """One line for a finished exchange. A listener of the recorder's: the line is written off the event loop."""
    fields: dict[str, Any] = {
        "id": exchange.id,
        "client": exchange.request.client,
        "wire": exchange.wire.NAME,
        "model": str(exchange.chat.get("model") or ""),
        "task": exchange.task.name if exchange.task else "",
        "key": exchange.key.id if exchange.key else "",
        "rung": exchange.rung,
        "reason": exchange.reason,
        "upstream": exchange.upstream,
        "status": exchange.status,
        "streamed": exchange.streamed or None,
        "latency_ms": round(exchange.latency_s * 1000, 3),
        "confidence": exchange.confidence,
        "prompt_tokens": outcome.prompt_tokens or None,
        "completion_tokens": outcome.completion_tokens or None,
        "cost_usd": None if outcome.cost_usd is None else outcome.spent_usd,
        "failed": bool(exchange.error) or None,
    }
    log.info("request", extra={name: value for name, value in fields.items() if value is not None and value != ""})


def _failure(error: BaseException) -> dict[str, Any]:
    places = [
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    said = {"said": _bounded(str(error))} if isinstance(error, StepdownError) else {}
    return {"exception": type(error).__name__, "at": places[-10:], **said}


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        text = value if value.isascii() else value.encode("utf-8", "replace").decode()
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return value if isinstance(value, int | float | bool) or value is None else _bounded(str(value))
