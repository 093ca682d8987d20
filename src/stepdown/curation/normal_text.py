"""Text keys that ignore case, spacing and the encoding of accents."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def normal_text(text: str) -> str:
    """`text` in NFC, case folded, control characters removed, every run of white space one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    else:
        text = text.lower()
    return " ".join(_CONTROL.sub("", text).split())


def text_key(text: str) -> str:
    """The same 32 hexadecimal digits for every text that `normal_text` makes equal (128 bits of sha256)."""
    return hashlib.sha256(normal_text(text).encode("utf-8", "surrogatepass")).hexdigest()[:32]
