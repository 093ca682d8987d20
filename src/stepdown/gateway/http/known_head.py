"""The head of a message that the parser took: the next one of the same bytes but for its length need not be parsed."""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"\r\ncontent-length: ?([1-9][0-9]{0,8})(?=\r\n)", re.IGNORECASE)
_LONGEST = 4 << 10


class KnownHead:
    """before, after: the head's bytes on both sides of its length's digits."""

    __slots__ = ("_after", "_before", "_rest", "_start", "_stop")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after = before, after
        self._start, self._rest = len(before), len(after)
        self._stop = self._start + 9 + self._rest

    def split(self, data: bytes) -> tuple[bytes, bytes] | None:
        """(length's digits, body) of one whole message that begins with this head; None for anything else."""
        if data.startswith(self._before):
            end = data.find(self._after, self._start, self._stop)
            digits = data[self._start : end]
            if end > 0 and digits.isdigit() and len(data) - end - self._rest == int(digits) and digits[0] != 48:
                return digits, data[end + self._rest :]
        return None


def known_head(data: bytes, headers: int) -> KnownHead | None:
    """The head that `data` begins with, in which the parser found so many headers. None where its length is not plain
    or a line does not end as the parser and this reading agree on."""
    end = data.find(b"\r\n\r\n", 0, _LONGEST) + 4
    head = data[:end]
    if end < 4 or head.count(b"\n") != headers + 2 or head.count(b"\r\n") != headers + 2:
        return None
    lengths = list(_LENGTH.finditer(head))
    if len(lengths) != 1:
        return None
    start, stop = lengths[0].span(1)
    return KnownHead(head[:start], head[stop:])
