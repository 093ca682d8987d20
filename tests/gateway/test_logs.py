"""Log lines are JSON, and hold nothing that anybody said."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.errors import StoreError
from stepdown.gateway.logs import JsonLines, configure_logs, log_request
from stepdown.gateway.outcome import outcome_of
from tests.gateway.exchanges import KEY, answer, exchange, task

SECRET = "my-pin-is-0815"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    written = io.StringIO()
    configure_logs(written)
    yield written
    root.handlers, root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line_without_bodies_headers_or_keys(stream: io.StringIO) -> None:
    one = exchange(answer(SECRET), said=SECRET, served=task(), key=KEY, reason="unsure", confidence=0.41)
    one.request.headers = {b"authorization": SECRET.encode(), b"x-api-key": SECRET.encode()}
    one.error = f"upstream said {SECRET}"
    log_request(one, outcome_of(one, lambda call: 0.5))
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["task"], line["rung"]) == ("request", "info", "intent", "incumbent")
    assert (line["status"], line["latency_ms"], line["key"], line["confidence"]) == (200, 250.0, "k1", 0.41)
    assert (line["prompt_tokens"], line["cost_usd"], line["failed"]) == (100, 0.5, True)
    assert line["time"].endswith("+00:00")
    assert SECRET not in stream.getvalue()
    assert KEY.prefix not in stream.getvalue()


def test_an_exception_tells_its_kind_and_place_and_only_our_own_its_words(stream: io.StringIO) -> None:
    log = logging.getLogger("stepdown.gateway")
    for error in (ValueError(f"cannot parse {SECRET}"), StoreError("The disk is gone.", "", "Plug it in.")):
        try:
            raise error
        except Exception:
            log.exception("went_wrong", extra={"id": "call-1"})
    foreign, ours = lines(stream)
    assert (foreign["exception"], foreign["id"], foreign["level"]) == ("ValueError", "call-1", "error")
    assert foreign["at"][0].startswith("test_logs.py:")
    assert SECRET not in stream.getvalue()
    assert ours["said"] == "The disk is gone. Plug it in."


def test_other_libraries_lines_are_json_too(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").warning("slow: %s", "callback")
    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("slow: callback", "asyncio")


@given(
    st.text(),
    st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.floats(), st.binary(), st.integers(), st.none())),
)
def test_every_line_is_one_json_object_on_one_line(event: str, fields: dict[str, Any]) -> None:
    record = logging.makeLogRecord({"msg": event, "name": "stepdown.gateway", "levelname": "INFO"})
    vars(record).update({name: value for name, value in fields.items() if name not in vars(record)})
    text = JsonLines().format(record)
    assert "\n" not in text
    assert json.loads(text)["level"] == "info"


def test_fields_are_bounded(stream: io.StringIO) -> None:
    logging.getLogger("stepdown.gateway").info("long", extra={"why": "x" * 10_000, "odd": ["\ud800"], "big": 1 << 80})
    (line,) = lines(stream)
    assert len(line["why"]) == 501
    assert "big" in line
