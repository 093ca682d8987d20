"""stepdown tasks: what is in the traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from rich.table import Table

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Field, Form
from stepdown.core.extraction.outlook import Outlook
from stepdown.project.discovery import discover, with_outlooks
from stepdown.project.home import open_home
from stepdown.project.in_force import TaskStanding, standings
from stepdown.traffic.summary import TaskSummary

MOST_FIELDS, MOST_CHOICES = 40, 6


@click.command()
@common
def command(home: Path | None, console: Console) -> None:
    """Find the tasks in the traffic: what each costs, and which look ready to step down."""
    with console.progress() as progress:
        opened = open_home(home)
        summaries = with_outlooks(opened, discover(opened, progress))
        stands = standings(opened, [one.task.name for one in summaries])
    table = Table(box=None, pad_edge=False)
    for column in ("task", "family", "calls", "spend", "per 1,000", "p50", "answer at", "verdict"):
        justify: Literal["left", "right"] = "right" if column in ("calls", "spend", "per 1,000", "p50") else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for one in summaries:
        table.add_row(*_row(one))
    console.say(table)
    for one in summaries:
        console.say(f"{one.task.name}: {one.reason}{_template(one)}")
        if one.task.name in stands:
            console.say(f"  {_standing(stands[one.task.name])}")
        if one.task.form is not None:
            console.say(f"  fields: {_fields(one.task.form)}")
        for line in _learnable(one.outlook) if one.outlook else ():
            console.say(f"  {line}")
    ready = next((one.task.name for one in summaries if one.task.family), None)
    if ready:
        console.say(f"Next: stepdown scan {ready}")
    console.result([_result(one, stands.get(one.task.name)) for one in summaries])


def _template(one: TaskSummary) -> str:
    """What `match = { template = … }` calls its prompt, where that is how its calls are told."""
    return f" (template {one.task.match.template})" if one.task.match.template else ""


def _row(one: TaskSummary) -> tuple[str, ...]:
    return (
        one.task.name,
        one.task.family or "-",
        f"{one.calls:,}",
        _money(one.spend_usd),
        _money(one.cost_per_1k),
        f"{one.latency_p50.value * 1000:,.0f} ms" if one.latency_p50 else "-",
        one.task.answer,
        one.verdict,
    )


def _standing(found: TaskStanding) -> str:
    return f"in force: the build {found.build} answers" if found.in_force else f"not in force: {found.why_not}"


def _result(one: TaskSummary, found: TaskStanding | None) -> dict[str, Any]:
    """A task as its traffic has it, and `in_force`, `build` and `why_not` of what answers it."""
    said = found or TaskStanding(in_force=False, build="", why_not="not built")
    return {**msgspec.to_builtins(one), **msgspec.to_builtins(said)}


def _fields(form: Form) -> str:
    """Every field with what it may hold."""
    shown = [f"{field.name} ({_kind(field)})" for field in form.fields[:MOST_FIELDS]]
    more = len(form.fields) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _learnable(found: Outlook) -> list[str]:
    """What a student could be taught of each field, the least first, and of how many answers all."""
    whole = f"could be learned whole: {found.share:.0%} of {found.rows:,} answers looked at"
    fields = sorted((each for each in found.fields if each.n), key=lambda each: each.share)
    lines = [f"  {each.name}: {each.share:.0%} of {each.n:,}, {each.how}" for each in fields[:MOST_FIELDS]]
    more = len(fields) - len(lines)
    return [whole, *lines, *([f"  and {more:,} more"] if more else [])]


def _kind(field: Field) -> str:
    if field.choices:
        named = ", ".join(str(choice) for choice in field.choices[:MOST_CHOICES])
        what = f"one of {named}" + (", …" if len(field.choices) > MOST_CHOICES else "")
    else:
        what = " or ".join(field.types)
    return f"list of {what}" if field.many else what


def _money(estimate: Estimate | None) -> str:
    return f"${estimate.value:,.2f}" if estimate else "-"
