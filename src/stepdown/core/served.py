"""Who answered a call: the rung, under which certificate, how sure it was, and with what probability it was chosen."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

INCUMBENT = "incumbent"
"""What stands for the rung where the large model answered."""
CACHE = "cache"

Selection = Literal["", "holdback", "escalated"]
"""Why the incumbent answered a call. "": as production made it, without a cascade in its way. "holdback": drawn at
random, whatever a cascade would have said. "escalated": a cascade was in force and left the call to the incumbent, so
that these are the hard calls and no sample of all."""

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?", re.DOTALL)


class AskedRung(msgspec.Struct, frozen=True, array_like=True):
    """A rung that a cascade asked. rung: its student's kind. confidence: its calibrated probability of being right, and
    threshold: from which on it answers; signals: what the confidence was calibrated from, as its kind names them."""

    rung: str
    confidence: float
    threshold: float
    signals: tuple[float, ...] = ()


class Served(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who answered a call, and everything that decided it.

    rung: "incumbent", or the kind of the student that answered. cached: whether the gateway repeated an earlier answer
    of that rung's; rung is "cache" where nobody kept whose it was. reason: why no student answered; of a student's
    answer, why the cascade would not have given it. build, cascade, certificate: what was in force, the last two as
    digests; "" where nothing was. asked: the rungs that were asked, in order, with the one that answered; () where none
    was, or nobody kept it. selection: why the incumbent answered; probability: of that selection. trace, parent: ids of
    the W3C trace that the call is part of and of the span that made it, or an exporting tool's own; "" where unknown.
    """

    rung: str = INCUMBENT
    cached: bool = False
    reason: str = ""
    build: str = ""
    cascade: str = ""
    certificate: str = ""
    asked: tuple[AskedRung, ...] = ()
    selection: Selection = ""
    probability: float = 1.0
    trace: str = ""
    parent: str = ""

    @property
    def answered(self) -> AskedRung | None:
        """The rung that answered as it was asked; None where the incumbent did, or nobody kept it."""
        return next((one for one in self.asked if one.rung == self.rung), None)

    @property
    def confidence(self) -> float | None:
        """How sure the rung was that answered, else the surest of those asked; None where none was."""
        answered = self.answered
        return answered.confidence if answered else max((one.confidence for one in self.asked), default=None)


def served_by(provider: str) -> tuple[str, Served | None]:
    """Provider and who answered, from a provider as earlier versions wrote it: "stepdown/RUNG" where a student did,
    "stepdown/cache" and "cache" where an answer of a student's or of the incumbent's was repeated."""
    if provider == CACHE:
        return "", Served(cached=True)
    mark, found, rung = provider.partition("stepdown/")
    if mark or not found or not rung:
        return provider, None
    return "", Served(rung=rung, cached=rung == CACHE)


def trace_parent(header: str) -> tuple[str, str]:
    """The trace's id and the parent span's in a `traceparent` header (W3C Trace Context); ("", "") where it is none."""
    found = _TRACE_PARENT.fullmatch(header)
    if found is None or not found[1].strip("0") or not found[2].strip("0") or header.startswith("ff"):
        return "", ""
    return found[1], found[2]
