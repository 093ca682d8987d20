"""docs/reference.md: every command, setting and kind, out of the program itself.

python -m stepdown.cli.reference > docs/reference.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import click
import msgspec

from stepdown.cli.catalogue import SETTINGS, KindRow, all_families, rows_of
from stepdown.cli.commands import commands
from stepdown.cli.main import stepdown_command
from stepdown.core.contract import Contract, TaskSettings
from stepdown.core.gateway import GatewaySettings, UpstreamSettings
from stepdown.core.kinds import Kinds
from stepdown.core.limits import Limits
from stepdown.core.options import Option, fields_of
from stepdown.core.tasks import Match
from stepdown.project.settings import AuditSettings, MachineSettings, RoiSettings, Settings

TABLES: dict[str, type[msgspec.Struct]] = {
    "stepdown.toml": Settings,
    "[machine]": MachineSettings,
    "[roi]": RoiSettings,
    "[audit]": AuditSettings,
    "[gateway]": GatewaySettings,
    "[[gateway.upstreams]]": UpstreamSettings,
    "[tasks.NAME]": TaskSettings,
    "[tasks.NAME.match]": Match,
    "[tasks.NAME.limits]": Limits,
    "[tasks.NAME.contract]": Contract,
}
_WRITTEN = {"expires_after_s": ("expires_after", 'a duration such as "30d"', '"30d"')}
"""Keys that stepdown.toml has in another form than the program."""
_EVERYWHERE = {"--home", "--json", "--help"}

INTRODUCTION = """\
# Reference

Every command, every key of `stepdown.toml` and every kind with its options. This page is written by
`python -m stepdown.cli.reference`; a test fails where it is out of date. The guides say what things are for:
[contract.md](contract.md), [traffic.md](traffic.md), [students.md](students.md), [gateway.md](gateway.md).
"""


def reference() -> str:
    """The page, in Markdown."""
    lines = [INTRODUCTION, "## Commands", ""]
    lines += ["Every command also takes `--home DIR`, `--json` and `--help`.", ""]
    context = click.Context(stepdown_command, info_name="stepdown")
    for name in stepdown_command.list_commands(context):
        command = stepdown_command.get_command(context, name)
        if command is not None and _is_built_in(commands(), name):
            lines += _command(command, click.Context(command, parent=context, info_name=name))
    lines += ["## stepdown.toml", ""]
    for title, table in TABLES.items():
        lines += _table(title, table)
    lines += ["## Kinds", ""]
    lines += ["What is installed here, third parties' kinds included: `stepdown kinds [FAMILY [NAME]]`.", ""]
    for kinds in all_families().values():
        if kinds.what != "command":
            lines += _family(kinds)
    return "\n".join(lines).rstrip() + "\n"


def _is_built_in(kinds: Kinds[Any], name: str) -> bool:
    return name.replace("-", "_") in {each.rstrip("_") for each in kinds.built_in()}


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, click.Context(inner, parent=context, info_name=name))
        return
    parameters = [each for each in command.get_params(context) if not _EVERYWHERE & set(each.opts)]
    arguments = [each.make_metavar(context) for each in parameters if isinstance(each, click.Argument)]
    yield from (f"### {' '.join([context.command_path.split(' [')[0], *arguments])}", "")
    yield from (_cell(" ".join((command.help or "").split())), "")
    options = [each for each in parameters if isinstance(each, click.Option) and not each.hidden]
    if options:
        yield from ("| flag | value | default | |", "| --- | --- | --- | --- |")
        for option in options:
            value = "" if option.is_flag else option.make_metavar(context)
            default = option.default if option.show_default else None
            shown = "" if default is None or callable(default) else f"`{default}`"
            yield f"| `{', '.join(option.opts)}` | {_cell(value)} | {shown} | {_cell(option.help or '')} |"
        yield ""
    if command.epilog:
        yield from (_cell(command.epilog), "")


def _table(title: str, table: type[msgspec.Struct]) -> Iterator[str]:
    options = fields_of(table)
    introduction, described = _keys_described(table.__doc__ or "", options)
    yield from (f"### {title}", "", introduction, "")
    yield from ("| key | value | default | |", "| --- | --- | --- | --- |")
    for option in options.values():
        name, expected, default = _WRITTEN.get(option.name, (option.name, option.expected, _default(option)))
        shown = f"`{default}`" if default else ""
        yield f"| `{name}` | {_cell(expected)} | {shown} | {_cell(described.get(option.name, ''))} |"
    yield ""


def _keys_described(docstring: str, keys: Iterable[str]) -> tuple[str, dict[str, str]]:
    """A docstring's beginning, and what it says of each key: after "key: ", or "one, another: " for both."""
    text = " ".join(docstring.split())
    key = "|".join(sorted((re.escape(each) for each in keys), key=len, reverse=True))
    introduction, *rest = re.split(rf"(?:^|(?<=[.?] )|(?<=; ))((?:{key})(?:(?:,| and) (?:{key}))*): ", text)
    described: dict[str, str] = {}
    for names, said in zip(rest[::2], rest[1::2], strict=True):
        sentence = said.strip().rstrip(";").rstrip(".")
        ending = "" if sentence.endswith("?") else "."
        described |= dict.fromkeys(re.split(r", | and ", names), sentence[:1].upper() + sentence[1:] + ending)
    return introduction.strip(), described


def _family(kinds: Kinds[Any]) -> Iterator[str]:
    yield from (f"### {kinds.what}", "", f"Others add theirs under the entry-point group `{kinds.group}`.", "")
    rows = [row for row in rows_of(kinds) if _is_built_in(kinds, row.name)]
    yield from (f"| {kinds.what} | what it is | needs |", "| --- | --- | --- |")
    for row in rows:
        yield f"| `{row.name}` | {_cell(row.description)} | {f'`{row.extra}`' if row.extra else ''} |"
    yield ""
    for row in rows:
        yield from _options(row)


def _options(row: KindRow) -> Iterator[str]:
    if not row.options:
        return
    where = SETTINGS.get(row.family, "").format(kind=row.name)
    yield from (f"Options of the {row.family} `{row.name}`{f', in `{where}`' if where else ''}:", "")
    yield from ("| option | flag | value | default | |", "| --- | --- | --- | --- | --- |")
    for option in row.options:
        flag = f"`{row.flags[option.name]}`" if option.name in row.flags else ""
        described = _cell(option.description)
        yield f"| `{option.name}` | {flag} | {_cell(option.expected)} | `{_default(option)}` | {described} |"
    yield ""


def _default(option: Option) -> str:
    """As stepdown.toml would have it; "" for a table or where there is none."""
    value = option.default
    if not isinstance(value, bool | int | float | str | tuple | list):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return str(list(value)).replace("'", '"')
    return f"{value:g}" if isinstance(value, float) else (str(value) if isinstance(value, int) else f'"{value}"')


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(reference(), end="")
