"""Calls → examples: cut the input out of the prompt, read answer and log-probabilities, join gold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example, Excluded
from stepdown.core.draw import Draw
from stepdown.core.family import Family, families
from stepdown.core.tasks import SlotValues, Task, input_text, is_empty, message_text
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome
from stepdown.curation.personal_data import mask
from stepdown.curation.units import unit_names

MAX_DETAIL_CHARACTERS = 200
FINE_TIMES = 0.9
"""The share of inputs with a timestamp of their own from which the same input at the same time is the same call."""

_CALL_FIELDS = ("client_id", "workload_id", "provider", "model")


def parse(calls: Iterable[Call], task: Task, options: CurationOptions) -> tuple[Outcome, Counter[str]]:
    """One example per usable call, ordered by time then id; and the number of calls per source file.

    A call whose input cannot be used is excluded. One whose answer cannot be used stays, with incumbent None: it may be
    evidence, in which it counts; without gold it can be nothing else.
    """
    family = families().load(task.family)
    examples: list[Example] = []
    excluded: list[Excluded] = []
    answers: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    unreadable_gold = 0
    for call in calls:
        sources[call.source.rpartition(":")[0] or call.source] += 1
        text, unusable = _read_input(call, task, options)
        if text is None:
            excluded.append(Excluded(id=call.id, reason=unusable, detail=mask(call.error[:MAX_DETAIL_CHARACTERS])))
            continue
        answer, problem = _read_answer(call, task, family)
        gold = _read_gold(call.id, task, family, options)
        unreadable_gold += gold is None and call.id in options.gold
        if problem:
            answers[problem] += 1
            options.seen.unread[call.id] = problem
        if call.selection == "escalated":
            options.seen.escalated.add(call.id)
        if call.selection == "holdback":
            options.seen.holdback.add(call.id)
        if names := unit_names(call, options.unit):
            options.seen.unit_names[call.id] = names
        examples.append(_example(call, task, text, answer, gold, options))
    examples, repeated = _order(examples, options.draws)
    findings: dict[str, Any] = {"unusable_answers": dict(sorted(answers.items()))}
    if unreadable_gold:
        findings["gold_that_is_no_answer"] = unreadable_gold
    return Outcome(examples, excluded + repeated, findings), sources


def _read_input(call: Call, task: Task, options: CurationOptions) -> tuple[SlotValues | None, str]:
    # A failed request says nothing of how well the incumbent answers; counting it as a loss would flatter the students.
    if call.error:
        return None, "error instead of a response"
    if call.response is None:
        return None, "no response"
    value = task.template.cut(call.request) if task.template else _only_text(call.request)
    if value is None:
        return None, _why_uncut(call.request)
    text = input_text(value)
    if is_empty(value):
        return None, "empty input"
    if len(text) > options.max_characters:
        return None, "input too long"
    return _valid(value), ""


def _only_text(request: dict[str, Any]) -> str | None:
    messages = request.get("messages")
    if not isinstance(messages, list):
        return None
    user_messages = [message for message in messages if isinstance(message, dict) and message.get("role") == "user"]
    answered = any(isinstance(message, dict) and message.get("role") in ("assistant", "tool") for message in messages)
    return message_text(user_messages[0]) if len(user_messages) == 1 and not answered else None


def _why_uncut(request: dict[str, Any]) -> str:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return "no messages in the request"
    parts = [
        part.get("type")
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict)
    ]
    if any(isinstance(kind, str) and "image" in kind for kind in parts):
        return "image in the request"
    if any(kind != "text" for kind in parts):
        return "request holds more than text"
    return "request does not fit the task's template"


def _valid(value: SlotValues) -> SlotValues:
    """The text with lone surrogates, which UTF-8 cannot encode, replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return {str(_valid(name)): str(_valid(text)) for name, text in value.items()}


def _read_answer(call: Call, task: Task, family: Family) -> tuple[Answer | None, str]:
    answer = family.read_answer(task, call)
    return answer, family.why_unread(task, call) if answer is None else ""


def _read_gold(call_id: str, task: Task, family: Family, options: CurationOptions) -> Answer | None:
    known = options.gold.get(call_id)
    return None if known is None else family.canonical(task, known.gold)


def _example(
    call: Call, task: Task, text: SlotValues, answer: Answer | None, gold: Answer | None, options: CurationOptions
) -> Example:
    return Example(
        id=call.id,
        input=text,
        incumbent=answer,
        gold=gold,
        timestamp=call.timestamp,
        cost_usd=call.cost_usd,
        latency_s=call.latency_s,
        judged=options.verdicts.get(call.id) if answer is not None else None,
        log_probabilities=read_log_probabilities(call, answer, task.labels) if isinstance(answer, str) else None,
        slices=_slices(call, text, options.slices),
        gold_basis=options.gold[call.id].basis if gold is not None else "",
    )


def _slices(call: Call, value: SlotValues, names: tuple[str, ...]) -> dict[str, str]:
    metadata = call.request.get("metadata")
    slices: dict[str, str] = {}
    for name in names:
        if isinstance(value, dict) and name in value:
            slices[name] = value[name][:MAX_DETAIL_CHARACTERS]
        elif name in _CALL_FIELDS:
            slices[name] = str(getattr(call, name))
        elif isinstance(metadata, dict) and name in metadata:
            slices[name] = str(metadata[name])[:MAX_DETAIL_CHARACTERS]
    return slices


def _order(examples: list[Example], draws: Sequence[Draw]) -> tuple[list[Example], list[Excluded]]:
    """By time, then id. An id that comes again is excluded, and so is one call under another id: the same input and
    answer at the same moment. Which one stays does not depend on the order of arrival; one that was drawn does."""
    times = Counter(example.id for example in examples)
    examples.sort(
        key=lambda example: (example.timestamp, example.id, canonical_json(example) if times[example.id] > 1 else b"")
    )
    by_content = _tells_calls_apart(examples)
    drawn = {one.id for one in examples if any(draw.place(one.id) is not None for draw in draws)}
    seen: dict[Any, str] = {}
    kept, repeated = [], []
    for example in sorted(examples, key=lambda example: example.id not in drawn):
        content = (example.timestamp, example.text, canonical_json(example.incumbent))
        if example.id in seen:
            repeated.append(Excluded(id=example.id, reason="id seen before", kin=example.id))
        elif by_content and example.timestamp > 0 and content in seen:
            repeated.append(Excluded(id=example.id, reason="the same call under another id", kin=seen[content]))
        else:
            kept.append(example)
            seen[content] = example.id
        seen[example.id] = example.id
    kept.sort(key=lambda example: (example.timestamp, example.id))
    return kept, repeated


def _tells_calls_apart(examples: list[Example]) -> bool:
    """Whether different inputs hardly ever share a timestamp."""
    moments = {(example.timestamp, example.text) for example in examples if example.timestamp > 0}
    return len({moment for moment, _ in moments}) >= FINE_TIMES * len(moments)


def read_log_probabilities(call: Call, answer: str, labels: tuple[str, ...]) -> dict[str, float] | None:
    """Natural-log probabilities by label, or None where the call recorded none (`logprobs` of the OpenAI shape).

    They are read at the first token of the answer. An alternative token counts for a label only when exactly one label
    begins with it; what several labels share is left out, so the probabilities may sum to less than 1.
    """
    tokens = _tokens(call)
    start = _start_of(answer, call.content or "", tokens)
    if start is None:
        return None
    position, prefix = start
    known = {*labels, answer}
    log_probabilities: dict[str, float] = {}
    for alternative in (tokens[position], *_alternatives(tokens[position])):
        token, value = alternative.get("token"), alternative.get("logprob")
        if not isinstance(token, str) or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        begins = token[prefix:].strip().strip('"')
        fitting = [label for label in known if begins and label.startswith(begins)]
        if token == tokens[position].get("token"):
            log_probabilities[answer] = float(value)
        elif len(fitting) == 1 and fitting[0] != answer:
            log_probabilities[fitting[0]] = max(float(value), log_probabilities.get(fitting[0], -math.inf))
    return log_probabilities or None


def _tokens(call: Call) -> list[dict[str, Any]]:
    choices = (call.response or {}).get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    recorded = choice.get("logprobs") if isinstance(choice, dict) else None
    content = recorded.get("content") if isinstance(recorded, dict) else None
    tokens = content if isinstance(content, list) else []
    return [token for token in tokens if isinstance(token, dict) and isinstance(token.get("token"), str)]


def _alternatives(token: dict[str, Any]) -> list[dict[str, Any]]:
    listed = token.get("top_logprobs")
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _start_of(answer: str, content: str, tokens: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Which token holds the answer's first character, and how many characters of that token come before it."""
    at = content.rfind(answer)
    if at < 0:
        return None
    passed = 0
    for position, token in enumerate(tokens):
        length = len(token["token"])
        if passed <= at < passed + length:
            return position, at - passed
        passed += length
    return None
