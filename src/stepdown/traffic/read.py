"""Reading logs: every file's format found by looking, every record a Call or a Broken."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stepdown.core.calls import Broken, Call
from stepdown.core.options import fields_of, options_of, read_options
from stepdown.traffic.format import Format, ReadOptions, formats
from stepdown.traffic.source import Source, sources
from stepdown.traffic.tables import columns_of


def read_calls(
    paths: Sequence[str], format: str | None = None, options: Mapping[str, Any] | None = None
) -> Iterator[Call | Broken]:
    """Every record under `paths` ("-" is stdin, a folder is walked), streamed, each as a Call or a Broken.

    format: the format of all of them; None looks into every file. options: of the format's own `Options`; one that a
    single format has alone says that the files are of that format.
    Raises InputError for a path that cannot be opened, UnknownKind for a format, UsageError for an option.
    """
    kinds = formats()
    format = format or _only_owner(kinds.all(), options or {})
    known = kinds.all() if format is None else {format: kinds.load(format)}
    chosen = {name: _options(name, kind, options or {}, alone=format is not None) for name, kind in known.items()}
    files: dict[str, list[Source]] = {}
    for source in sources(paths):
        head = source.head()
        name = format or _sniffed(known, head, source.name)
        if not head:
            # A packed file that ends before its first byte is told apart from an empty one by reading it.
            yield next((item for item in source.lines(1) if isinstance(item, Broken)), source.broken(0, "empty"))
        elif name is None:
            yield source.broken(0, _unrecognised(head, known), head)
        else:
            files.setdefault(name, []).append(source)
    for name, digest in files.items():
        yield from known[name].read(digest, chosen[name])


def _only_owner(known: Mapping[str, Format], options: Mapping[str, Any]) -> str | None:
    """The one format that has all options beyond those of every format; None where there are none such."""
    own = set(options) - set(fields_of(ReadOptions))
    owners = [name for name, kind in known.items() if own and own <= set(options_of(kind))]
    return owners[0] if len(owners) == 1 else None


def _sniffed(known: Mapping[str, Format], head: bytes, name: str) -> str | None:
    sure = {kind: module.sniff(head, name) for kind, module in known.items()} if head else {}
    best = max(sure, key=lambda kind: sure[kind], default=None)
    return best if best is not None and sure[best] > 0.0 else None


def _unrecognised(head: bytes, known: Mapping[str, Format]) -> str:
    try:
        # The head may end in the middle of a character.
        head[: max(0, len(head) - 4)].decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8, and not gzip or zstandard either"
    hint = "name one with --format"
    if columns := _table_columns(head):
        hint = f"if it is a table, name its columns ({', '.join(columns)}) with --prompt-column and --answer-column"
    return f"no format recognises this file (known: {', '.join(known)}); {hint}"


def _table_columns(head: bytes) -> list[str]:
    """The columns of what may be a table: a first line of several short names, and as many fields in the second."""
    first, _, rest = head.decode("utf-8", "replace").partition("\n")
    try:
        names, fields = columns_of(first), columns_of(rest.partition("\n")[0])
    except csv.Error:
        return []
    plain = all(0 < len(name) <= 40 and name.isprintable() for name in names)
    return names[:20] if plain and 1 < len(names) == len(fields) else []


def _options(name: str, kind: Format, given: Mapping[str, Any], alone: bool) -> Any:
    known = options_of(kind)
    own = {key: value for key, value in given.items() if alone or key in known}
    return kind.Options(**read_options(f"the format {name!r}", kind, own, from_text=True))
