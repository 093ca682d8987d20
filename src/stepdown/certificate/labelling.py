"""The file of calls to label: blind, and in the order of the draw.

It shows an input and an empty place for what is right, and nobody's answer: who sees one tends to agree with it. It
holds the drawn calls on which a student differs from the incumbent, since on all others the excess loss is 0 whatever
is right; how many calls are drawn is fixed in the journal before anyone labels. What must not be done is to skip the
hard ones: a call without gold counts as the student's mistake.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Example
from stepdown.core.errors import ResourceError

COLUMNS = ("id", "input", "gold")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_labels_file(path: Path, examples: Sequence[Example]) -> int:
    """Write the rows to label, as they are given; how many there were is returned.

    CSV, or JSON lines where the name ends in .jsonl; columns `id,input,gold`, the last one empty. Import it again as
    gold once it is filled in; rows left empty are ignored. Raises ResourceError when the disk does not take it.
    """
    table = [{"id": one.id, "input": one.text, "gold": None} for one in examples]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jsonl":
            path.write_bytes(b"".join(canonical_json(record) + b"\n" for record in table))
        else:
            _write_csv(path, table)
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written: {error.strerror}.", "", "Free some space or name another."
        ) from None
    return len(table)


def _write_csv(path: Path, table: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in table:
            writer.writerow([_cell(record[name]) if name != "id" else record[name] for name in COLUMNS])


def _cell(value: Any) -> str:
    """A value as text. Spreadsheets run what begins like a formula, so traffic that does is quoted."""
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA) else text
