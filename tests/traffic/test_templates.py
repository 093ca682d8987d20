"""A mined template cuts exactly what was put in."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.calls import Call
from stepdown.core.tasks import MessageTemplate, Part, Template
from stepdown.traffic.clusters import clusters
from stepdown.traffic.read import read_calls
from stepdown.traffic.templates import Prompt, mine


def _prompt(*texts: str, roles: tuple[str, ...] = ("user",)) -> Prompt:
    return Prompt(roles, texts)


def _request(prompt: Prompt) -> dict[str, Any]:
    pairs = zip(prompt.roles, prompt.texts, strict=True)
    return {"messages": [{"role": role, "content": text} for role, text in pairs]}


# Three inputs that have nothing in common keep chance out of what hypothesis adds.
UNLIKE = ["alpha", "Ωmega 7\nis two lines!", "(beta, perhaps?)"]
INPUTS = st.lists(st.text(max_size=40).filter(lambda text: text == text.strip()), max_size=12, unique=True)


@settings(max_examples=150, deadline=None)
@given(
    inputs=INPUTS,
    before=st.sampled_from(["", "Text: ", "You are an expert.\n\nNew Question: ", "<input>"]),
    after=st.sampled_from(["", "\n\n===\n\nAnswer in JSON.", "</input>", "\nAnswer:"]),
)
def test_one_slot_gives_back_the_inputs(inputs: list[str], before: str, after: str) -> None:
    values = [*inputs, *UNLIKE]
    prompts = [_prompt(before + value + after) for value in values]
    template = mine(prompts)
    assert [template.cut(_request(prompt)) for prompt in prompts] == values


@settings(max_examples=100, deadline=None)
@given(inputs=INPUTS.filter(lambda values: not any("Text:" in value for value in values)))
def test_two_slots_give_back_the_inputs(inputs: list[str]) -> None:
    languages = ["English", "German", "Ελληνικά", "Swiss German", "日本語"]
    values = [(languages[place % 5], value) for place, value in enumerate([*UNLIKE, *UNLIKE, *inputs])]
    prompts = [_prompt(f"Say it well.\nLanguage: {language}\nText: {value}\n\nDone.") for language, value in values]
    template = mine(prompts)
    assert template.slots == ("language", "text")
    cut = [template.cut(_request(prompt)) for prompt in prompts]
    assert cut == [{"language": language, "text": value} for language, value in values]


def test_inputs_may_repeat_the_delimiter_be_empty_or_many_lines() -> None:
    values = ["one", "", "two\n\n===\n\nAnswer in JSON.", "===", "three\n\nlines\nhere"]
    prompts = [_prompt(f"Ask: {value}\n\n===\n\nAnswer in JSON.") for value in values]
    template = mine(prompts)
    assert [template.cut(_request(prompt)) for prompt in prompts] == values


def test_slots_do_not_cut_words() -> None:
    prompts = [_prompt(f"Item {word} is what?") for word in ("cardinal", "carpet", "card", "carmine")]
    assert mine(prompts).messages[0].parts == (Part(text="Item "), Part(slot="input"), Part(text=" is what?"))


def test_white_space_that_may_be_there_is_no_input() -> None:
    prompts = [_prompt(f"\nBe exact.\n{space}Q: {value}") for space, value in [("", "one"), ("\n", "two"), ("", "six")]]
    template = mine(prompts)
    assert template.slots == ("input",)
    assert [template.cut(_request(prompt)) for prompt in prompts] == ["one", "two", "six"]
    assert template.cut({"messages": [{"role": "user", "content": "Be exact.\nreally Q: one"}]}) is None


def test_few_shot_turns_are_constant_and_system_prompts_too() -> None:
    roles = ("system", "user", "assistant", "user")
    prompts = [_prompt("Label it.", "good film", "positive", text, roles=roles) for text in ("dull", "a joy", "so so")]
    template = mine(prompts)
    assert [len(message.parts) for message in template.messages] == [1, 1, 1, 1]
    assert [template.cut(_request(prompt)) for prompt in prompts] == ["dull", "a joy", "so so"]


def test_two_tasks_that_share_a_preamble_are_told_apart() -> None:
    words = [
        f"{noun} number {place} went {verb}"
        for place, (noun, verb) in enumerate(zip("abcdefgh" * 5, "zyxwvuts" * 5, strict=True))
    ]
    one = [_prompt(f"You work at a bank.\n\nClassify the message: {word}") for word in words]
    two = [_prompt(f"You work at a bank.\n\nTranslate into German: {word}") for word in words]
    mixed = [prompt for pair in zip(one, two, strict=True) for prompt in pair]
    found = clusters(mixed)
    assert sorted(len(cluster.prompts) for cluster in found) == [40, 40]
    assert {cluster.template.cut(_request(cluster.prompts[0])) for cluster in found} == {words[0]}


def test_the_shipped_prompt(shared_data: Path) -> None:
    calls = list(read_calls([str(shared_data / "banking77_qwen3" / "traffic.jsonl.gz")]))
    with (shared_data / "banking77" / "train.csv").open(newline="", encoding="utf-8") as train:
        texts = [row["text"] for row in csv.DictReader(train)]
    with (shared_data / "banking77" / "test.csv").open(newline="", encoding="utf-8") as test:
        texts += [row["text"] for row in csv.DictReader(test)]
    requests = [call.request for call in calls if isinstance(call, Call)]
    chosen = np.random.default_rng(1).choice(len(requests), 100, replace=False)
    template = mine([_prompt(requests[place]["messages"][0]["content"]) for place in chosen])
    cuts = [template.cut(request) for request in requests]
    known = {text.strip() for text in texts}
    assert len(texts) == len(cuts) == 13_083
    assert [cut for cut in cuts if not isinstance(cut, str) or cut.strip() not in known] == []


@pytest.mark.parametrize("text", ["Say: x", "Say: x\n\nNow.", "x Now.", "Say: \n\nNow"])
def test_what_does_not_fit_is_not_cut(text: str) -> None:
    parts = (Part(text="Say: "), Part(slot="input"), Part(text="\n\nNow."))
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    cut = template.cut({"messages": [{"role": "user", "content": text}]})
    assert cut == ("x" if text == "Say: x\n\nNow." else None)
