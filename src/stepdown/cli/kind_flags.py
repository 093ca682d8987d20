"""The options of kinds as flags: of a format `prompt_column` is `--prompt-column`, of the student encoder `layers` is
`--encoder-layers`. They are made when a command is parsed, not when it is imported."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import click

from stepdown.core.options import Option, fields_of, options_of
from stepdown.students.kinds import student_kinds
from stepdown.traffic.format import ReadOptions, formats

Key = tuple[str, str]
"""A kind ("" where the flag is of every kind that has the option) and an option of it."""


class _KindCommand(click.Command):
    """A command with a flag for each option of some kinds; those that were set are its parameter `options`."""

    def _kind_flags(self) -> dict[Key, click.Option]:
        raise NotImplementedError

    def _given(self, values: dict[Key, Any]) -> dict[str, Any]:
        raise NotImplementedError

    @cached_property
    def _flags(self) -> dict[Key, click.Option]:
        return self._kind_flags()

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = self.params
        help_option = self.get_help_option(ctx)
        return [*own, *self._flags.values(), *([help_option] if help_option else [])]

    def invoke(self, ctx: click.Context) -> Any:
        values = {key: ctx.params.pop(flag.name or "") for key, flag in self._flags.items()}
        ctx.params["options"] = self._given({key: value for key, value in values.items() if value is not None})
        return super().invoke(ctx)


class FormatCommand(_KindCommand):
    """Given the options of formats by name. An option of one format alone has the format's name in its help."""

    def _kind_flags(self) -> dict[Key, click.Option]:
        shared, found = fields_of(ReadOptions), dict[Key, click.Option]()
        for name, module in formats().all().items():
            for option in options_of(module).values():
                note = "" if option.name in shared else f"[{name}]"
                found.setdefault(("", option.name), _flag(option.name, option, note, hidden=False))
        return found

    def _given(self, values: dict[Key, Any]) -> dict[str, Any]:
        return {name: value for (_, name), value in values.items()}


class StudentCommand(_KindCommand):
    """Given the options of student kinds by kind and name. There are many: the help says where they are listed."""

    def _kind_flags(self) -> dict[Key, click.Option]:
        return {
            (kind, option.name): _flag(f"{kind}_{option.name}", option, "", hidden=True)
            for kind, module in student_kinds().all().items()
            for option in options_of(module).values()
        }

    def _given(self, values: dict[Key, Any]) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {}
        for (kind, name), value in values.items():
            found.setdefault(kind, {})[name] = value
        return found


def flag_of(name: str) -> str:
    """The flag of an option's name."""
    return f"--{name.replace('_', '-')}"


def _flag(name: str, option: Option, note: str, hidden: bool) -> click.Option:
    # The kind's own types judge the text, with one message for flags and stepdown.toml.
    said = " ".join(part for part in (option.description, note) if part)
    metavar = {int: "INTEGER", float: "NUMBER"}.get(option.plain_type, "TEXT")
    return click.Option([flag_of(name), f"option_{name}"], type=str, help=said, metavar=metavar, hidden=hidden)


def listed(text: str) -> tuple[str, ...]:
    """Names out of "a,b"."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
