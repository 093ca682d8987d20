"""The options that every command has, and how settings of a kind become flags."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from stepdown.cli.console import Console
from stepdown.core.contract import parse_duration
from stepdown.core.errors import ContractError


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--home` and `--json`; the command is given `home: Path | None` and `console: Console` first."""

    @click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        help="The project folder; the current directory when not given.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout instead of text.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(context: click.Context, /, home: Path | None, as_json: bool, **rest: Any) -> Any:
        inherited = (context.obj or {}).get("home")
        console = Console(json=as_json or bool((context.obj or {}).get("json")))
        context.ensure_object(dict)["console"] = console
        return command(home=home or inherited, console=console, **rest)

    return wrapped


class Duration(click.ParamType[float]):
    """A time such as 90s or 10m, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ContractError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[float]):
    """A day or time (ISO 8601, UTC where it says no zone), or how long ago (7d), in seconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            given = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
        try:
            return max(0.0, time.time() - parse_duration(text))
        except ContractError:
            self.fail(
                f"{text!r} is no time. Expected 2026-11-29, 2026-11-29T14:00:00Z, or 7d for a week ago.", param, ctx
            )
