"""Which tasks are in traffic, told apart and judged."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from stepdown.core.calls import Call
from stepdown.traffic.grouping import find_tasks
from stepdown.traffic.pricing import Prices
from stepdown.traffic.read import read_calls

PRICES = Prices({"m": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}})
NOUNS = ["card", "loan", "app", "fee", "pin", "transfer", "limit", "refund", "branch", "cheque"]
VERBS = ["fails", "stays", "vanished", "moved", "changed", "doubled", "expired", "grew"]


def _text(number: int) -> str:
    return f"{NOUNS[number % 10]} {VERBS[number % 8]} since day {number}{'?' if number % 2 else ''}"


def _call(number: int, prompt: str, answer: str | None, workload: str = "", system: str = "") -> Call:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    return Call(
        id=f"{workload}-{number}",
        request={"model": "m", "messages": messages},
        response={
            "model": "m",
            "choices": [{"message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": 1_000, "completion_tokens": 500},
        },
        timestamp=1.7e9 + 10 * number,
        latency_s=0.5 + number / 1e4,
        workload_id=workload,
    )


def _label(number: int) -> str:
    return f'{{"label": "{NOUNS[number % 10]}", "confidence": 0.{number % 10}}}'


@pytest.fixture(scope="module")
def shipped(shared_data: Path) -> list[Call]:
    path = shared_data / "banking77_qwen3" / "traffic.jsonl.gz"
    return [call for call in read_calls([str(path)]) if isinstance(call, Call)]


@pytest.mark.parametrize("named", [True, False])
def test_the_shipped_traffic_is_one_task(shipped: list[Call], named: bool) -> None:
    calls = shipped if named else [msgspec.structs.replace(call, workload_id="") for call in shipped]
    (summary,) = find_tasks(iter(calls), Prices({}))
    task = summary.task
    assert (summary.calls, summary.share_parsed, summary.verdict) == (13_083, 1.0, "ready")
    assert (task.family, task.answer) == ("classify", "$.category")
    assert task.template is not None
    assert task.template.slots == ("input",)
    assert {str(json.loads(call.content or "")["category"]) for call in calls} == set(task.labels)
    assert all(isinstance(task.template.cut(call.request), str) for call in calls)
    assert task.match.workload == ("banking-intent" if named else "")
    assert task.match.template == ("" if named else task.template.fingerprint)
    assert abs(summary.distinct_inputs / 13_000 - 1) < 0.06
    assert summary.spend_usd is not None
    assert 5 < summary.spend_usd.value < 60
    assert summary.calls_per_month is not None
    assert summary.latency_p50 is None
    assert summary.calls_per_month.value == pytest.approx(30.4375 * 86_400, rel=0.01)


def test_interleaved_tasks_and_free_chat_are_told_apart() -> None:
    calls = []
    for number in range(1_200):
        text = _text(number)
        calls.append(_call(3 * number, f"Classify this message of a customer: {text}\nAnswer in JSON.", _label(number)))
        calls.append(
            _call(3 * number + 1, f"Translate into German.\nTone: {VERBS[number % 8]}\nText: {text}", f"de {text}")
        )
        if number % 4 == 0:
            calls.append(_call(3 * number + 2, f"{number} {text} and what of {_text(7 * number + 3)}", f"well {text}"))
    summaries = {summary.task.name: summary for summary in find_tasks(calls, PRICES)}
    assert set(summaries) == {"classify-message-customer", "translate-german", "unmatched"}
    classify, translate = summaries["classify-message-customer"], summaries["translate-german"]
    assert (classify.calls, translate.calls, summaries["unmatched"].calls) == (1_200, 1_200, 300)
    assert (classify.task.family, classify.task.answer, classify.verdict) == ("classify", "$.label", "ready")
    assert translate.task.template is not None
    assert translate.task.template.slots == ("tone", "text")
    assert (translate.task.family, translate.verdict, summaries["unmatched"].verdict) == ("", "not yet", "stay")
    assert classify.cost_per_1k is not None
    assert classify.cost_per_1k.value == pytest.approx(2.0)
    assert classify.latency_p95 is not None
    assert classify.latency_p95.low <= classify.latency_p95.value <= classify.latency_p95.high


def test_a_constant_that_changes_with_the_day_stays_one_task() -> None:
    calls = [
        _call(
            number, f"Today is day {1 + number // 700}.\nLabel the complaint: {_text(number)}\nLabel:", _label(number)
        )
        for number in range(2_100)
    ]
    (summary,) = find_tasks(calls, PRICES)
    assert summary.calls == 2_100


def test_real_conversations_stay(shared_data: Path) -> None:
    runs = json.loads((shared_data / "tau_bench" / "historical_trajectories" / "gpt-4o-airline.json").read_text())
    calls = [
        Call(
            id=f"{run}-{turn}",
            request={"model": "gpt-4o", "messages": messages["traj"][:turn]},
            response={"model": "gpt-4o", "choices": [{"message": message}]},
        )
        for run, messages in enumerate(runs[:60])
        for turn, message in enumerate(messages["traj"])
        if message["role"] == "assistant"
    ]
    summaries = find_tasks(calls, Prices({}))
    assert sum(summary.calls for summary in summaries) == len(calls) > 500
    assert {summary.verdict for summary in summaries} == {"stay"}
    assert len(summaries) <= 2


def test_a_task_that_is_too_small_or_too_short_says_so() -> None:
    calls = [_call(number, f"Label this complaint: {_text(number)}", _label(number), "small") for number in range(50)]
    (summary,) = find_tasks(calls, PRICES)
    assert summary.verdict == "not yet"
    assert "only 50 calls" in summary.reason
    assert summary.calls_per_month is None
    assert any("less than an hour" in note for note in summary.notes)


def test_unpriced_calls_are_never_free() -> None:
    calls = [_call(number, f"Label this complaint: {_text(number)}", _label(number), "w") for number in range(300)]
    (summary,) = find_tasks(calls, Prices({}))
    assert summary.spend_usd is None
    assert summary.cost_per_1k is None
    assert any("could not be priced" in note for note in summary.notes)


def test_every_call_is_counted_once_and_the_same_seed_gives_the_same() -> None:
    calls = [
        _call(
            number, f"{'Label' if number % 3 else 'Rate'} this complaint: {_text(number)}", _label(number), system="Hi."
        )
        for number in range(900)
    ]
    first, again = find_tasks(calls, PRICES, seed=3), find_tasks(calls, PRICES, seed=3)
    assert first == again
    assert sum(summary.calls for summary in first) == 900
    assert find_tasks([], PRICES) == []
