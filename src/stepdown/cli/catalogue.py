"""All kinds of all families as rows: what `stepdown kinds` and docs/reference.md show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepdown.cli.commands import commands
from stepdown.cli.kind_flags import flag_of
from stepdown.core.errors import MissingExtra, UnknownKind
from stepdown.core.family import families, loss_kinds
from stepdown.core.kinds import Kinds
from stepdown.core.options import Option, options_of
from stepdown.curation.personal_data import detectors
from stepdown.evaluation.metric import metrics
from stepdown.gateway.upstream import upstream_kinds
from stepdown.stores.store import store_kinds
from stepdown.students.exporter import exporters
from stepdown.students.graphs import graphs
from stepdown.students.kinds import student_kinds
from stepdown.traffic.format import formats

SETTINGS = {"student": "[tasks.NAME.students.{kind}]", "upstream": "[gateway.upstreams.options]"}
"""Where the options of a family's kinds stand in stepdown.toml."""


@dataclass(frozen=True)
class KindRow:
    """A kind as people read of it. missing: why it cannot be used here, "" where it can. flags: by option."""

    family: str
    name: str
    description: str
    extra: str
    options: tuple[Option, ...]
    flags: dict[str, str]
    missing: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        options = [
            {
                "name": each.name,
                "expected": each.expected,
                "default": each.default,
                "description": each.description,
                "flag": self.flags.get(each.name, ""),
            }
            for each in self.options
        ]
        own = {"name": self.name, "description": self.description, "extra": self.extra, "missing": self.missing}
        return {"family": self.family, **own, "options": options}


def all_families() -> dict[str, Kinds[Any]]:
    """Every family of kinds by the word for one of them."""
    found: tuple[Kinds[Any], ...] = (
        formats(),
        families(),
        loss_kinds(),
        detectors(),
        student_kinds(),
        exporters(),
        graphs(),
        metrics(),
        upstream_kinds(),
        store_kinds(),
        commands(),
    )
    return {each.what: each for each in found}


def family_named(name: str) -> Kinds[Any]:
    """A family by its word, with dashes or spaces. Raises UnknownKind, which says the nearest."""
    known, name = all_families(), name.replace("-", " ").removesuffix("s")
    if name not in known:
        raise UnknownKind("family of kinds", name, known)
    return known[name]


def rows_of(kinds: Kinds[Any]) -> list[KindRow]:
    """Every kind of a family that is installed."""
    return [_row(kinds, name) for name in kinds.names()]


def _row(kinds: Kinds[Any], name: str) -> KindRow:
    shown = name.rstrip("_").replace("_", "-") if kinds.what in ("loss", "command") else name
    try:
        module = kinds.load(name)
    except MissingExtra as error:
        return KindRow(kinds.what, shown, "", "", (), {}, str(error))
    options = tuple(options_of(module).values())
    flags = {
        "format": {each.name: flag_of(each.name) for each in options},
        "student": {each.name: flag_of(f"{name}_{each.name}") for each in options},
    }
    return KindRow(kinds.what, shown, kinds.describe(name), kinds.requires(name), options, flags.get(kinds.what, {}))
