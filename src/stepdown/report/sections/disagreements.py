"""Inputs on which student and incumbent differ, side by side; values of fields are marked in the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import canonical_object, flat, split
from stepdown.core.extraction.form import Span
from stepdown.core.measurements import Disagreement
from stepdown.core.record import BuildRecord
from stepdown.report.format import PERCENT, clean, count, quantity, shorten
from stepdown.report.reading import best_student, examples_of_evidence, incumbent_name, read

SHOWN = 12
MOST = 60
MOST_CHARACTERS = 600
MOST_VALUE = 160
MOST_FIELDS = 40
STUDENT, INCUMBENT = "student", "incumbent"


def view(record: BuildRecord) -> dict[str, Any]:
    disagreements = list(record.disagreements)
    student = best_student(record)
    if not disagreements and student is not None:
        disagreements = list(student.disagreements)
    hidden = bool(disagreements) and examples_of_evidence(record)
    disagreements = [] if hidden else disagreements
    names = _Names(record)
    rows = [
        _row(disagreement) if record.part == "label" else _marked(disagreement, names)
        for disagreement in disagreements[:MOST]
    ]
    return {
        "rows": rows[:SHOWN],
        "more": rows[SHOWN:],
        "more_in_words": f"{count(len(rows) - SHOWN)} more",
        "gold": any(disagreement.gold is not None for disagreement in disagreements),
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
    """A field in which the two differ: each value, "" for none, and which is right by gold."""

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
    """A piece's text, and the fields that it is a value of: [(field, source)], "" for both sources."""
    if not piece.said:
        return {"text": piece.text, "said": [], "kind": ""}
    ours, theirs = piece.said[STUDENT], piece.said[INCUMBENT]
    labels = [(names[name], "" if name in theirs else STUDENT) for name in ours]
    labels += [(names[name], INCUMBENT) for name in theirs if name not in ours]
    kind = "both" if piece.agreed else STUDENT if not theirs else INCUMBENT if not ours else "differ"
    return {"text": piece.text, "said": labels, "kind": kind}


def _fields(answer: str) -> dict[str, bytes] | None:
    """The canonical JSON of each field's value; None for what is no JSON object."""
    try:
        fields = canonical_object(msgspec.json.decode(answer))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return None if fields is None else {name: canonical_json(value) for name, value in flat(fields).items()}


def _difference(
    name: str, shown: str, values: tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes] | None]
) -> Difference:
    """values: those of the incumbent, the student and gold, by field."""
    theirs, ours, gold = values
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
    decoded = msgspec.json.decode(value)
    return shorten(clean(decoded if isinstance(decoded, str) else value.decode()), MOST_VALUE)


MOST_SPANS = 100
"""Of one answer, so that no record makes a page without end."""
BEFORE = 120
"""Characters shown before the first difference where the text is too long to show from its beginning."""


@dataclass(frozen=True)
class Piece:
    """Some characters of a text. said: the fields that they are a value of, by who says so; {} for none."""

    text: str
    said: Mapping[str, tuple[str, ...]]

    @property
    def agreed(self) -> bool:
        """Whether all sources mark the same fields here."""
        return len(set(self.said.values())) == 1


def mark(text: str, spans: Mapping[str, Iterable[Span]], most: int) -> list[Piece]:
    """The text cut where anybody's span begins or ends; at most about `most` characters, with the first difference.

    spans: of each who was asked, by name. Those outside the text are passed over. The text's order is kept, and joined
    the pieces are the text that is shown.
    """
    bounded = {
        source: [span for span in list(given)[:MOST_SPANS] if 0 <= span.start < span.end <= len(text)]
        for source, given in spans.items()
    }
    start, end = _window(len(text), bounded, most)
    cuts = {start, end}
    for given in bounded.values():
        cuts.update(place for span in given for place in (span.start, span.end) if start < place < end)
    order = sorted(cuts)
    pieces = [Piece(clean(text[left:right]), _said(bounded, left, right)) for left, right in pairwise(order)]
    before, after = (Piece("…", {}),) if start else (), (Piece("…", {}),) if end < len(text) else ()
    return [*before, *pieces, *after]


def _window(length: int, spans: Mapping[str, list[Span]], most: int) -> tuple[int, int]:
    """The characters to show: from the beginning where that reaches the first difference, else from before it."""
    if length <= most:
        return 0, length
    counted = Counter(span for given in spans.values() for span in set(given))
    differing = [span for span, number in counted.items() if number < len(spans)]
    first = min((span.start for span in differing), default=0)
    last = min((span.end for span in differing if span.start == first), default=0)
    start = 0 if last <= most else max(0, first - BEFORE)
    return start, min(length, start + most)


def _said(spans: Mapping[str, list[Span]], left: int, right: int) -> dict[str, tuple[str, ...]]:
    """The fields whose spans hold these characters, by who says so; {} where nobody says anything."""
    fields_by_source = {
        source: tuple(dict.fromkeys(span.field for span in given if span.start <= left and right <= span.end))
        for source, given in spans.items()
    }
    return fields_by_source if any(fields_by_source.values()) else {}
