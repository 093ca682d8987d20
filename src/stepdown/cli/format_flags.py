"""The options of the formats of logs as flags: a field of a format's `Options` is a flag of its name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click
import msgspec

from stepdown.traffic.format import ReadOptions, formats


def format_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for every option that some format has; the command is given those that were set as `options`."""
    flags = _flags()

    @functools.wraps(command)
    def wrapped(*args: Any, **given: Any) -> Any:
        options = {name: given.pop(name) for name in flags}
        return command(*args, options={key: value for key, value in options.items() if value is not None}, **given)

    # wraps() copied what click keeps on the function; the flags go below those that the command has already.
    for name, (kind, said) in reversed(flags.items()):
        click.option(f"--{name.replace('_', '-')}", name, type=kind, help=said)(wrapped)
    return wrapped


def _flags() -> dict[str, tuple[type, str]]:
    """The type and the help of every option by its name, those of one format alone with the format's name."""
    found: dict[str, tuple[type, str]] = {}
    shared = get_type_hints(ReadOptions)
    for format_name, module in formats().all().items():
        for name, hint in get_type_hints(module.Options, include_extras=True).items():
            kind, said = _described(hint)
            found.setdefault(name, (kind, said if name in shared else f"{said} [{format_name}]"))
    return found


def _described(hint: Any) -> tuple[type, str]:
    if get_origin(hint) is not Annotated:
        return hint, ""
    kind, *notes = get_args(hint)
    return kind, next((note.description or "" for note in notes if isinstance(note, msgspec.Meta)), "")
