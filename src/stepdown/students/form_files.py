"""Files of students that fill in a form: the form with its roles, JSON that is read back checked, an n-gram table."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from stepdown.core.errors import TamperedError, needs
from stepdown.core.extraction.form import Form, Role
from stepdown.students.ngram_table import NgramTable
from stepdown.students.ngrams import Vocabulary
from stepdown.students.quantised import QuantisedRows

FORM = "form.json"
T = TypeVar("T")


class FormFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `form.json` holds: how outputs are read."""

    form: Form
    roles: tuple[Role, ...]


def read_json(folder: Path, name: str, type_: type[T]) -> T:
    """A file of an artefact. Raises TamperedError where it cannot be read."""
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=type_)
    except msgspec.DecodeError as error:
        raise TamperedError(
            f"{name} in {folder} cannot be read ({error}).",
            "It holds what the student fills in and knows.",
            "Build the student again.",
        ) from None


def open_ngrams(folder: Path, name: str) -> NgramTable:
    """The heads of closed fields: n-grams in `name`.json, weights in `name`.safetensors. Raises TamperedError."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / f"{name}.safetensors")
    stored = QuantisedRows(arrays["weights"], arrays["scales"])
    return NgramTable(read_json(folder, f"{name}.json", Vocabulary), stored, arrays["squares"], arrays["bias"])


def require_scipy(purpose: str) -> None:
    """Raises MissingExtra where scipy is not installed. purpose: what it is needed for, as a sentence begins."""
    with needs("train", purpose):
        import scipy  # noqa: F401
