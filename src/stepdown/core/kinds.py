"""The registry of kinds: one kind is one module; the folder is the list; third parties add theirs by entry point.

A kind's module carries what the rest of the program asks of it: the functions its family demands, a docstring whose
first sentence describes it, `EXTRA` (the optional dependency it needs, "" or left out for none), `Options` where it has
some (`core/options.py`: they become flags, keys of stepdown.toml and docs/reference.md) and `examples()` of itself,
which the family's battery of tests runs unasked.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar, cast

from stepdown.core.errors import MissingExtra, UnknownKind

K = TypeVar("K")
_OWN = "stepdown"


@dataclass(frozen=True)
class _Place:
    """A kind's module, dotted, and the distribution that brings it."""

    module: str
    distribution: str = _OWN


class Kinds(Generic[K]):
    """All kinds of one family, found by looking. `K` is the protocol that each module keeps.

    package: the folder of the built-in kinds, dotted ("stepdown.traffic.formats").
    what: the word for one of them in messages ("format"). former: names of earlier versions to those of now.
    Third parties name their module under the entry-point group "stepdown.<what>", dashes for spaces.
    """

    def __init__(self, package: str, what: str, former: Mapping[str, str] | None = None) -> None:
        self.package = package
        self.what = what
        self._former = dict(former or {})

    @property
    def group(self) -> str:
        """The entry-point group of third parties."""
        return f"{_OWN}.{self.what.replace(' ', '-')}"

    def current(self, name: str) -> str:
        """What a kind is called now, by any name that it had: files and settings keep the old ones."""
        return self._former.get(name, name)

    def names(self) -> list[str]:
        """Every kind's name, sorted. Nothing is imported but the folder itself."""
        return sorted({**_third_party(self.group), **self._built_in()})

    def built_in(self) -> list[str]:
        """The names of those that come with stepdown, sorted."""
        return sorted(self._built_in())

    def load(self, name: str) -> K:
        """The kind's module. Raises UnknownKind, which says the nearest name; MissingExtra where its module imports a
        package that is not installed."""
        place = self._place(name)
        try:
            return cast(K, importlib.import_module(place.module))
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in (_OWN, place.module.partition(".")[0]):
                raise  # a mistake in the kind itself
            extra = _declared_extra(place.module)
            raise MissingExtra(missing, extra, f"The {self.what} {name!r}", place.distribution) from None

    def all(self) -> dict[str, K]:
        """Every kind by name, imported; without those whose packages are not installed, which say so by name alone."""
        found = {}
        for name in self.names():
            with suppress(MissingExtra):
                found[name] = self.load(name)
        return found

    def describe(self, name: str) -> str:
        """What a kind is: the first sentence of its module's docstring, without the kind's own name before it."""
        text = " ".join((self.load(name).__doc__ or "").split("\n\n")[0].split())
        own = self.current(name).rstrip("_").replace("_", "[-_]")
        text = re.sub(rf"^({_OWN} )?{own}: ", "", text)
        return re.split(r"(?<=[\w)\"])\.(?: (?=[A-Z])|$)", text)[0]

    def requires(self, name: str) -> str:
        """The optional dependency that a kind needs, as `pip install` takes it; "" for none."""
        extra = getattr(self.load(name), "EXTRA", "")
        return f"{self._place(name).distribution}[{extra}]" if extra else ""

    def _place(self, name: str) -> _Place:
        # All installed metadata is read only for what is not built in: that takes milliseconds.
        name, own = self.current(name), self._built_in()
        if name in own:
            return own[name]
        others = _third_party(self.group)
        if name not in others:
            raise UnknownKind(self.what, name, {**others, **own})
        return others[name]

    def _built_in(self) -> dict[str, _Place]:
        folder: ModuleType = importlib.import_module(self.package)
        return {
            entry.name: _Place(f"{self.package}.{entry.name}")
            for entry in pkgutil.iter_modules(folder.__path__)
            if not entry.name.startswith("_")
        }


@functools.cache
def _third_party(group: str) -> dict[str, _Place]:
    points = importlib.metadata.entry_points(group=group)
    return {each.name: _Place(each.module, each.dist.name if each.dist else each.module) for each in points}


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The error for a package that a kind imported while it ran; None where the `EXTRA` of none brings it."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        extra, module = frame.f_globals.get("EXTRA"), str(frame.f_globals.get("__name__"))
        if isinstance(extra, str) and extra:
            top = module.partition(".")[0]
            distribution = next(iter(importlib.metadata.packages_distributions().get(top, [])), top)
            missing = (error.name or "").partition(".")[0]
            found = MissingExtra(missing, extra, f"What {module} does", distribution)
    return found


def _declared_extra(module: str) -> str:
    """`EXTRA` of a module that cannot be imported, out of its source; "" where it names none."""
    found = importlib.util.find_spec(module)
    try:
        body = ast.parse(Path(found.origin).read_text(encoding="utf-8")).body if found and found.origin else []
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "EXTRA" for to in node.targets):
            value = node.value.value if isinstance(node.value, ast.Constant) else ""
            return value if isinstance(value, str) else ""
    return ""
