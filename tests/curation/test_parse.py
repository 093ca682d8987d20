from __future__ import annotations

import pytest

from stepdown.core.calls import Call
from stepdown.core.draw import Draw, pack_keys
from stepdown.core.served import Served
from stepdown.core.store import Gold
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
from stepdown.curation.options import CurationOptions
from stepdown.curation.parse import parse, read_log_probabilities

IMAGE = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]


def test_a_plain_call_becomes_an_example(make_call, task):
    call = make_call("1", "hello", " greet ", timestamp=5.0, source="a.jsonl:1", latency_s=0.5, cost_usd=0.01)
    outcome, sources = parse([call], task, CurationOptions(gold={"1": Gold(id="1", gold="salute ")}))
    example = outcome.examples[0]
    assert (example.input, example.incumbent, example.gold) == ("hello", "greet", "salute")
    assert (example.timestamp, example.latency_s, example.cost_usd) == (5.0, 0.5, 0.01)
    assert sources == {"a.jsonl": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": "  \n\t"}, "empty input"),
        ({"text": "x" * 100_001}, "input too long"),
        ({"text": "x" * 1_000_000}, "input too long"),
        ({"text": IMAGE}, "image in the request"),
        ({"text": [{"type": "input_audio"}]}, "request holds more than text"),
        ({"request": {"messages": []}}, "no messages in the request"),
        ({"request": {"messages": "hello"}}, "no messages in the request"),
        ({"response": None, "error": "429 slow down"}, "error instead of a response"),
        ({"response": None}, "no response"),
    ],
)
def test_no_usable_input_excludes_even_with_gold(make_call, task, changes, reason):
    call = make_call("1", changes.pop("text", "hello"), "a", **changes)
    outcome, _ = parse([call], task, CurationOptions(gold={"1": Gold(id="1", gold="a")}))
    assert not outcome.examples
    assert [one.reason for one in outcome.excluded] == [reason]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": None, "message": {"tool_calls": [{"id": "t"}]}}, "tool call instead of an answer"),
        ({"answer": None, "message": {"refusal": "I cannot"}}, "refused by the incumbent"),
        ({"answer": ""}, "no text in the response"),
        ({"answer": "word " * 100}, "answer cannot be parsed"),
        ({"response": {"choices": []}}, "no text in the response"),
    ],
)
def test_an_unusable_answer_stays_for_it_may_be_drawn(make_call, task, changes, reason):
    call = make_call("1", "hello", changes.pop("answer", "a"), **changes)
    options = CurationOptions()
    without, _ = parse([call], task, options)
    assert [(one.incumbent, one.gold) for one in without.examples] == [(None, None)]
    assert options.seen.unread == {"1": reason}
    with_gold, _ = parse([call], task, CurationOptions(gold={"1": Gold(id="1", gold="a")}))
    assert [(one.incumbent, one.gold) for one in with_gold.examples] == [(None, "a")]
    assert with_gold.findings["unusable_answers"] == {reason: 1}


def test_an_answer_outside_the_requests_own_enum_is_off_the_schema(make_call, task):
    schema = {"type": "object", "properties": {"category": {"enum": ["a", "b"]}}}
    request = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    answers = ['{"category":"a"}', '{"category":"c"}', "not json"]
    calls = []
    for number, answer in enumerate(answers):
        call = make_call(str(number), f"text {number}", answer)
        call.request.update(request)
        calls.append(call)
    json_task = Task(name="t", family="classify", match=Match(), answer="$.category")
    options = CurationOptions()
    outcome, _ = parse(calls, json_task, options)
    assert [one.incumbent for one in outcome.examples] == ["a", None, None]
    assert options.seen.unread == {"1": "answer off the schema", "2": "answer cannot be parsed"}


def test_several_slots_and_requested_slices(make_call):
    parts = (Part(text="Subject: "), Part(slot="subject"), Part(text="\nBody: "), Part(slot="body"))
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    task = Task(name="t", family="classify", match=Match(), template=template)
    call = make_call("1", "Subject: hi\nBody: there", "a", client_id="shop")
    call.request["metadata"] = {"country": "de"}
    outcome, _ = parse([call], task, CurationOptions(slices=("subject", "client_id", "country", "nowhere")))
    assert outcome.examples[0].input == {"subject": "hi", "body": "there"}
    assert outcome.examples[0].slices == {"subject": "hi", "client_id": "shop", "country": "de"}
    unfit, _ = parse([make_call("2", "Subject hi", "a")], task, CurationOptions())
    assert unfit.excluded[0].reason == "request does not fit the task's template"


def test_a_conversation_without_a_template_has_no_single_input(make_call, task):
    call = make_call("1", "x", "a")
    call.request["messages"] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert parse([call], task, CurationOptions())[0].excluded[0].reason == "request does not fit the task's template"
    call.request["messages"] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a"}]
    assert parse([call], task, CurationOptions())[0].examples[0].input == "a"


def test_an_id_that_comes_again_is_kept_once_whatever_the_order(make_call, task):
    calls = [make_call("1", "one", "a"), make_call("1", "two", "b"), make_call("2", "three", "a")]
    forward, _ = parse(calls, task, CurationOptions())
    backward, _ = parse(calls[::-1], task, CurationOptions())
    assert forward.examples == backward.examples
    assert [one.reason for one in forward.excluded] == ["id seen before"]


def test_secrets_in_error_texts_are_masked(make_call, task):
    key = "sk-" + "a1B2" * 8
    outcome, _ = parse([make_call("1", "x", None, response=None, error=f"bad key {key}")], task, CurationOptions())
    assert outcome.excluded[0].detail == "bad key [SECRET]"


def test_gold_that_is_no_label_is_counted(make_call, task):
    options = CurationOptions(gold={"1": Gold(id="1", gold={"not": "a label"})})
    outcome, _ = parse([make_call("1", "x", "a")], task, options)
    assert outcome.examples[0].gold is None
    assert outcome.findings["gold_that_is_no_answer"] == 1


def repeated(make_call, moments):
    """Twenty calls, and each of them once more under another id."""
    return [make_call(f"{copy}{n}", f"text {n}", "ab"[n % 2], timestamp=moments(n)) for n in range(20) for copy in "xy"]


def test_the_same_call_under_another_id_is_excluded(make_call, task):
    """It would be evidence twice, or evidence although a student has learned from it."""
    calls = repeated(make_call, lambda n: 1e9 + n * 1.7)
    outcome, _ = parse(calls, task, CurationOptions())
    assert {one.id for one in outcome.examples} == {f"x{n}" for n in range(20)}
    assert {(one.id, one.reason, one.kin) for one in outcome.excluded} == {
        (f"y{n}", "the same call under another id", f"x{n}") for n in range(20)
    }
    assert parse(calls[::-1], task, CurationOptions())[0] == outcome


def test_of_one_call_under_two_ids_the_drawn_one_stays(make_call, task):
    draw = Draw(
        task="plain",
        scope="traffic",
        unit="call",
        salt="",
        calls=40,
        units=40,
        first=0.0,
        last=0.0,
        keys=pack_keys(["y3"]),
    )
    outcome, _ = parse(repeated(make_call, lambda n: 1e9 + n * 1.7), task, CurationOptions(draws=(draw,)))
    kept = {one.id for one in outcome.examples}
    assert "y3" in kept
    assert "x3" not in kept


@pytest.mark.parametrize("moments", [lambda n: 0.0, lambda n: 1e9, lambda n: 1e9 + n // 10])
def test_repetitions_stay_where_times_are_missing_or_coarse(make_call, task, moments):
    """Two customers who ask the same on one day are two calls."""
    outcome, _ = parse(repeated(make_call, moments), task, CurationOptions())
    assert (len(outcome.examples), len(outcome.excluded)) == (40, 0)


def test_the_same_input_answered_otherwise_or_at_another_time_is_another_call(make_call, task):
    calls = repeated(make_call, lambda n: 1e9 + n * 1.7)
    calls = [
        *calls[::2],
        make_call("answered otherwise", "text 3", "c", timestamp=calls[6].timestamp),
        make_call("later", "text 3", "b", timestamp=calls[6].timestamp + 60),
    ]
    assert not parse(calls, task, CurationOptions())[0].excluded


def test_escalated_calls_are_marked(make_call, task):
    options = CurationOptions()
    parse([make_call("1", "x", "a", served=Served(selection="escalated")), make_call("2", "y", "b")], task, options)
    assert options.seen.escalated == {"1"}


def recorded(*tokens: tuple[str, float, dict[str, float]]) -> Call:
    content = [
        {"token": token, "logprob": value, "top_logprobs": [{"token": t, "logprob": v} for t, v in others.items()]}
        for token, value, others in tokens
    ]
    message = {"role": "assistant", "content": "".join(token for token, _, _ in tokens)}
    return Call(id="1", request={}, response={"choices": [{"message": message, "logprobs": {"content": content}}]})


def test_plain_label():
    call = recorded(("spam", -0.1, {"spam": -0.1, "ham": -2.5, "Sure": -4.0}))
    assert read_log_probabilities(call, "spam", ("ham", "spam")) == {"spam": -0.1, "ham": -2.5}


def test_a_label_inside_json_starts_in_the_middle_of_a_token():
    call = recorded(('{"c":', 0.0, {}), ('"ca', -0.3, {'"ca': -0.3, '"lo': -1.5}), ('rd"}', -0.01, {}))
    assert read_log_probabilities(call, "card", ("card", "loan", "other")) == {"card": -0.3, "loan": -1.5}


def test_a_token_that_begins_several_labels_counts_for_none():
    call = recorded(("top", -0.1, {"card": -2.0, "pay": -3.0}))
    labels = ("top", "card_arrival", "card_lost", "pay_in")
    assert read_log_probabilities(call, "top", labels) == {"top": -0.1, "pay_in": -3.0}


def test_none_where_none_were_recorded_or_they_are_rubbish():
    plain = Call(id="1", request={}, response={"choices": [{"message": {"content": "spam"}}]})
    assert read_log_probabilities(plain, "spam", ()) is None
    odd = {"choices": [{"message": {"content": "spam"}, "logprobs": {"content": [{"token": 5}, None]}}]}
    assert read_log_probabilities(Call(id="1", request={}, response=odd), "spam", ()) is None
    assert read_log_probabilities(recorded(("spam", float("nan"), {})), "spam", ()) is None
