"""Which task a request is of: named, by an alias, or by its prompt, in the same time for ten tasks and ten thousand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.family import families
from stepdown.core.inputs import Input
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template, input_text
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.routing import Routes
from stepdown.gateway.served import ServedTask
from stepdown.wires import anthropic_messages, openai_chat

CLASSIFY = families().load("classify")


def served(name: str, *messages: tuple[str, tuple[Part, ...]], **match: str) -> ServedTask:
    template = Template(messages=tuple(MessageTemplate(role=role, parts=parts) for role, parts in messages))
    task = Task(name=name, family="classify", match=Match(**match), template=template if messages else None)
    return ServedTask(task=task, family=CLASSIFY)


def system_task(name: str, system: str, **match: str) -> ServedTask:
    return served(name, ("system", (Part(text=system),)), ("user", (Part(slot="input"),)), **match)


def exchange(messages: list[dict[str, Any]], headers: dict[bytes, bytes] | None = None, **body: Any) -> Exchange:
    made = Exchange(Request("POST", "/v1/chat/completions", headers=headers or {}), openai_chat, 0.0, 0.0)
    made.body = {"model": "m", "messages": messages, **body}
    made.chat = openai_chat.request(made.body)
    return made


def chat(system: str, user: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


PROMPT = "Sort the letter into one of: complaint, praise, order number {}."


def found(routes: Routes, asked: Exchange) -> tuple[str, Any]:
    task, value = routes.find(asked)
    return task.name if task else "", value


def test_by_what_a_request_names() -> None:
    routes = Routes([system_task("letters", PROMPT), system_task("other", "Another prompt altogether, it is.")])
    messages = chat(PROMPT, "dear all")
    for headers, body in (
        ({b"x-stepdown-workload": b"letters"}, {}),
        ({b"x-workload-id": b"letters"}, {}),
        ({}, {"metadata": {"workload": "letters"}}),
        ({}, {"metadata": {"workload_id": "letters"}}),
        ({b"x-stepdown-workload": b"letters"}, {"metadata": {"workload": "other"}}),
    ):
        assert found(routes, exchange(messages, headers, **body)) == ("letters", "dear all")
    assert found(routes, exchange(messages, {b"x-stepdown-workload": b"other"})) == ("other", None)
    # A name that is nobody's tells nothing: the prompt does.
    assert found(routes, exchange(messages, {b"x-stepdown-workload": b"\xff no such"})) == ("letters", "dear all")
    for metadata in (None, "letters", ["letters"], {"workload": 7}, {"workload": ""}):
        assert found(routes, exchange(messages, metadata=metadata)) == ("letters", "dear all")


def test_by_a_models_alias() -> None:
    tasks = [
        system_task("letters", PROMPT, model="letters-model"),
        system_task("named", PROMPT, workload="w", model="x"),
    ]
    routes = Routes(tasks)
    assert routes.aliases == ["letters-model"]
    assert found(routes, exchange(chat(PROMPT, "a"), model="letters-model")) == ("letters", "a")
    assert found(routes, exchange(chat("something else", "a"), model="letters-model")) == ("letters", None)
    for model in (None, 7, ["letters-model"], {"a": 1}):
        found(routes, exchange(chat(PROMPT, "a"), model=model))


def test_a_task_by_its_workloads_name_and_its_own() -> None:
    routes = Routes([system_task("letters", PROMPT, workload="desk")])
    for name in (b"desk", b"letters"):
        assert found(routes, exchange(chat(PROMPT, "a"), {b"x-stepdown-workload": name})) == ("letters", "a")
    by_prompt = exchange(chat(PROMPT, "a"))
    assert found(routes, by_prompt) == ("letters", "a")
    # What the client called it is kept apart from what it was matched to.
    assert by_prompt.workload == ""


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": PROMPT}],
        [{"role": "system"}, {"role": "user"}],
        [{"role": ["system"], "content": PROMPT}, {"role": "user", "content": "a"}],
        [{"role": {"a": 1}, "content": 7}, {"role": None, "content": None}],
        [{"role": "system", "content": [{"type": "image_url"}]}, {"role": "user", "content": "a"}],
        [{"role": "system", "content": [{"type": "text", "text": 7}]}, {"role": "user", "content": "a"}],
        [{"content": PROMPT}, {"content": "a"}],
    ],
)
def test_messages_of_no_known_form_are_of_no_task(messages: list[dict[str, Any]]) -> None:
    assert found(Routes([system_task("letters", PROMPT)]), exchange(messages)) == ("", None)


def test_a_template_that_says_nothing_tells_no_task_and_a_short_one_does() -> None:
    short = served("spam", ("user", (Part(text="Spam? "), Part(slot="input"))))
    routes = Routes([system_task("short", "Sort this."), served("all", ("user", (Part(slot="input"),))), short])
    assert found(routes, exchange(chat("Sort this.", "a"))) == ("short", "a")
    assert found(routes, exchange([{"role": "user", "content": "Spam? win"}])) == ("spam", "win")
    assert found(routes, exchange([{"role": "user", "content": "Spam?  win"}]))[0] == "spam"
    assert found(routes, exchange([{"role": "user", "content": "anything"}])) == ("", None)
    assert found(routes, exchange(chat("Sort this.", "a"), {b"x-stepdown-workload": b"short"})) == ("short", "a")


def test_of_the_same_template_found_twice_the_one_that_answers_comes_first() -> None:
    async def decide(input: Input, forced: bool) -> Any:
        raise NotImplementedError

    twin = system_task("letters", PROMPT, template="1")
    certified = replace(system_task("letters-f48074", PROMPT, template="1"), decide=decide)
    for tasks in ([twin, certified], [certified, twin]):
        assert found(Routes(tasks), exchange(chat(PROMPT, "a")))[0] == "letters-f48074"
    # One that somebody named a workload for means the requests that name it.
    named = replace(system_task("named", PROMPT, workload="desk"), decide=decide)
    assert found(Routes([named, twin]), exchange(chat(PROMPT, "a")))[0] == "letters"


def test_dates_ids_and_spaces_are_as_they_come() -> None:
    parts = (Part(text="Today is "), Part(slot="_date"), Part(text=". Label this letter:\n"), Part(slot="input"))
    routes = Routes([served("letters", ("user", parts))])
    for asked in ("Today is 2026-12-01. Label this letter:\ndear", "Today  is Dec 1, 2026.\nLabel this letter: dear"):
        assert found(routes, exchange([{"role": "user", "content": asked}])) == ("letters", "dear")
    other = "Today is a holiday. Label this letter:\ndear"
    assert found(routes, exchange([{"role": "user", "content": other}])) == ("", None)


def test_the_template_that_says_more_comes_first() -> None:
    begin = "Translate what follows into French, please. "
    loose = served("loose", ("user", (Part(text=begin), Part(slot="input"))))
    strict = served("strict", ("user", (Part(text=begin + "Text: "), Part(slot="input"), Part(text="\nEnd of text."))))
    for tasks in ([loose, strict], [strict, loose]):
        routes = Routes(tasks)
        assert found(routes, exchange([{"role": "user", "content": begin + "Text: a\nEnd of text."}]))[0] == "strict"
        assert found(routes, exchange([{"role": "user", "content": begin + "b"}])) == ("loose", "b")


def many(count: int) -> list[ServedTask]:
    """Tasks whose prompts begin alike in families of a hundred, as a company's do, and in several shapes."""
    tasks = []
    for number in range(count):
        begin = f"You are assistant {number // 100} of the company. " * (1 + number % 3)
        end = f" Sort the text of desk {number} into one of its labels."
        if number % 2:
            tasks.append(system_task(f"t{number}", begin + end))
        else:
            parts = (Part(text=begin + end), Part(slot="input"), Part(text="\n\nAnswer with nothing but the label."))
            tasks.append(served(f"t{number}", ("user", parts)))
    return tasks


def request_of(task: ServedTask, text: str) -> list[dict[str, Any]]:
    template = task.task.template
    assert template is not None
    return [
        {"role": message.role, "content": "".join(part.text or text for part in message.parts)}
        for message in template.messages
    ]


@pytest.mark.slow
def test_ten_thousand_tasks_cost_no_more_than_ten() -> None:
    """Counted in templates that are looked at, not in time."""
    few, lots = many(10), many(10_000)
    looked_at = {}
    for tasks in (few, lots):
        routes = Routes(tasks)
        counts = []
        for task in tasks[:: max(1, len(tasks) // 200)]:
            asked = exchange(request_of(task, "some text"))
            counts.append(len(list(routes.candidates(asked.chat))))
            assert found(routes, asked) == (task.name, "some text")
        counts.append(len(list(routes.candidates(exchange(chat("nothing of the kind", "a")).chat))))
        looked_at[len(tasks)] = max(counts)
    assert looked_at[10_000] <= looked_at[10] + 1


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60)
CONSTANT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=120)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    messages = []
    slots = 0
    for role in draw(st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=4)):
        parts: list[Part] = []
        for _ in range(draw(st.integers(1, 4))):
            if parts and parts[-1].text:
                slots += 1
                parts.append(Part(slot=f"s{slots}"))
            else:
                parts.append(Part(text=draw(CONSTANT)))
        messages.append(MessageTemplate(role=role, parts=tuple(parts)))
    return Template(messages=tuple(messages))


def test_a_constant_may_end_in_the_space_before_an_empty_slot() -> None:
    parts = (Part(text="Say which label fits this text: "), Part(slot="text"))
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    task = ServedTask(task=Task(name="t", family="classify", match=Match(), template=template), family=CLASSIFY)
    asked = exchange([{"role": "user", "content": "Say which label fits this text: "}])
    assert found(Routes([task]), asked) == ("t", "")


@given(templates(), st.data())
def test_a_request_made_from_a_template_is_found_by_it(template: Template, data: st.DataObject) -> None:
    """Wherever it fits its template at all, round which white space it may."""
    letters = sum(letter.isalnum() for message in template.messages for part in message.parts for letter in part.text)
    task = ServedTask(task=Task(name="t", family="classify", match=Match(), template=template), family=CLASSIFY)
    messages = [
        {
            "role": message.role,
            "content": "".join(part.text or data.draw(TEXT) for part in message.parts),
        }
        for message in template.messages
    ]
    if data.draw(st.booleans()):
        for message in messages:
            message["content"] = f" \n{message['content']}\t "
    asked = exchange(messages)
    fits = template.cut(asked.chat)
    expected = ("t", fits) if fits is not None and letters >= 4 else ("", None)
    others = many(30)
    assert found(Routes([task]), asked) == expected
    assert found(Routes([*others, task]), asked) == expected
    named = exchange(messages, {b"x-stepdown-workload": b"t"})
    assert found(Routes([*others, task]), named) == ("t", fits)
    if fits is not None:
        assert isinstance(input_text(fits), str)


def test_anthropics_system_prompt_is_a_message_like_any() -> None:
    made = Exchange(Request("POST", "/v1/messages"), anthropic_messages, 0.0, 0.0)
    made.body = {"model": "m", "max_tokens": 5, "system": PROMPT, "messages": [{"role": "user", "content": "dear"}]}
    made.chat = anthropic_messages.request(made.body)
    assert found(Routes([system_task("letters", PROMPT)]), made) == ("letters", "dear")


def test_the_same_prompt_found_twice_takes_no_protection_away() -> None:
    """A task splits in two where some of its calls name a workload: the twin, which nobody gave a contract, says the
    same sentences, and a request that changes one of them is still the task's."""
    private = replace(system_task("letters", f"{PROMPT} Answer with one word alone."), privacy="redact")
    twin = system_task("letters-2", f"{PROMPT} Answer with one word alone.")
    routes = Routes([private, twin], "pass")
    asked = exchange(chat(f"{PROMPT} Reply with one word, please.", "dear all"))
    assert found(routes, asked)[0] == "letters"
    assert asked.privacy == "redact"
    # What a task of its own says too tells of neither.
    other = system_task("notes", f"{PROMPT} Then translate it into another language.")
    free = exchange(chat(f"{PROMPT} Reply with one word, please.", "dear all"))
    Routes([private, other], "pass").find(free)
    assert free.privacy == "any"
