"""A build's record as one HTML file that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stepdown.core.record import BuildRecord
from stepdown.report.format import clean, moment, soften
from stepdown.report.reading import incumbent_name
from stepdown.report.sections import (
    certificate,
    disagreements,
    frontier,
    latency_energy,
    parts,
    provenance,
    risk,
    saving,
    students,
    verdict,
)

View = Callable[[BuildRecord], dict[str, Any] | None]

_READING_ORDER: tuple[tuple[str, str, View], ...] = (
    ("frontier", "Cost against quality", frontier.view),
    ("risk", "Risk against coverage", risk.view),
    ("certificate", "The certificate", certificate.view),
    ("students", "Students", students.view),
    ("labels", "{Part} by {part}", parts.view),
    ("single_fields", "Single fields", parts.single_fields_view),
    ("latency", "Latency", latency_energy.view),
    ("saving", "Saving and return", saving.view),
    ("energy", "Energy", latency_energy.energy_view),
    ("disagreements", "Disagreements worth reading", disagreements.view),
    ("data", "Where the data came from", provenance.view),
    ("making", "How it was made", provenance.making_view),
)
"""Anchor, which also names the template, heading, and view of each section."""


@dataclass(frozen=True)
class Section:
    """A section's anchor, its heading, and its text."""

    anchor: str
    title: str
    body: Markup


def render(record: BuildRecord, note: str = "") -> str:
    """The whole report as HTML. The same record and note give the same bytes. note: what else is to be known of the
    build, in a sentence."""
    environment = _environment()
    sections = []
    for anchor, heading, view in _READING_ORDER:
        title = heading.format(part=record.part, Part=record.part.capitalize())
        values = view(record)
        if values is None:
            continue
        body = environment.get_template(f"sections/{anchor}.html.j2").render(**values)
        sections.append(Section(anchor, title, Markup(body)))  # noqa: S704 – rendered by a template that escapes
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
        note=note,
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
