"""Where a text may be cut: never inside what is read as one character, and words' edges."""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"
_SKIN = range(0x1F3FB, 0x1F400)
_REGIONAL = range(0x1F1E6, 0x1F200)
_UNSPACED = (
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u2e80", "\ud7ff"),
    ("\uf900", "\ufaff"),
)
"""Thai, Lao, Burmese, Khmer, Chinese, Japanese, and Korean, whose particles cling to its words."""


def is_boundary(text: str, at: int) -> bool:
    """Whether a piece may begin or end at this offset: no combining mark, joiner, skin tone or half a flag is parted
    from what it belongs to. After Unicode's extended grapheme clusters (UAX 29), without the rules for Hangul jamo."""
    if at <= 0 or at >= len(text):
        return True
    here, before = text[at], text[at - 1]
    if here.isascii() and before.isascii():
        return not (before == "\r" and here == "\n")
    if _JOINER in (here, before) or ord(here) in _SKIN or unicodedata.category(here)[0] == "M":
        return False
    if ord(here) not in _REGIONAL:
        return True
    flags = 0
    while flags < at and ord(text[at - 1 - flags]) in _REGIONAL:
        flags += 1
    return flags % 2 == 0


def is_word_edge(text: str, at: int) -> bool:
    """Whether this offset is not inside a word: between two letters, or two digits, of a script that has spaces."""
    if at <= 0 or at >= len(text):
        return True
    before, here = text[at - 1], text[at]
    if not (_in_word(before) and _in_word(here)) or before.isdecimal() != here.isdecimal():
        return True
    return _is_unspaced(before) or _is_unspaced(here)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or (character > "\x7f" and unicodedata.category(character)[0] == "M")


def _is_unspaced(character: str) -> bool:
    return character >= _UNSPACED[0][0] and any(first <= character <= last for first, last in _UNSPACED)
