"""Cassettes as JSON: vcrpy's (serializers/jsonserializer.py), Ruby's vcr and betamax, beside those in YAML."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepdown.core.calls import Broken, Call
from stepdown.traffic.read import read_calls

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Good or bad? Nice"}]}
ANSWER = {"id": "r-1", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "good"}}]}
URI = "https://api.openai.com/v1/chat/completions"
HEADERS = {"Date": ["Tue, 08 Jul 2025 02:35:28 GMT"]}


def vcrpy(**answer: Any) -> dict[str, Any]:
    request = {"method": "POST", "uri": URI, "body": json.dumps(ASKED), "headers": {}}
    response = {"status": {"code": 200, "message": "OK"}, "headers": HEADERS, "body": {"string": json.dumps(ANSWER)}}
    return {"version": 1, "interactions": [{"request": request, "response": {**response, **answer}}]}


def ruby() -> dict[str, Any]:
    packed = base64.b64encode(json.dumps(ANSWER).encode()).decode()
    asked = {"method": "post", "uri": URI, "body": {"encoding": "UTF-8", "string": json.dumps(ASKED)}, "headers": {}}
    answered = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"base64_string": packed}}
    one = {"request": asked, "response": answered, "recorded_at": "Tue, 08 Jul 2025 02:35:28 GMT"}
    return {"http_interactions": [one], "recorded_with": "VCR 6.2.0"}


@pytest.mark.parametrize(
    "document", [vcrpy(), ruby(), {**ruby(), "http_interactions": ruby()["http_interactions"] * 2}]
)
@pytest.mark.parametrize("written", ["indented", "in one line", "yaml"])
def test_a_cassette_is_found_and_read_however_it_is_written(document: Any, written: str, tmp_path: Path) -> None:
    path = tmp_path / "cassette"
    text = (
        yaml.safe_dump(document)
        if written == "yaml"
        else json.dumps(document, indent=4 * (written == "indented") or None)
    )
    path.write_text(text)
    calls = list(read_calls([str(path)]))
    assert calls
    for call in calls:
        assert isinstance(call, Call)
        assert (call.content, call.timestamp, call.provider) == ("good", 1751942128.0, "openai")
        assert call.request == ASKED


def test_a_large_one_is_found_by_its_beginning(tmp_path: Path) -> None:
    whole = vcrpy(body={"string": json.dumps({**ANSWER, "padding": "x" * 200_000})})
    path = tmp_path / "cassette.json"
    path.write_text(json.dumps(whole))
    (call,) = read_calls([str(path)])
    assert isinstance(call, Call)
    assert call.content == "good"


def test_refusals_and_go_vcrs_status(tmp_path: Path) -> None:
    path = tmp_path / "cassette.json"
    path.write_text(
        json.dumps(vcrpy(status="429 Too Many Requests", code=429, body='{"error": {"message": "slow down"}}'))
    )
    (call,) = read_calls([str(path)])
    assert isinstance(call, Call)
    assert (call.error, call.response) == ("slow down", None)


def test_a_log_that_has_such_a_key_is_no_cassette(tmp_path: Path) -> None:
    line = {"request": {**ASKED, "metadata": {"interactions": []}}, "response": ANSWER}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(line) + "\n")
    (call,) = read_calls([str(path)])
    assert isinstance(call, Call)


def test_damaged_json_is_a_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "cassette.json"
    path.write_text(json.dumps(vcrpy())[:-5])
    (broken,) = read_calls([str(path)])
    assert isinstance(broken, Broken)
    assert "not a JSON cassette" in broken.reason
