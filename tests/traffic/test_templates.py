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
from stepdown.traffic.templates import Prompt, mine_template


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
    template = mine_template(prompts)
    assert [template.cut(_request(prompt)) for prompt in prompts] == values


@settings(max_examples=100, deadline=None)
@given(inputs=INPUTS.filter(lambda values: not any("Text:" in value for value in values)))
def test_two_slots_give_back_the_inputs(inputs: list[str]) -> None:
    languages = ["English", "German", "Ελληνικά", "Swiss German", "日本語"]
    values = [(languages[place % 5], value) for place, value in enumerate([*UNLIKE, *UNLIKE, *inputs])]
    prompts = [_prompt(f"Say it well.\nLanguage: {language}\nText: {value}\n\nDone.") for language, value in values]
    template = mine_template(prompts)
    assert template.slots == ("language", "text")
    cut = [template.cut(_request(prompt)) for prompt in prompts]
    assert cut == [{"language": language, "text": value} for language, value in values]


def test_inputs_may_repeat_the_delimiter_be_empty_or_many_lines() -> None:
    values = ["one", "", "two\n\n===\n\nAnswer in JSON.", "===", "three\n\nlines\nhere"]
    prompts = [_prompt(f"Ask: {value}\n\n===\n\nAnswer in JSON.") for value in values]
    template = mine_template(prompts)
    assert [template.cut(_request(prompt)) for prompt in prompts] == values


def test_slots_do_not_cut_words() -> None:
    prompts = [_prompt(f"Item {word} is what?") for word in ("cardinal", "carpet", "card", "carmine")]
    assert mine_template(prompts).messages[0].parts == (Part(text="Item "), Part(slot="input"), Part(text=" is what?"))


def test_white_space_that_may_be_there_is_no_input() -> None:
    prompts = [_prompt(f"\nBe exact.\n{space}Q: {value}") for space, value in [("", "one"), ("\n", "two"), ("", "six")]]
    template = mine_template(prompts)
    assert template.slots == ("input",)
    assert [template.cut(_request(prompt)) for prompt in prompts] == ["one", "two", "six"]
    assert template.cut({"messages": [{"role": "user", "content": "Be exact.\nreally Q: one"}]}) is None


def test_few_shot_turns_are_constant_and_system_prompts_too() -> None:
    roles = ("system", "user", "assistant", "user")
    prompts = [_prompt("Label it.", "good film", "positive", text, roles=roles) for text in ("dull", "a joy", "so so")]
    template = mine_template(prompts)
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
    template = mine_template([_prompt(requests[place]["messages"][0]["content"]) for place in chosen])
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


def _dated(month: str, day: int, number: int) -> Prompt:
    text = f"{UNLIKE[number % 3]} {number}"
    return _prompt(
        f"Today is {month}-{day:02d}. Request {number * 7919:08x}-0000-4000-8000-{number:012d}.",
        f"Label this letter with one of 77 labels (see page 1,204):\n{text}\nLabel:",
        roles=("system", "user"),
    )


def test_what_varies_by_nature_is_a_slot_though_the_sample_has_one_month() -> None:
    for days in (1, 28):
        november = [_dated("2026-11", 1 + number % days, number) for number in range(60)]
        template = mine_template(november)
        assert template.slots == ("input",)
        for prompt in (*november, _dated("2026-12", 3, 99), _dated("2027-01", 31, 7)):
            assert template.cut(_request(prompt)) is not None
        assert template.cut(_request(_dated("2026-12", 3, 98))) == f"{UNLIKE[2]} 98"
        other = _dated("2026-12", 3, 98)
        for changed in (("77 labels", "12 labels"), ("page 1,204", "page none")):
            prompt = Prompt(other.roles, (other.texts[0], other.texts[1].replace(*changed)))
            assert template.cut(_request(prompt)) is None
        spaced = Prompt(other.roles, (other.texts[0].replace(" ", "  "), other.texts[1].replace(":\n", ": ")))
        assert template.cut(_request(spaced)) == f"{UNLIKE[2]} 98"


@pytest.mark.parametrize(
    "dates",
    [
        ("1 November 2026", "3 December 2026", "1. Januar 2027"),
        ("Nov 1, 2026", "December 3rd, 2026", "Jan 4, 2027"),
        ("2026-11-01T09:30:00Z", "2026-12-03T23:59:59.123Z", "2027-01-01 00:00"),
        ("01/11/2026", "3/12/26", "31.12.2026"),
        ("Monday, November 2, 2026 at 9:30 AM", "Thursday, December 3, 2026 at 10:00 PM", "Friday, 1 January 2027"),
    ],
)
def test_dates_in_any_common_writing(dates: tuple[str, ...]) -> None:
    first, *later = dates
    template = mine_template([_prompt(f"It is {first}.\nSay what this is about: {value}") for value in UNLIKE])
    assert template.slots == ("input",)
    for date in later:
        assert template.cut(_request(_prompt(f"It is {date}.\nSay what this is about: x"))) == "x"
    assert template.cut(_request(_prompt("It is late.\nSay what this is about: x"))) is None


def test_a_number_that_differs_is_an_input_and_never_cut() -> None:
    prompts = [
        _prompt(f"Amount: {amount}\nSay which desk: {text}")
        for amount, text in zip(("1,204.50", "1,307.00", "99.10"), UNLIKE, strict=True)
    ]
    template = mine_template(prompts)
    assert [template.cut(_request(prompt)) for prompt in prompts] == [
        {"amount": amount, "say_which_desk": text}
        for amount, text in zip(("1,204.50", "1,307.00", "99.10"), UNLIKE, strict=True)
    ]
