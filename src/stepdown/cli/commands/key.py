"""stepdown key: who may ask the gateway, for what and how much."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from stepdown.cli.console import Console
from stepdown.cli.options import Duration, common
from stepdown.core.limits import Limits
from stepdown.project.home import open_home
from stepdown.project.keys import KeyRequest, KeyView, create_key, list_keys, revoke_key


@click.group()
def command() -> None:
    """Make, list and revoke the keys by which clients ask the gateway."""


@command.command()
@click.argument("name")
@click.option("--tasks", multiple=True, metavar="NAME,…", help="The tasks that may be asked for; all when not given.")
@click.option("--models", multiple=True, metavar="NAME,…", help="The models that may be asked for; all when not given.")
@click.option("--requests-per-minute", type=float, help="A minute's worth may come at once.")
@click.option("--tokens-per-minute", type=float, help="Of prompts and answers.")
@click.option("--usd-per-day", type=float, help="What the large model's answers may cost in a day (UTC).")
@click.option("--usd-per-month", type=float, help="The same in a month.")
@click.option("--expires", "expires_s", type=Duration(), help="When the key ends, from now (30d); never if not given.")
@click.option("--may-label", is_flag=True, help="Its feedback may speak of every call, not only of its own.")
@common
def create(
    name: str,
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    expires_s: float | None,
    may_label: bool,
    home: Path | None,
    console: Console,
    **limits: float | None,
) -> None:
    """Make a key called NAME and print its token, this once: only a hash of it is kept."""
    request = KeyRequest(
        name=name,
        tasks=_listed(tasks),
        models=_listed(models),
        limits=Limits(**limits),
        expires_s=expires_s,
        may_label=may_label,
    )
    made = create_key(open_home(home), request)
    console.say(made.token)
    if made.unknown_tasks:
        console.note(f"stepdown: the project has no task {', '.join(made.unknown_tasks)} yet; see stepdown tasks.")
    if not console.json:
        console.note(f"stepdown: the token of {name!r} ({made.key.id}) is shown this once; keep it where it is used.")
    console.result({"token": made.token, **msgspec.structs.asdict(made.key)})


@command.command(name="list")
@common
def show(home: Path | None, console: Console) -> None:
    """Show every key with its scope and status."""
    keys = list_keys(open_home(home))
    table = Table(box=None, pad_edge=False)
    for column in ("name", "id", "token", "status", "scope"):
        table.add_column(column, no_wrap=column in ("id", "token"))
    for key in keys:
        table.add_row(*(Text(cell) for cell in _row(key)))
    console.say(
        table
        if keys
        else "There is no key: the gateway answers every client that reaches it. Next: stepdown key create"
    )
    console.result(keys)


@command.command()
@click.argument("name", metavar="NAME|ID")
@common
def revoke(name: str, home: Path | None, console: Console) -> None:
    """End a key. Gateways that run refuse it within seconds."""
    key = revoke_key(open_home(home), name)
    console.say(f"Revoked {key.name!r} ({key.id}).")
    console.result(key)


def _listed(given: tuple[str, ...]) -> tuple[str, ...]:
    """Names given one by one or with commas between them, each once."""
    names = (name.strip() for one in given for name in one.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _row(key: KeyView) -> tuple[str, ...]:
    standing = key.standing or (f"until {_day(key.expires_at)}" if key.expires_at is not None else "in use")
    limits = msgspec.structs.asdict(key.limits)
    may = [f"tasks {', '.join(key.tasks)}"] if key.tasks else []
    may += [f"models {', '.join(key.models)}"] if key.models else []
    may += [f"{value:g} {name.replace('_', ' ')}" for name, value in limits.items() if value is not None]
    scope = "; ".join(may) or "all"
    return (key.name, key.id, f"{key.prefix}…", standing, f"{scope}; may label" if key.may_label else scope)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
