"""Reading logs: every file's format found by looking, every record a Call or a Broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stepdown.core.calls import Broken, Call
from stepdown.core.errors import UsageError, nearest
from stepdown.traffic.format import Format, formats
from stepdown.traffic.source import Source, sources


def read_calls(
    paths: Sequence[str], format: str | None = None, options: Mapping[str, Any] | None = None
) -> Iterator[Call | Broken]:
    """Every record under `paths` ("-" is stdin, a folder is walked), streamed, each as a Call or a Broken.

    format: the format of all of them; None looks into every file. options: of the format's own `Options`.
    Raises InputError for a path that cannot be opened, UnknownKind for a format, UsageError for an option.
    """
    kinds = formats()
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
    for name, found in files.items():
        yield from known[name].read(found, chosen[name])


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
    return f"no format recognises this file (known: {', '.join(known)}); name one with --format"


def _options(name: str, kind: Format, given: Mapping[str, Any], alone: bool) -> Any:
    allowed = [field.name for field in msgspec.structs.fields(kind.Options)]
    unknown = [key for key in given if key not in allowed]
    if unknown and alone:
        close = nearest(unknown[0], allowed)
        raise UsageError(
            f"The format {name!r} has no option {unknown[0]!r}.",
            f"Known: {', '.join(allowed)}.",
            f"Did you mean {close!r}?" if close else "Leave it out.",
        )
    try:
        return msgspec.convert(
            {key: value for key, value in given.items() if key in allowed}, kind.Options, strict=False
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"An option of the format {name!r} cannot be read: {error}.", "", "Correct it.") from None
