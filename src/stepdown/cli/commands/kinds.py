"""stepdown kinds: the kinds that are installed, with their options."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.catalogue import SETTINGS, KindRow, all_families, family_named, rows_of
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.errors import UnknownKind


@click.command()
@click.argument("family", required=False)
@click.argument("name", required=False)
@common
def command(home: Path | None, console: Console, family: str | None, name: str | None) -> None:
    """List what is installed of every FAMILY (student, format, loss, upstream …), or one NAME with its options."""
    chosen = [family_named(family)] if family else list(all_families().values())
    rows = [row for kinds in chosen for row in rows_of(kinds)]
    if name:
        rows = [row for row in rows if row.name == chosen[0].current(name)]
        if not rows:
            raise UnknownKind(chosen[0].what, name, chosen[0].names())
    console.result([row.as_dict() for row in rows])
    for kinds in chosen:
        of_family = [row for row in rows if row.family == kinds.what]
        if len(chosen) > 1:
            console.say(f"{kinds.what}: {', '.join(row.name for row in of_family)}")
        else:
            for row in of_family:
                _show(console, row)


def _show(console: Console, row: KindRow) -> None:
    console.say(f"{row.name}: {row.missing or row.description}{f' ({row.extra})' if row.extra else ''}")
    if row.options and row.family in SETTINGS:
        console.say(f"  {SETTINGS[row.family].format(kind=row.name)}")
    for option in row.options:
        flag = f" ({row.flags[option.name]})" if option.name in row.flags else ""
        console.say(f"  {option.name} = {option.default!r}{flag}: {option.expected}. {option.description}")
