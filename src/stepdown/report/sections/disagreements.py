"""Inputs on which student and incumbent differ, side by side; of answers with fields, marked in the text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import canonical_object, flat, split
from stepdown.core.measurements import Disagreement
from stepdown.core.record import BuildRecord
from stepdown.report.format import PERCENT, clean, count, quantity, shorten
from stepdown.report.marks import Piece, mark
from stepdown.report.reading import best_student, examples_of_evidence, incumbent_name, read

SHOWN = 12
MOST = 60
MOST_CHARACTERS = 600
MOST_VALUE = 160
MOST_FIELDS = 40
STUDENT, INCUMBENT = "student", "incumbent"


def view(record: BuildRecord) -> dict[str, Any]:
    found = list(record.disagreements)
    student = best_student(record)
    if not found and student is not None:
        found = list(student.disagreements)
    hidden = bool(found) and examples_of_evidence(record)
    found = [] if hidden else found
    names = _Names(record)
    rows = [_row(each) if record.part == "label" else _marked(each, names) for each in found[:MOST]]
    return {
        "rows": rows[:SHOWN],
        "more": rows[SHOWN:],
        "more_in_words": f"{count(len(rows) - SHOWN)} more",
        "gold": any(each.gold is not None for each in found),
        "incumbent": incumbent_name(record),
        "split": clean(read(record).split),
        "hidden": hidden,
        "marked_any": any("pieces" in row for row in rows),
    }


def _row(each: Disagreement) -> dict[str, Any]:
    right = ""
    if each.gold is not None:
        right = STUDENT if each.student == each.gold else INCUMBENT if each.incumbent == each.gold else "neither"
    return {
        "id": clean(each.id),
        "text": shorten(clean(each.text), MOST_CHARACTERS),
        "student": clean(each.student),
        "incumbent": clean(each.incumbent),
        "gold": None if each.gold is None else clean(each.gold),
        "right": right,
        "confidence": quantity(each.confidence, PERCENT),
    }


class _Names:
    """Fields by their last key, where no other field of the record's ends with it."""

    def __init__(self, record: BuildRecord) -> None:
        full = {role.field for role in record.roles} | record.refused.keys()
        last = {name: (split(name) or ("",))[-1] for name in full}
        seen = Counter(last.values())
        self._short = {name: clean(key) for name, key in last.items() if seen[key] == 1 and key.strip()}

    def __getitem__(self, name: str) -> str:
        return self._short.get(name) or clean(name)


@dataclass(frozen=True)
class Difference:
    """A field in which the two differ: what each says, "" where it says nothing, and who is right by gold."""

    name: str
    incumbent: str
    student: str
    gold: str | None
    right: str


def _marked(each: Disagreement, names: _Names) -> dict[str, Any]:
    """The text with the values marked, the fields in which the two differ, and those that they agree on."""
    ours, theirs = _fields(each.student), _fields(each.incumbent)
    if ours is None or theirs is None:
        return _row(each)
    gold = None if each.gold is None else _fields(each.gold)
    both = list(dict.fromkeys([*theirs, *ours]))
    differing = [name for name in both if theirs.get(name) != ours.get(name)]
    if gold is not None:
        # What both leave out is a difference too: from what is right.
        differing += [name for name in gold if name not in both]
    pieces = mark(each.text, {STUDENT: each.student_spans, INCUMBENT: each.incumbent_spans}, MOST_CHARACTERS)
    return {
        **_row(each),
        "pieces": [_piece(piece, names) for piece in pieces],
        "differences": [_difference(name, names[name], (theirs, ours, gold)) for name in differing[:MOST_FIELDS]],
        "agreed": [(names[name], _shown(ours[name])) for name in both if theirs.get(name) == ours.get(name)][
            :MOST_FIELDS
        ],
    }


def _piece(piece: Piece, names: _Names) -> dict[str, Any]:
    """Its text, and what is said of it: [(field, who)], "" for both."""
    if not piece.said:
        return {"text": piece.text, "said": [], "kind": ""}
    ours, theirs = piece.said[STUDENT], piece.said[INCUMBENT]
    said = [(names[name], "" if name in theirs else STUDENT) for name in ours]
    said += [(names[name], INCUMBENT) for name in theirs if name not in ours]
    kind = "both" if piece.agreed else STUDENT if not theirs else INCUMBENT if not ours else "differ"
    return {"text": piece.text, "said": said, "kind": kind}


def _fields(answer: str) -> dict[str, bytes] | None:
    """The canonical JSON of each field's value; None for what is no JSON object."""
    try:
        found = canonical_object(msgspec.json.decode(answer))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return None if found is None else {name: canonical_json(value) for name, value in flat(found).items()}


def _difference(
    name: str, shown: str, said: tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes] | None]
) -> Difference:
    """said: what the incumbent, the student and gold say, by field."""
    theirs, ours, gold = said
    right = ""
    if gold is not None:
        wanted = gold.get(name)
        right = STUDENT if ours.get(name) == wanted else INCUMBENT if theirs.get(name) == wanted else "neither"
    written = None if gold is None else _shown(gold.get(name))
    return Difference(shown, _shown(theirs.get(name)), _shown(ours.get(name)), written, right)


def _shown(value: bytes | None) -> str:
    """A value as people read it: a text without its quotes; "" for none."""
    if value is None:
        return ""
    found = msgspec.json.decode(value)
    return shorten(clean(found if isinstance(found, str) else value.decode()), MOST_VALUE)
