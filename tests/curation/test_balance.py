from __future__ import annotations

import pytest

from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
from stepdown.curation.balance import balance, is_out_of_scope, labels_in_prompt


def listing(text: str) -> Task:
    message = MessageTemplate(role="user", parts=(Part(text=text), Part(slot="query")))
    return Task(name="t", family="classify", match=Match(), template=Template(messages=(message,)))


def test_entropy_and_rare_labels(make_example, task):
    examples = [make_example(f"a{n}", f"a{n}", "a") for n in range(12)] + [make_example("b", "b", "b")]
    found = balance(examples, task).findings
    assert found["labels"] == 2
    assert found["entropy_bits"] == pytest.approx(0.3912, abs=1e-4)
    assert found["rare_labels"] == {"below": 10, "count": 1, "first": ["b"]}
    even = balance([make_example(str(n), str(n), "ab"[n % 2]) for n in range(10)], task).findings
    assert (even["entropy_bits"], even["entropy_share"]) == (1.0, 1.0)


def test_labels_that_only_evidence_or_only_the_prompt_knows(make_example):
    task = listing("Pick one:\n- a\n- b\n- oos\n- never\n\nEnsure:\n- valid JSON\n- no prose\n\n")
    examples = [make_example("1", "x", "a"), make_example("2", "y", "oos"), make_example("3", "z", "b", split="test")]
    found = balance(examples, task).findings
    assert found["labels_in_evidence_never_learned"]["first"] == ["b"]
    assert found["labels_in_prompt_never_seen"]["first"] == ["never"]
    assert found["out_of_scope_labels"] == ["oos"]


def test_the_shipped_prompt_lists_its_labels(banking):
    seen = {gold.gold for gold in banking.gold.values()}
    listed = labels_in_prompt(banking.task, seen)
    assert len(listed) == 58
    assert listed <= seen


@pytest.mark.parametrize("label", ["OOS", "Out of scope", "none-of-the-above", "Other", "N/A", "no match"])
def test_names_that_say_none_of_these(label):
    assert is_out_of_scope(label)


@pytest.mark.parametrize("label", ["other_fees", "none_pizza", "unknown_charge", "card"])
def test_names_that_do_not(label):
    assert not is_out_of_scope(label)


def test_answers_that_are_objects_are_counted_by_their_slice(make_example):
    calls = [{"tool": "book", "arguments": {"guests": n}} for n in range(12)] + [{"tool": "find"}, {}]
    task = Task(name="t", family="extract", match=Match())
    found = balance([make_example(str(n), str(n), call) for n, call in enumerate(calls)], task).findings
    assert found["labels"] == 3
    assert found["rare_labels"]["first"] == ["find", "none"]


def test_nothing_to_count(task):
    assert balance([], task).findings["labels"] == 0
