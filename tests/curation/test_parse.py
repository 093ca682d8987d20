from __future__ import annotations

import pytest

from stepdown.core.store import Gold
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
from stepdown.curation.options import CurationOptions
from stepdown.curation.parse import parse

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
def test_an_unusable_answer_stays_only_with_gold(make_call, task, changes, reason):
    call = make_call("1", "hello", changes.pop("answer", "a"), **changes)
    without, _ = parse([call], task, CurationOptions())
    assert [(one.reason, one.id) for one in without.excluded] == [(reason, "1")]
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
    outcome, _ = parse(calls, json_task, CurationOptions())
    assert [one.incumbent for one in outcome.examples] == ["a"]
    assert sorted(one.reason for one in outcome.excluded) == ["answer cannot be parsed", "answer off the schema"]


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
