"""Files of artefacts: JSON that is read back checked, the form that a student fills in, a table of n-grams."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from stepdown.core.errors import TamperedError
from stepdown.core.extraction.form import Form, Role
from stepdown.runtime.ngram_table import NgramTable, Vocabulary
from stepdown.runtime.quantised import QuantisedRows

FORM, NGRAMS = "form.json", "ngrams"
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


def open_ngrams(folder: Path, weights: str = NGRAMS) -> NgramTable:
    """A linear model on n-grams: their names in `ngrams.json`, a row each in `weights`.safetensors.

    Raises TamperedError.
    """
    from safetensors.numpy import load_file

    arrays = load_file(folder / f"{weights}.safetensors")
    stored = QuantisedRows(arrays["weights"], arrays["scales"])
    return NgramTable(read_json(folder, f"{NGRAMS}.json", Vocabulary), stored, arrays["squares"], arrays["bias"])
