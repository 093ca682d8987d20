"""Modules of the house as a folder that stands alone: side by side, their imports of one another made relative."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

STRUCTS = "stepdown.students.programs.structs"
"""Stands in for msgspec where a module has only its structs."""


def bundle(modules: Sequence[str], stand_ins: Mapping[str, str], folder: Path) -> list[Path]:
    """Copy modules, and all of the house that they import when they are loaded, into one folder; returns the files.

    modules: dotted names; the last part is the file's name. stand_ins: for a module, another that is copied under its
    name. Several students may share a folder. Raises ValueError where two modules would have one name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        short = _short(name)
        if short in written:
            if written[short] != name:
                raise ValueError(f"Got {written[short]} and {name} for one program; expected different last names.")
            continue
        written[short] = name
        source, imported = _made_relative(source_of(stand_ins.get(name, name)))
        path = folder / f"{short}.py"
        if path.exists() and path.read_text(encoding="utf-8") != source:
            raise ValueError(f"Got {name} beside another module in {path}; expected different last names.")
        path.write_text(source, encoding="utf-8")
        waiting += imported
    return [folder / f"{short}.py" for short in sorted(written)]


def source_of(module: str) -> str:
    """A module's source. Raises ValueError where it has none."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"Got the module {module!r}, which has no source; expected a module of Python.")
    return Path(found.origin).read_text(encoding="utf-8")


def _made_relative(source: str) -> tuple[str, list[str]]:
    """The source with its imports of the house rewritten, and what they import. Each stands on lines of its own."""
    lines = source.splitlines()
    imported: list[str] = []
    for node in reversed(ast.parse(source).body):
        rewritten = list(_rewritten(node, imported))
        if rewritten and isinstance(node, ast.Import | ast.ImportFrom):
            lines[node.lineno - 1 : node.end_lineno] = rewritten
    return "\n".join(lines) + "\n", imported


def _rewritten(node: ast.stmt, imported: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import) and [each.name for each in node.names] == ["msgspec"]:
        imported.append(STRUCTS)
        yield f"from . import {_short(STRUCTS)} as msgspec"
    elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stepdown."):
        names = ", ".join(f"{each.name} as {each.asname}" if each.asname else each.name for each in node.names)
        if _is_package(node.module):
            imported += [f"{node.module}.{each.name}" for each in node.names]
            yield f"from . import {names}"
        else:
            imported.append(node.module)
            yield f"from .{_short(node.module)} import {names}"


def _is_package(module: str) -> bool:
    found = importlib.util.find_spec(module)
    return found is not None and found.submodule_search_locations is not None


def _short(module: str) -> str:
    return module.rpartition(".")[2]
