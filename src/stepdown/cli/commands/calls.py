"""stepdown calls: the recorded calls, to look at or to export."""

from __future__ import annotations

import itertools
from collections import deque
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from stepdown.cli.console import Console
from stepdown.cli.options import Moment, common
from stepdown.project.call_rows import CallRow, read_calls
from stepdown.project.home import open_home

SHOWN = 20


@click.command()
@click.argument("task", required=False, default="")
@click.option(
    "--since", type=Moment(), default=0.0, help="From then on: 2026-11-29, 2026-11-29T14:00:00Z, or 7d for so long ago."
)
@click.option("--limit", type=click.IntRange(min=1), help="The newest so many; without --json 20 when not given.")
@common
def command(task: str, since: float, limit: int | None, home: Path | None, console: Console) -> None:
    """List recorded calls, of one TASK or all; with --json one JSON object a line, oldest first."""
    rows = read_calls(open_home(home), task, since)
    if console.json:
        for row in rows if limit is None else deque(rows, limit):
            console.row(row)
        return
    count = itertools.count()
    newest = deque((row for row, _ in zip(rows, count, strict=False)), limit or SHOWN)
    _show(console, newest, next(count))


def _show(console: Console, rows: deque[CallRow], total: int) -> None:
    table = Table(box=None, pad_edge=False)
    # In a narrow terminal texts give way, and what finds a call again does not.
    least = {"time": 19, "confidence": 10, "id": max((len(row.id) for row in rows), default=0)}
    for column in ("time", "task", "rung", "confidence", "input", "answer", "id"):
        table.add_column(column, no_wrap=column in least, min_width=least.get(column), overflow="ellipsis")
    for row in rows:
        answer = f"failed: {row.error}" if row.error else _short(row.answer)
        time, sure = (row.time or "-")[:19].replace("T", " "), row.served.confidence if row.served else None
        confidence = "-" if sure is None else f"{sure:.3f}"
        cells = (time, row.task or "-", row.rung, confidence, _short(row.input), answer, row.id)
        table.add_row(*(Text(cell) for cell in cells))
    console.say(table if rows else "No such calls. Next: stepdown import FILE…, or stepdown serve")
    if total > len(rows):
        console.say(f"The newest {len(rows):,} of {total:,}; --json exports all.")


def _short(value: Any, most: int = 60) -> str:
    text = " ".join(str(value if value is not None else "-").split())
    return text if len(text) <= most else text[: most - 1] + "…"
