"""What the exports of all kinds that fill in a form have in common."""

from __future__ import annotations

from pathlib import Path

import msgspec

from stepdown.core.extraction.form import Form, Role

FORM = "form.json"
STAND_INS = {
    "stepdown.students.encoders.served": "stepdown.students.programs.readings",
    "stepdown.core.students": "stepdown.students.programs.abstaining",
    "stepdown.core.canonical": "stepdown.students.programs.hashing",
}


class _Stated(msgspec.Struct, frozen=True, kw_only=True):
    form: Form
    roles: tuple[Role, ...]


def form_in(folder: Path) -> tuple[Form, tuple[Role, ...]]:
    """What an artefact's `form.json` says of its fields."""
    stated = msgspec.json.decode((folder / FORM).read_bytes(), type=_Stated)
    return stated.form, stated.roles


def packages(folder: Path) -> tuple[str, ...]:
    """What an artefact's program needs to tell whether an answer fits: nothing where its form states no schema."""
    return ("jsonschema",) if form_in(folder)[0].schemas else ()
