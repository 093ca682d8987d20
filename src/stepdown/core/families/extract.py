"""extract: a JSON object of fields, or a call of a tool with its arguments, out of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.dataset import Answer
from stepdown.core.extraction.answers import canonical_object, flat
from stepdown.core.extraction.form import ARGUMENTS, CALLS, TOOL, Field, Form
from stepdown.core.extraction.messages import (
    confidence_like,
    functions_in,
    is_confidence,
    object_in,
    raw_answer,
    tool_calls_in,
)
from stepdown.core.extraction.schema import type_of
from stepdown.core.extraction.stated import form_of, infer, with_absent
from stepdown.core.extraction.traits import count_informative_fields, last_message_text
from stepdown.core.extraction.wire_text import as_text, function_of
from stepdown.core.extraction.writing import is_valid, written
from stepdown.core.family import Shape
from stepdown.core.tasks import Task

LEAST_TOOL_CALLS = 0.1
"""Of a task's answers, before it is one that calls tools."""
NO_TOOL = "none"
_DECISIONS = ("intent", "category", "label", "class", "decision", "verdict", "action", "type", "topic", "status")
MAX_SLICE_CHARACTERS = 100
SHOWN_FIELDS = 8


LOSS = "exact-match"


def fits(calls: Sequence[Call]) -> float:
    """Near 1 where nearly all answers are JSON objects of two fields or more, or of values out of the input, or call
    tools; less by the share that holds free text, which nobody can take out of a text."""
    answered = [call for call in calls if call.message is not None]
    if not answered:
        return 0.0
    tools = _calls_tools(answered)
    rows = [(call, raw_answer(call, tools)) for call in answered]
    read = [(last_message_text(call), answer) for call, answer in rows if answer is not None]
    if tools:
        return len(read) / len(answered)
    real, free = count_informative_fields(read)
    if not real.more_than_a_label:
        return 0.0
    return len(read) / len(answered) * (1.0 - free)


def _calls_tools(calls: Sequence[Call]) -> bool:
    return sum(bool(tool_calls_in(call)) for call in calls) >= LEAST_TOOL_CALLS * max(1, len(calls))


def read_shape(calls: Sequence[Call], path: str = "") -> Shape:
    """The form that the requests state, else what the answers have in common.

    path: where in the JSON the answer sits; what requests state is of the whole, and is not read then.
    """
    path = path or "$"
    answered = [call for call in calls if call.message is not None]
    tools = _calls_tools(answered)
    answers = [raw for call in answered if (raw := raw_answer(call, tools, path)) is not None]
    stated = form_of((call.request for call in calls), tools) if path == "$" or tools else None
    if stated is None or not (stated.fields or stated.refused):
        form = infer(answers, tools)
        form = msgspec.structs.replace(form, schemas=stated.schemas) if stated is not None else form
    else:
        form = with_absent(stated, answers)
    return Shape(path=path, form=form if tools else _without_confidence(form, answers))


def _without_confidence(form: Form, answers: Sequence[Mapping[str, Any]]) -> Form:
    """The form without fields that only say how sure the incumbent is."""
    sure = {
        field.name
        for field in form.fields
        if {"number"} >= set(field.types) - {"integer"}
        and not field.choices
        and all(
            is_confidence(field.name, answer[field.name]) for answer in answers if answer.get(field.name) is not None
        )
        and any(field.name in answer for answer in answers)
    }
    return msgspec.structs.replace(form, fields=tuple(field for field in form.fields if field.name not in sure))


def read_answer(task: Task, call: Call) -> dict[str, Any] | None:
    """The canonical answer in a call's response; {} for a reply in words where tools could have been called."""
    return _read(task, call)[0]


def why_unread(task: Task, call: Call) -> str:
    """Why there is no answer in a call's response, "" where there is one."""
    return _read(task, call)[1]


def _read(task: Task, call: Call) -> tuple[dict[str, Any] | None, str]:
    message = call.message or {}
    form = task.form
    called = tool_calls_in(call)
    tools = bool(form.tools) if form is not None else bool(called or call.request.get("tools"))
    if called and not tools:
        return None, "tool call instead of an answer"
    if message.get("refusal"):
        return None, "refused by the incumbent"
    if not called and not call.content:
        return None, "no text in the response"
    raw = raw_answer(call, tools, task.answer)
    if raw is None:
        return None, "answer cannot be parsed"
    answer = canonical_object(_real(raw, form) if not tools else raw)
    if answer is None:
        return None, "answer cannot be parsed"
    if form is not None and not is_valid(form, answer, raw):
        return None, "answer off the schema"
    return answer, ""


def _real(raw: Mapping[str, Any], form: Form | None) -> dict[str, Any]:
    """Without what only says how sure the incumbent is."""
    known = {field.name for field in form.fields} if form is not None else set()
    return {key: value for key, value in raw.items() if key in known or not is_confidence(key, value)}


def canonical(task: Task, value: Any) -> dict[str, Any] | None:
    """A gold value, an object or its JSON text, in canonical form; None when it cannot be one."""
    if isinstance(value, str):
        value = object_in(value)
    if not isinstance(value, dict):
        return None
    if task.form is None or not task.form.tools:
        return canonical_object(_real(value, task.form))
    if isinstance(value.get(ARGUMENTS), str):
        value = {**value, ARGUMENTS: object_in(value[ARGUMENTS])}
    return canonical_object(value)


def why_unfit(task: Task, answer: Answer, request: dict[str, Any]) -> str:
    """Why an answer does not fit the task's form: fields that it does not have, or values off the schema."""
    form = task.form
    if form is None:
        return ""
    names = [field.name for field in form.fields]
    unknown = [] if form.tools else [name for name in parts(answer) if name not in names and name not in form.refused]
    if names and unknown:
        return f"It has the field {unknown[0][:60]!r}; the task has {', '.join(map(repr, names[:SHOWN_FIELDS]))}"
    for name, value in flat(answer).items():
        field = form.field(name)
        if field is not None and not _has_type(field, value):
            return f"Its field {name[:60]!r} is of another type than {' or '.join(field.types)}"
    return "" if is_valid(form, answer) else "It does not fit the schema of the task's answers"


def _has_type(field: Field, value: Any) -> bool:
    """Whether a value, or each of a list, is of the field's types."""
    if field.many != isinstance(value, list):
        return False
    types = {type_of(item) for item in (value if field.many else [value])}
    return all(kind in field.types or (kind == "integer" and "number" in field.types) for kind in types)


def write_answer(task: Task, answer: Answer, confidence: float, like: dict[str, Any]) -> dict[str, Any]:
    """The message: content with the incumbent's keys, their order, types and nulls, or tool calls with the arguments
    as JSON text. Where the incumbent states how sure it is, our calibrated confidence.

    An answer {} of a task of tools is the incumbent's text where that was always the same: `like` has it, else "".
    """
    form = task.form or Form()
    if not (form.tools if task.form is not None else functions_in(like)):
        return _as_content(task, form, answer, confidence, like)
    calls = answer.get(CALLS, [answer] if TOOL in answer else [])
    if not calls:
        content = like.get("content")
        return {"role": "assistant", "content": content if isinstance(content, str) and not functions_in(like) else ""}
    patterns = {each["name"]: str(each.get("arguments", "")) for each in functions_in(like)}
    functions = [function_of(form, call, patterns.get(call[TOOL], "")) for call in calls]
    if isinstance(like.get("function_call"), dict) and len(functions) == 1:
        return {"role": "assistant", "content": None, "function_call": functions[0]}
    tool_calls = [
        {"id": f"call_{digest_of([at, function])[:24]}", "type": "function", "function": function}
        for at, function in enumerate(functions)
    ]
    return {"role": "assistant", "content": None, "tool_calls": tool_calls}


def _as_content(
    task: Task, form: Form, answer: Mapping[str, Any], confidence: float, like: Mapping[str, Any]
) -> dict[str, Any]:
    text = str(like.get("content") or "")
    whole = object_in(text) or {}
    keys = task.answer.split(".")[1:]
    holder: Any = whole
    for key in keys[:-1]:
        holder = holder.setdefault(key, {})
    if keys:
        old = holder.get(keys[-1])
        holder[keys[-1]] = written(form, answer, old if isinstance(old, dict) else {})
    else:
        holder = whole = written(form, answer, whole)
        fields = {field.name for field in form.fields}
        for key, value in whole.items():
            if key not in fields and is_confidence(key, value):
                whole[key] = confidence_like(value, confidence)
    return {"role": "assistant", "content": as_text(whole, text)}


def like(task: Task, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first message, without what differs between them beside the fields: texts become empty, all else null."""
    first = messages[0]
    if functions_in(first):
        return {name: first[name] for name in ("role", "content", "tool_calls", "function_call") if name in first}
    contents = [each for message in messages if isinstance(each := message.get("content"), str)]
    text = contents[0] if contents else ""
    whole = None if task.form is not None and task.form.tools else object_in(text)
    if whole is None:
        return {"role": "assistant", "content": text if len(set(contents)) == 1 else ""}
    known = {field.name.split(".")[0] for field in task.form.fields} if task.form is not None else set()
    for key, value in whole.items():
        if key not in known and not is_confidence(key, value) and task.answer == "$":
            others = {
                canonical_json(answer.get(key)) for content in contents if (answer := object_in(content)) is not None
            }
            if len(others) > 1:
                whole[key] = "" if isinstance(value, str) else None
    return {"role": "assistant", "content": as_text(whole, text)}


def like_key(task: Task, answer: Answer) -> str:
    """The tool and which fields are there: what the incumbent leaves out, and in what order, depends on no more."""
    if TOOL in answer and task.form is not None and task.form.tools:
        return digest_of([answer[TOOL], sorted(flat(answer))])[:24]
    return digest_of(sorted(flat(answer)))[:24]


def slice_of(answer: Answer) -> str:
    """The tool, "none" where there is no field at all, the value of a field named as decisions are, else "answer"."""
    if not answer:
        return NO_TOOL
    if CALLS in answer and isinstance(answer[CALLS], list):
        return "several calls"
    for word in (TOOL, *_DECISIONS):
        for key, value in answer.items():
            if key.lower() == word and isinstance(value, str) and len(value) <= MAX_SLICE_CHARACTERS:
                return value
    return "answer"


def parts(answer: Answer) -> dict[str, Any]:
    """Every field with its value, hashable: lists of scalars as tuples, other lists as canonical JSON."""
    return {name: _hashable(value) for name, value in flat(answer).items()}


def _hashable(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if any(isinstance(item, dict | list) for item in value):
        return canonical_json(value).decode()
    return tuple(value)
