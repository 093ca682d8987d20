"""A build's record as one HTML file that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stepdown.core.record import BuildRecord
from stepdown.report.format import clean, moment, soften
from stepdown.report.reading import incumbent_name
from stepdown.report.sections import (
    certificate,
    data,
    disagreements,
    energy,
    frontier,
    labels,
    latency,
    making,
    risk,
    saving,
    single_fields,
    students,
    verdict,
)

_READING_ORDER: tuple[tuple[str, ModuleType], ...] = (
    ("Cost against quality", frontier),
    ("Risk against coverage", risk),
    ("The certificate", certificate),
    ("Students", students),
    ("{Part} by {part}", labels),
    ("Single fields", single_fields),
    ("Latency", latency),
    ("Saving and return", saving),
    ("Energy", energy),
    ("Disagreements worth reading", disagreements),
    ("Where the data came from", data),
    ("How it was made", making),
)


@dataclass(frozen=True)
class Section:
    """A section's anchor, its heading, and its text."""

    anchor: str
    title: str
    body: Markup


def render(record: BuildRecord) -> str:
    """The whole report as HTML. The same record gives the same bytes."""
    environment = _environment()
    sections = []
    for title, module in _READING_ORDER:
        anchor = module.__name__.rsplit(".", 1)[-1]
        named = title.format(part=record.part, Part=record.part.capitalize())
        seen = module.view(record)
        if seen is None:
            continue
        body = environment.get_template(f"sections/{anchor}.html.j2").render(**seen)
        sections.append(Section(anchor, named, Markup(body)))  # noqa: S704 – rendered by a template that escapes
    style = _style()
    return environment.get_template("report.html.j2").render(
        title=f"{clean(record.task)}: {clean(record.certificate.verdict)}",
        task=clean(record.task),
        incumbent=incumbent_name(record),
        created=moment(record.created_at),
        version=clean(record.stepdown_version),
        style=Markup(style),  # noqa: S704 – a file of this package
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        verdict=verdict.view(record),
        sections=sections,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("stepdown.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["soften"] = soften
    return environment


def _style() -> str:
    environment = _environment()
    loader = environment.loader
    assert loader is not None
    return "\n" + loader.get_source(environment, "report.css")[0].strip() + "\n"
