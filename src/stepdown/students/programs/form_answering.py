"""The form of an extraction out of an exported `form.json`, and the house's own reading of outputs by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepdown.core.extraction.form import Field, Form, Role
from stepdown.core.extraction.writing import fitting
from stepdown.students.encoders.tag_answering import Answering


def read_form(folder: Path) -> tuple[Answering, dict[str, Any]]:
    """What reads outputs, and everything that the file says.

    An answer that does not fit the schemas of its form is abstained from; only then is the package jsonschema needed.
    """
    form, roles, said = form_and_roles(folder)
    return Answering(form, roles, fitting(form) if form.schemas else None), said


def form_and_roles(folder: Path) -> tuple[Form, list[Role], dict[str, Any]]:
    """What the file says: the form, how each field gets its value, and everything as it stands there."""
    said = json.loads((folder / "form.json").read_text(encoding="utf-8"))
    stated = dict(said["form"])
    fields = tuple(Field(**_tuples(each)) for each in stated.pop("fields", ()))
    form = Form(fields=fields, **_tuples(stated))
    return form, [Role(**_tuples(each)) for each in said["roles"]], said


def _tuples(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
