"""The registry of kinds: one kind is one module; the folder is the list; third parties add theirs by entry point.

A kind's module carries what the rest of the house asks of it: the functions its family demands, an `Options` class
whose fields become command-line flags and reference docs, `EXTRA` (the optional dependency it needs, "" for none) and
`examples()` of itself, which the family's battery of tests runs unasked.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Generic, TypeVar, cast

from stepdown.core.errors import UnknownKind

K = TypeVar("K")


class Kinds(Generic[K]):
    """All kinds of one family, found by looking. `K` is the protocol that each module keeps.

    package: the folder of the built-in kinds, dotted ("stepdown.traffic.formats").
    what: the word for one of them in messages ("format"). former: names of earlier versions to those of now.
    Third parties name their module under the entry-point group "stepdown.<what>", dashes for spaces.
    """

    def __init__(self, package: str, what: str, former: Mapping[str, str] | None = None) -> None:
        self._package = package
        self._what = what
        self._former = dict(former or {})

    def current(self, name: str) -> str:
        """What a kind is called now, by any name that it had: files and settings keep the old ones."""
        return self._former.get(name, name)

    def names(self) -> list[str]:
        """Every kind's name, sorted. Nothing is imported but the folder itself."""
        return sorted(self._modules())

    def load(self, name: str) -> K:
        """The kind's module. Raises UnknownKind, which says the nearest name."""
        modules = self._modules()
        name = self.current(name)
        if name not in modules:
            raise UnknownKind(self._what, name, modules)
        return cast(K, importlib.import_module(modules[name]))

    def all(self) -> dict[str, K]:
        """Every kind by name, imported."""
        return {name: self.load(name) for name in self.names()}

    def _modules(self) -> dict[str, str]:
        folder: ModuleType = importlib.import_module(self._package)
        found = {
            entry.name: f"{self._package}.{entry.name}"
            for entry in pkgutil.iter_modules(folder.__path__)
            if not entry.name.startswith("_")
        }
        for name, module in _third_party("stepdown." + self._what.replace(" ", "-")):
            found.setdefault(name, module)
        return found


@functools.cache
def _third_party(group: str) -> tuple[tuple[str, str], ...]:
    """Names and modules of an entry-point group. Kept: reading all installed metadata takes milliseconds."""
    return tuple((point.name, point.module) for point in importlib.metadata.entry_points(group=group))
