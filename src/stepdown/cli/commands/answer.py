"""stepdown answer: a task's certified cascade, by hand or over a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.calls import Broken
from stepdown.core.errors import InputError, UsageError
from stepdown.project.home import open_home
from stepdown.runtime.rows import Row, input_of, read_rows
from stepdown.serve.answer import Answerer, answer_rows

SHOWN_BROKEN = 5


@click.command()
@click.argument("task")
@click.argument("text", required=False)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Rows {id, input} as JSONL: input is a text, or an object of texts.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads per answer.")
@common
def command(task: str, text: str | None, path: Path | None, threads: int, home: Path | None, console: Console) -> None:
    """Answer one TEXT, or every row of --file, without the large model where the certificate allows it.

    Where the prompt of TASK has several inputs, TEXT is a JSON object with a text for each, by its name, as is `input`
    in a row of --file: {"subject": "…", "body": "…"}. Any other TEXT is refused there.
    """
    if (text is None) == (path is None):
        raise UsageError("Expected one TEXT or --file FILE, not both.", "", f"For example: stepdown answer {task} 'Hi'")
    answerer = Answerer(open_home(home), task, threads)
    if answerer.why_not:
        console.note(f"Everything is left to the incumbent: {answerer.why_not}")
    if path is not None:
        _answer_file(answerer, path, console)
        return
    for row in answer_rows(answerer, [Row(id="1", input=input_of(_valid(text or ""), answerer.slots))]):
        if console.json:
            console.row(row)
        else:
            console.say(_line(row))


def _answer_file(answerer: Answerer, path: Path, console: Console) -> None:
    """Every row that can be read is answered; a broken one is named and makes the command fail at the end."""
    broken: list[Broken] = []
    for row in answer_rows(answerer, _sifted(read_rows(path), broken, console)):
        console.row(row)
    if broken:
        raise InputError(
            f"{len(broken):,} lines of {path.name} could not be read as rows, the first is line {broken[0].line}: "
            f"{broken[0].reason}.",
            'Expected {"id": …, "input": a text or an object of texts} on each line.',
            "Every other row was answered; correct those lines and ask for them again.",
        )


def _sifted(rows: Iterable[Row | Broken], broken: list[Broken], console: Console) -> Iterator[Row]:
    for row in rows:
        if isinstance(row, Row):
            yield row
            continue
        if len(broken) < SHOWN_BROKEN:
            console.note(f"{row.source}:{row.line}: {row.reason}")
        broken.append(msgspec.structs.replace(row, raw=""))


def _line(row: dict[str, Any]) -> str:
    """An answer and how sure it is, or that there is none."""
    if row["answer"] is None:
        return "(no answer: no rung is in force and sure enough of one)"
    return f"{_shown(row['answer'])}  (confidence {row['confidence']:.3f}, {row['rung']})"


def _shown(answer: Any) -> str:
    """An object as JSON, all else as it is."""
    return msgspec.json.encode(answer).decode() if isinstance(answer, dict) else str(answer)


def _valid(text: str) -> str:
    """An argument that is not UTF-8 arrives with lone surrogates, which no text has; they become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
