"""columns: CSV or JSONL with a column of prompts and one of answers, their names guessed or given by options."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.errors import nearest
from stepdown.traffic.format import FormatExample, ReadOptions
from stepdown.traffic.json_records import Sizes, decoded, peek, records, share
from stepdown.traffic.record import Record, call_of
from stepdown.traffic.source import Source
from stepdown.traffic.tables import columns_of, rows
from stepdown.wires import openai_chat

EXTRA = ""

_PROMPTS = ("prompt", "input", "question", "query", "user_prompt", "user", "text", "message", "instruction")
_ANSWERS = (
    "answer",
    "completion",
    "response",
    "output",
    "reply",
    "assistant",
    "llm_answer",
    "model_answer",
    "prediction",
)
_SYSTEMS = ("system", "system_prompt", "instructions")
_IDS = ("id", "call_id", "request_id", "uid")
_TIMES = ("timestamp", "time", "created_at", "created", "date", "datetime")
_MODELS = ("model", "model_name")
_WORKLOADS = ("workload_id", "workload", "task")
_CLIENTS = ("client_id", "client", "user_id")
_CONVERSATIONS = ("conversation_id", "conversation", "session_id", "session", "thread_id", "document_id")
_TOKENS = {
    "prompt_tokens": ("prompt_tokens", "input_tokens"),
    "completion_tokens": ("completion_tokens", "output_tokens"),
}

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_NAMED = (
    "prompt_column",
    "answer_column",
    "system_column",
    "id_column",
    "timestamp_column",
    "workload_column",
    "client_column",
    "conversation_column",
    "model_column",
)


class Options(ReadOptions, frozen=True, kw_only=True):
    """The names of columns; "" is guessed from the header. model: the model's name where no column says it.

    A row needs a prompt and an answer; the others are used where there are such columns. conversation: what is
    independent of one another, kept in the request's metadata as `conversation_id`.
    """

    prompt_column: Annotated[str, msgspec.Meta(description="The column of prompts.")] = ""
    answer_column: Annotated[str, msgspec.Meta(description="The column of answers.")] = ""
    system_column: Annotated[str, msgspec.Meta(description="The column of system prompts.")] = ""
    id_column: Annotated[str, msgspec.Meta(description="The column of call ids.")] = ""
    timestamp_column: Annotated[str, msgspec.Meta(description="The column of times.")] = ""
    workload_column: Annotated[str, msgspec.Meta(description="The column of workload names.")] = ""
    client_column: Annotated[str, msgspec.Meta(description="The column of who asked.")] = ""
    conversation_column: Annotated[
        str, msgspec.Meta(description="The column of conversations or documents: what is independent of one another.")
    ] = ""
    model_column: Annotated[str, msgspec.Meta(description="The column of models.")] = ""
    model: Annotated[str, msgspec.Meta(description="The model's name where no column says it.")] = ""


def sniff(head: bytes, name: str) -> float:
    objects = peek(head)
    if objects:
        return 0.6 * share(objects, lambda one: _is_row(list(one)) and not isinstance(one.get("response"), dict))
    first = head.split(b"\n", 1)[0]
    if first.lstrip()[:1] in {b"{", b"["} or b"\0" in head:
        return 0.0
    try:
        names = columns_of(first.decode("utf-8"))
    except (UnicodeDecodeError, csv.Error):
        return 0.0
    return 0.6 if len(names) > 1 and _is_row(names) else 0.0


def read(sources: Sequence[Source], options: Options) -> Iterator[Call | Broken]:
    for source in sources:
        head = source.head().lstrip()
        if head[:1] in {b"{", b"["}:
            table = _json_rows(source, options)
        elif problem := _header_problem(head.split(b"\n", 1)[0], options):
            # Said once a file: every row would say the same.
            yield source.broken(1, problem, head.split(b"\n", 1)[0])
            continue
        else:
            table = rows(source, options.max_line_bytes)
        for item in table:
            if isinstance(item, Broken):
                yield item
            else:
                yield _call(item[1], source, item[0], options)


def examples() -> list[FormatExample]:
    table = b'id,prompt,answer,model\nc-1,"Good or bad? Fine,\nreally",good,m\n'
    message = {"role": "assistant", "content": "good"}
    response = {
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    call = Call(
        id="c-1",
        request={"model": "m", "messages": [{"role": "user", "content": "Good or bad? Fine,\nreally"}]},
        response=response,
        source="table.csv:2",
    )
    lines = b'{"id":"c-1","prompt":"Good or bad? Fine,\\nreally","answer":"good","model":"m"}\n'
    from_lines = msgspec.structs.replace(call, source="table.jsonl:1")
    return [
        FormatExample(name="table.csv", data=table, calls=(call,)),
        FormatExample(name="table.jsonl", data=lines, calls=(from_lines,)),
    ]


def _json_rows(source: Source, options: Options) -> Iterator[tuple[int, dict[str, Any]] | Broken]:
    for item in records(source, Sizes(options.max_line_bytes, options.max_document_bytes)):
        row = item if isinstance(item, Broken) else decoded(source, *item, _decode)
        if isinstance(row, Broken):
            yield row
        elif isinstance(item, tuple):
            yield item[0], row


def _header_problem(header: bytes, options: Options) -> str:
    """The reason why no row below a table's header can be read, "" for none."""
    try:
        names = columns_of(header.decode("utf-8"))
    except (UnicodeDecodeError, csv.Error):
        return ""  # the rows' reader says it better
    return _missing(names, options) if any(names) else ""


def _missing(names: Collection[str], options: Options) -> str:
    """The first column that was named, or is needed, and is not among `names`; "" where all are there."""
    for flag in _NAMED:
        column = getattr(options, flag)
        if column and column not in names:
            close = nearest(column, list(names))
            hint = f"; did you mean {close!r}?" if close else ""
            return f"there is no column {column!r}; there are {_listed(names)}{hint}"
    lower = {name.strip().lower() for name in names}
    for flag, guessed in (("prompt_column", _PROMPTS), ("answer_column", _ANSWERS)):
        if not getattr(options, flag) and not lower & set(guessed):
            field = flag.removesuffix("_column")
            return f"no column is plainly the {field}: there are {_listed(names)}; name it with --{field}-column"
    return ""


def _listed(names: Collection[str]) -> str:
    shown = [name[:40] for name in names][:20]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")


def _call(row: dict[str, Any], source: Source, line: int, options: Options) -> Call | Broken:
    prompt = _value(row, options.prompt_column, _PROMPTS)
    answer = _value(row, options.answer_column, _ANSWERS)
    if not isinstance(prompt, str) or (options.answer_column and options.answer_column not in row):
        return source.broken(line, _missing(row, options) or "the prompt is no text", _excerpt(row))
    if answer is not None and not isinstance(answer, str):
        answer = msgspec.json.encode(answer).decode()
    system = _value(row, options.system_column, _SYSTEMS)
    model = str(_value(row, options.model_column, _MODELS) or options.model)
    messages = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    messages.append({"role": "user", "content": prompt})
    conversation = _scalar(_value(row, options.conversation_column, _CONVERSATIONS))
    record = Record(
        id=_scalar(_value(row, options.id_column, _IDS)),
        timestamp=_scalar(_value(row, options.timestamp_column, _TIMES)),
        workload_id=_scalar(_value(row, options.workload_column, _WORKLOADS)),
        client_id=_scalar(_value(row, options.client_column, _CLIENTS)),
        request={"model": model, "messages": messages} if model else {"messages": messages},
        response=None if answer is None else _response(row, model, answer),
        metadata={"conversation_id": conversation} if conversation else None,
    )
    return call_of(record, source, line, openai_chat)


def _response(row: dict[str, Any], model: str, answer: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
    whole: dict[str, Any] = {"object": "chat.completion", "model": model, "choices": [choice]}
    counts = {key: _value(row, "", names) for key, names in _TOKENS.items()}
    if all(str(count).isdecimal() and len(str(count)) < 12 for count in counts.values()):
        whole["usage"] = {key: int(str(count)) for key, count in counts.items()}
    return whole


def _value(row: dict[str, Any], given: str, names: Sequence[str]) -> Any:
    """The row's value in the column given, else in the first of the names it has (in any case)."""
    if given:
        return row.get(given)
    lower = {key.strip().lower(): key for key in row}
    column = next((lower[name] for name in names if name in lower), None)
    return None if column is None else row[column]


def _scalar(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int | float) and value != "" else None


def _is_row(names: list[str]) -> bool:
    lower = {name.strip().lower() for name in names}
    return bool(lower & set(_PROMPTS)) and bool(lower & set(_ANSWERS))


def _excerpt(row: dict[str, Any]) -> bytes:
    shown = io.StringIO()
    csv.writer(shown).writerow([str(value)[:80] for value in row.values()])
    return shown.getvalue().encode()
