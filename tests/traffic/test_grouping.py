"""Which tasks are in traffic, told apart and judged."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from stepdown.core.calls import Call
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
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


CHAT = [
    "Hello, how do you",
    "Can you tell me what",
    "Why is it that",
    "Spam is a word that",
    "I wonder if it is so that",
]


def _short(kinds: dict[str, tuple[str, ...]], count: int = 300, system: str = "") -> list[Call]:
    """Calls of prompts of one short line, with free chat between."""
    calls = []
    for number in range(count):
        for prompt, labels in kinds.items():
            text = _text(number)[: 9 + number % 30].strip()
            answer = labels[number % len(labels)]
            calls.append(_call(len(calls), prompt.format(text), answer, system=system))
        chat = f"{CHAT[number % 5]} {_text(number * 3)} {number}?"
        calls.append(_call(len(calls), chat, f"Well, {chat} is a good question, and {_text(number)}"))
    return calls


@pytest.mark.parametrize(
    "prompt", ["Spam? {}", "{}\nSpam or ham?", "Sort: {}", "is it spam or ham {}", "Is this rude?\n{}"]
)
def test_prompts_of_one_short_line_are_found(prompt: str) -> None:
    calls = _short({prompt: ("yes", "no"), "Sentiment of: {}": ("good", "bad", "so so")})
    found = find_tasks(calls, PRICES)
    assert sorted((one.calls, one.task.family) for one in found) == [(300, ""), (300, "classify"), (300, "classify")]
    for one in found:
        if one.task.family:
            assert one.task.template is not None
            assert one.task.template.slots == ("input",)


def test_chat_and_bare_inputs_are_not_taken_for_prompts() -> None:
    chat = _short({}, 1_000)
    (summary,) = find_tasks(chat, PRICES)
    assert summary.task.name == "unmatched"
    bare = [_call(number, f"{CHAT[number % 5]} {_text(number)}", _label(number)) for number in range(900)]
    (summary,) = find_tasks(bare, PRICES)
    assert summary.task.name == "unmatched"


def test_a_workload_of_short_prompts_has_a_template() -> None:
    calls = [_call(number, f"Spam? {_text(number)}", _label(number), "w") for number in range(300)]
    (summary,) = find_tasks(calls, PRICES)
    assert summary.task.template is not None
    assert summary.task.template.slots == ("input",)


def _remembered(calls: list[Call]) -> dict[str, Task]:
    return {summary.task.name: summary.task for summary in find_tasks(calls, PRICES)}


def test_what_is_known_keeps_its_name_and_its_calls() -> None:
    letters = [_call(number, f"Label this letter of ours: {_text(number)}", _label(number)) for number in range(300)]
    known = _remembered(letters)
    (name,) = known
    later = [msgspec.structs.replace(call, id=f"later-{call.id}", task=name) for call in letters]
    calls = [_call(1000 + n, f"Label this letter of ours, briefly: {_text(n)}\nLabel:", _label(n)) for n in range(300)]
    found = find_tasks([*calls, *letters, *later], PRICES, known=known)
    assert sum(one.calls for one in found) == 900
    assert {one.task.name: one.calls for one in found}[name] >= 600


def test_a_template_in_which_a_month_froze_is_widened_and_keeps_its_name() -> None:
    def calls(month: int, start: int) -> list[Call]:
        return [
            _call(n, f"Today is 2026-{month}-{1 + n % 28:02d}. Label this letter: {_text(n)}\nLabel:", _label(n))
            for n in range(start, start + 300)
        ]

    (task,) = _remembered(calls(11, 0)).values()
    parts = (
        Part(text="Today is 2026-11-"),
        Part(slot="input"),
        Part(text=". Label this letter: "),
        Part(slot="this_letter"),
        Part(text="\nLabel:"),
    )
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    frozen = msgspec.structs.replace(
        task, name="letters", template=template, match=Match(template=template.fingerprint)
    )
    (found,) = find_tasks([*calls(11, 0), *calls(12, 300)], PRICES, known={"letters": frozen})
    assert (found.task.name, found.calls) == ("letters", 600)
    assert found.task.template is not None
    assert found.task.template.slots == ("input",)
    assert found.task.match == frozen.match


def test_a_prompt_under_a_system_prompt_that_chat_has_too_is_not_hidden_by_the_chat() -> None:
    system = "You are the assistant of the company, and helpful."
    chat = [
        _call(n, f"{CHAT[n % 5]} {_text(n * 3)} {n}?", f"Well, {n} {_text(n)} and {_text(n + 1)}", system=system)
        for n in range(300)
    ]
    known = _remembered(chat)
    letters = [
        _call(1000 + n, f"Label this letter of ours: {_text(n)}\nLabel:", _label(n), system=system) for n in range(300)
    ]
    (name,) = known
    found = {one.task.name: one.calls for one in find_tasks([*chat, *letters], PRICES, known=known)}
    assert found.pop(name) == 300
    assert list(found.values()) == [300]
