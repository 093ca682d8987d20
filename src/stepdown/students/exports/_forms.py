"""What the exports of all kinds that fill in a form have in common."""

from __future__ import annotations

from pathlib import Path

from stepdown.core.extraction.form import Form, Role
from stepdown.students.form_files import FORM, FormFile, read_json

STAND_INS = {
    "stepdown.students.encoders.served": "stepdown.students.programs.readings",
    "stepdown.runtime.cascade": "stepdown.students.programs.abstaining",
    "stepdown.core.canonical": "stepdown.students.programs.hashing",
}


def form_in(folder: Path) -> tuple[Form, tuple[Role, ...]]:
    """What an artefact's `form.json` says of its fields. Raises TamperedError."""
    stated = read_json(folder, FORM, FormFile)
    return stated.form, stated.roles


def packages(folder: Path) -> tuple[str, ...]:
    """What an artefact's program needs to tell whether an answer fits: nothing where its form states no schema."""
    return ("jsonschema",) if form_in(folder)[0].schemas else ()
