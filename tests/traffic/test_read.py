"""Reading whole folders, mixed formats, real logs."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from stepdown.core.calls import Broken, Call
from stepdown.core.errors import InputError, UnknownKind, UsageError
from stepdown.traffic.read import read_calls

EXCHANGE = {
    "request": {"model": "m", "messages": [{"role": "user", "content": "hello"}]},
    "response": {"choices": [{"message": {"role": "assistant", "content": "hi"}}]},
}


def _sorted(items: list[Call | Broken]) -> tuple[list[Call], list[Broken]]:
    return [item for item in items if isinstance(item, Call)], [item for item in items if isinstance(item, Broken)]


def _line(**fields: object) -> str:
    return json.dumps({**EXCHANGE, **fields}) + "\n"


def test_the_shipped_traffic(shared_data: Path) -> None:
    calls, broken = _sorted(list(read_calls([str(shared_data / "banking77_qwen3" / "traffic.jsonl.gz")])))
    assert (len(calls), broken) == (13_083, [])
    assert len({call.id for call in calls}) == 13_083
    assert calls[16].source.endswith("traffic.jsonl.gz:17")
    assert (calls[0].model, calls[0].timestamp, calls[0].prompt_tokens) == ("Qwen/Qwen3-30B-A3B", 1751942128.0, 14011)


def test_real_batch_files_join_across_the_folder(shared_data: Path) -> None:
    folder = shared_data / "banking77_qwen3" / "round9-fewshot-nebiusqwen"
    calls, broken = _sorted(list(read_calls([str(folder / "batch-of-10"), str(folder / "batch-of-01")])))
    answered = [call for call in calls if call.response is not None]
    assert len(answered) == 10
    assert {call.id.split("@")[0] for call in answered} == {str(number) for number in range(10)}
    assert [json.loads(call.content or "")["category"] for call in answered][:2] == [
        "oos",
        "balance_not_updated_after_cheque_or_cash_deposit",
    ]
    # The single sample answers a request that its folder does not hold; nothing of it is lost.
    assert len(calls) - len(answered) == 1
    assert [("batch-of-01" in item.source, "'2'" in item.reason) for item in broken] == [(True, True)]


def test_all_real_cassettes(shared_data: Path) -> None:
    calls, broken = _sorted(list(read_calls([str(shared_data / "pydantic_ai_cassettes")])))
    reasons = Counter(item.reason.split(":")[0] for item in broken)
    assert (len(calls), dict(reasons)) == (
        234,
        {
            "not a call to a chat endpoint": 42,
            "an interaction without an HTTP request": 8,
            "no format recognises this file (known": 2,
            "the response has no list of choices": 1,
            "the response's body is not JSON": 1,
        },
    )
    assert Counter(call.provider for call in calls)["anthropic"] == 110
    assert sum(bool(call.error) for call in calls) == 7
    assert sum(bool((call.message or {}).get("tool_calls")) for call in calls) > 60
    answered = [call for call in calls if call.response is not None]
    assert all(call.message is not None for call in answered)
    assert sum(call.prompt_tokens is None for call in answered) < 10


def test_a_mixed_folder_is_read_each_file_by_its_format(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(_line(id="one"))
    (tmp_path / "b.csv").write_text("id,prompt,answer\ntwo,hello,hi\n")
    (tmp_path / ".hidden.jsonl").write_text(_line(id="never"))
    (tmp_path / "notes.md").write_text("# Notes\n")
    calls, broken = _sorted(list(read_calls([str(tmp_path)])))
    assert {call.id for call in calls} == {"one", "two"}
    assert len(broken) == 1
    assert "no format" in broken[0].reason


def test_stdin_is_sniffed_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (_line(id="one") * 3_000).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    calls, broken = _sorted(list(read_calls(["-"])))
    assert (len(calls), broken, calls[-1].source) == (3_000, [], "stdin:3000")


def test_odd_but_whole_calls_are_calls(tmp_path: Path) -> None:
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]
    tool = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [{"id": "t"}]}}]}
    lines = [
        _line(id="none", response=None),
        _line(id="error", response={"error": {"message": "too many", "type": "rate_limit"}}),
        _line(id="tool", response=tool),
        _line(id="image", request={"messages": picture}),
        _line(id="text-error", response=None, error="timeout"),
    ]
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(lines))
    calls, broken = _sorted(list(read_calls([str(path)])))
    assert not broken
    found = {call.id: call for call in calls}
    assert found["none"].response is None
    assert found["error"].error == "rate_limit: too many"
    assert found["error"].response is None
    assert found["tool"].content is None
    assert found["image"].content == "hi"
    assert found["text-error"].error == "timeout"


def test_records_without_ids_keep_stable_ones_and_their_number(tmp_path: Path) -> None:
    path = tmp_path / "no-ids.jsonl"
    path.write_text(_line() * 3 + _line(timestamp=5))
    first, again = list(read_calls([str(path)])), list(read_calls([str(path)]))
    assert first == again
    assert len({call.id for call in first if isinstance(call, Call)}) == 4


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(1751942128, 1751942128.0), (1751942128000, 1751942128.0), ("2025-07-08T02:35:28Z", 1751942128.0)],
)
def test_times_in_what_people_write(given: object, seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    path.write_text(_line(timestamp=given) + _line(timestamp="yesterday"))
    call, broken = list(read_calls([str(path)]))
    assert isinstance(call, Call)
    assert call.timestamp == seconds
    assert isinstance(broken, Broken)
    assert "'yesterday'" in broken.reason


def test_what_is_not_there_or_not_known_is_said() -> None:
    with pytest.raises(InputError, match="no file or folder"):
        list(read_calls(["nowhere.jsonl"]))
    with pytest.raises(UnknownKind, match="native"):
        list(read_calls(["-"], format="nativ"))
    with pytest.raises(UsageError, match="prompt"):
        list(read_calls(["-"], format="columns", options={"promt_column": "x"}))


def test_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("frage;antwort\nWie?;so\n")
    (call,) = read_calls([str(path)], format="columns", options={"prompt_column": "frage", "answer_column": "antwort"})
    assert isinstance(call, Call)
    assert (call.request["messages"][0]["content"], call.content) == ("Wie?", "so")


def test_an_open_quote_costs_only_its_row(tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text('id,prompt,answer\n1,"a\nb",x\n2,"never closed,x\n3,c,y\n4,d,z\n')
    calls, broken = _sorted(list(read_calls([str(path)])))
    assert [call.id for call in calls] == ["1", "3", "4"]
    assert [(item.line, item.reason) for item in broken] == [(4, "a quote is opened and never closed")]


def test_a_batch_in_any_order_with_errors_and_strangers(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    asked = [{"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body} for name in "abc"]
    good = {"custom_id": "a", "response": {"status_code": 200, "body": EXCHANGE["response"]}, "error": None}
    bad = {"custom_id": "b", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": None}
    stranger = {**good, "custom_id": "z"}
    (tmp_path / "1-output.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (bad, good, stranger)))
    (tmp_path / "2-input.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    calls, broken = _sorted(list(read_calls([str(tmp_path)])))
    found = {call.id: (call.content, call.error[:9]) for call in calls}
    assert found == {"a": ("hi", ""), "b": (None, "no"), "c": (None, "no result")}
    assert ["'z'" in item.reason for item in broken] == [True]
