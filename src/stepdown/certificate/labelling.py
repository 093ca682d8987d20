"""The file of rows to label, when the evidence is too thin.

Rows come in the order of a hash of their ids, which is a random order that nobody chose. It is tempting to put the
rows first on which student and incumbent differ, or the student is least sure; but evidence of picked rows says
nothing of the traffic. In hash order every beginning of the file is a simple random sample: label as many as you
like from the top, in order, and stop anywhere. What you must not do is skip the hard ones.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stepdown.core.canonical import canonical_json, digest
from stepdown.core.dataset import Answer, Example
from stepdown.core.errors import ResourceError

COLUMNS = ("id", "input", "incumbent", "student", "gold")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def labelling_order(examples: Iterable[Example]) -> list[Example]:
    """Rows of the certify split that have no gold yet, in hash order."""
    missing = [each for each in examples if each.split == "certify" and each.gold is None]
    return sorted(missing, key=lambda each: digest(each.id.encode()))


def write_labels_file(path: Path, examples: Sequence[Example], answers: Mapping[str, Answer], rows: int) -> int:
    """Write the first `rows` rows to label; answers: the student's, by id. How many there were is returned.

    CSV, or JSON lines where the name ends in .jsonl; columns `id,input,incumbent,student,gold`, the last one empty.
    Import it again as gold once it is filled in; rows left empty are ignored. Raises ResourceError when the disk does
    not take it.
    """
    chosen = labelling_order(examples)[: max(0, rows)]
    table = [_record(example, answers.get(example.id)) for example in chosen]
    try:
        if path.suffix == ".jsonl":
            path.write_bytes(b"".join(canonical_json(record) + b"\n" for record in table))
        else:
            _write_csv(path, table)
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written: {error.strerror}.", "", "Free some space or name another."
        ) from None
    return len(table)


def _record(example: Example, answer: Answer) -> dict[str, Any]:
    values = (example.id, example.text, example.incumbent, answer, None)
    return dict(zip(COLUMNS, values, strict=True))


def _write_csv(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in table:
            writer.writerow([record["id"], *(_cell(record[name]) for name in COLUMNS[1:])])


def _cell(value: Any) -> str:
    """A value as text. Spreadsheets run what begins like a formula, so traffic that does is quoted."""
    text = "" if value is None else value if isinstance(value, str) else canonical_json(value).decode()
    return "'" + text if text.startswith(_FORMULA) else text
