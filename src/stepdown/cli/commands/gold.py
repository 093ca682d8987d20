"""stepdown gold: the trusted answers there are."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.gold_rows import GoldRow, RemoveRequest, list_gold, remove_gold
from stepdown.project.home import open_home

SHOWN = 200


@click.group()
def command() -> None:
    """List the gold answers, and remove some."""


@command.command(name="list")
@click.argument("task", required=False, default="")
@common
def show(task: str, home: Path | None, console: Console) -> None:
    """Show the gold, of one TASK or all: where it comes from, and whether its call is evidence."""
    rows = list_gold(open_home(home), task)
    table = Table(box=None, pad_edge=False)
    for column in ("id", "task", "gold", "split", "labelled because", "from", "evidence"):
        table.add_column(column, no_wrap=column == "id")
    for row in rows[:SHOWN]:
        table.add_row(*(Text(cell) for cell in _cells(row)))
    console.say(table if rows else "There is no gold. Next: stepdown import --gold FILE")
    if len(rows) > SHOWN:
        console.say(f"The first {SHOWN:,} of {len(rows):,}; --json shows all.")
    console.result(rows)


@command.command()
@click.argument("names", metavar="ID…", nargs=-1, required=True)
@click.option("--evidence", is_flag=True, help="Also gold of calls that were drawn as evidence; the journal says so.")
@click.option("--reason", default="", help="Why, for the journal.")
@common
def remove(names: tuple[str, ...], evidence: bool, reason: str, home: Path | None, console: Console) -> None:
    """Remove the gold of calls, named by their IDs or by those of their responses. The journal keeps which."""
    done = remove_gold(open_home(home), RemoveRequest(names=names, evidence=evidence, reason=reason[:500]))
    calls = "call" if len(done.removed) == 1 else "calls"
    console.say(f"Removed the gold of {len(done.removed):,} {calls}.")
    if done.evidence:
        console.say(f"{len(done.evidence):,} of them are evidence: they count as unlabelled in the next build.")
    for task in done.certificates:
        console.say(f"{task}: the certificate in force rests on some of it. It stands on what was tested.")
    console.result(done)


def _cells(row: GoldRow) -> tuple[str, ...]:
    gold = row.gold if isinstance(row.gold, str) else str(row.gold)
    shown = gold if len(gold) <= 60 else gold[:59] + "…"
    return row.id, row.task or "-", shown, row.split or "-", row.basis or "-", row.source, "yes" if row.drawn else "-"
