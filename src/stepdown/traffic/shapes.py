"""The shape of a message: its constants and slots in order, with what varies by nature as slots of their own.

A sample of one day has one date, of one month one beginning of a date. So texts are aligned with a mark in place of
each date, id and number. The mark is constant where all texts have one, and becomes a slot whatever the sample
has there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stepdown.core.cutting import KINDS, SPACE, Kind, Masked, cut_text, kind_of, masked, parts
from stepdown.core.tasks import MessageTemplate, Part

MOST_NUMBERS = 8
"""Of more long numbers in one message each says something: ids of labels, examples."""
_LEAST_DIGITS = 4
"""A shorter number that is always the same is part of the instruction: "one of 77 labels", "from 1 to 5"."""


class TypedSlot(NamedTuple):
    """A slot for a text of a kind, which is no input."""

    kind: Kind


Shape = list[str | TypedSlot | None]
"""A message's constants in order, None for a slot."""


def typed_shape(texts: Sequence[str], align: Callable[[Sequence[str]], Shape]) -> Shape:
    """The shape of texts, each of which fits it. align: gives the shape of texts without regard to nature."""
    distinct = list(dict.fromkeys(texts))
    marked = [masked(text) for text in distinct]
    if any(one.values for one in marked):
        aligned = align([one.text for one in marked])
        if any(mark in piece for piece in aligned if isinstance(piece, str) for mark in KINDS):
            shape = _unmasked(aligned, marked)
            if shape is not None and all(cut_shape(shape, text) is not None for text in distinct):
                return shape
    return align(texts)


def shape_of(message: MessageTemplate) -> Shape:
    return [_piece(part) for part in message.parts]


def cut_shape(shape: Shape, text: str) -> list[str] | None:
    """The values of the slots that are not of a kind, in order; None when a text does not fit."""
    named = [
        Part(text=piece) if isinstance(piece, str) else Part(slot=_name(piece, place))
        for place, piece in enumerate(shape)
    ]
    values = cut_text(named, text)
    return None if values is None else [value for slot, value in values.items() if not slot.startswith(SPACE)]


def _piece(part: Part) -> str | TypedSlot | None:
    if not part.slot:
        return part.text
    kind = kind_of(part.slot)
    return TypedSlot(kind) if kind in KINDS.values() else None  # type: ignore[arg-type]


def _name(piece: TypedSlot | None, place: int) -> str:
    return str(place) if piece is None else f"{SPACE}{piece.kind}_{place}"


def _unmasked(shape: Shape, marked: Sequence[Masked]) -> Shape | None:
    """A shape of marked texts with slots, or what all of them have there, in place of the marks."""
    columns = _values(shape, marked)
    if columns is None:
        return None
    kinds = iter(columns)
    pieces: Shape = []
    for piece in shape:
        if not isinstance(piece, str):
            pieces.append(piece)
            continue
        for text in parts(piece):
            pieces.append(_told(KINDS[text], next(kinds)) if text in KINDS else text)
    numbers = sum(piece == TypedSlot("number") for piece in pieces)
    if numbers > MOST_NUMBERS:
        return None
    return _joined(pieces)


def _values(shape: Shape, marked: Sequence[Masked]) -> list[set[str]] | None:
    """What texts have at each mark of the constants, in order."""
    places = sum(piece.count(mark) for piece in shape if isinstance(piece, str) for mark in KINDS)
    columns: list[set[str]] = [set() for _ in range(places)]
    for one in marked:
        cut = cut_shape(shape, one.text)
        if cut is None:
            return None
        values, slots, columns_left = iter(one.values), iter(cut), iter(columns)
        for piece in shape:
            held = piece if isinstance(piece, str) else next(slots)
            for character in held:
                if character in KINDS:
                    value = next(values, "")
                    if isinstance(piece, str):
                        next(columns_left).add(value)
    return columns


def _told(kind: Kind, values: set[str]) -> str | TypedSlot | None:
    """What stands for a mark: a slot; for a number that differs an input, as numbers tell; for a short one that never
    differs itself."""
    if kind != "number":
        return TypedSlot(kind)
    if len(values) > 1:
        return None
    (value,) = values
    is_long = sum(character.isdigit() for character in value) >= _LEAST_DIGITS and value.isdigit()
    return TypedSlot("number") if is_long else value


def _joined(pieces: Shape) -> Shape:
    """Pieces without constants or slots that touch."""
    joined: Shape = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, str) and isinstance(last, str):
            joined[-1] = last + piece
        elif joined and not isinstance(piece, str) and not isinstance(last, str):
            joined[-1] = None
        else:
            joined.append(piece)
    return joined
