"""A draw: the calls that are evidence, chosen at random and entered in the journal before anyone labels them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.canonical import digest_of

DRAWN = "evidence-drawn"
"""The kind of event under which a draw is journalled. Its data are the draw."""

PLANNED = "labels-planned"
"""The kind of event that fixes how many calls of a draw will be labelled, before they are."""

ATTEMPTED = "certificate-attempted"
"""The kind of event that is journalled before a candidate is tested on evidence."""

LOOKED = "evidence-looked"
"""The kind of event of a build that waits for labels: nothing is tested, but the build knows on how many calls of the
evidence its candidate differs from the incumbent, which is all that a test of agreement reads."""

FORGOTTEN = "calls-forgotten"
"""The kind of event that says up to when calls were forgotten, but for those with gold; its data have `before`."""

Scope = Literal["traffic", "random-sample", "split-column", "judged"]
"""What a draw draws from. "traffic": the calls as production makes them. "random-sample": the calls whose gold the user
declares to be a random sample. "split-column": the calls that the owner of the gold named as evidence. "judged": the
calls that a judge has seen."""

_KEY_BYTES = 8


class Draw(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Calls drawn at random, whole units, in an order of which every beginning is a random sample itself.

    salt: with it the order can be recomputed. unit: what is independent. calls, units, first, last: of what was drawn
    from (times in seconds since the epoch, 0 where unknown); largest: the calls of the largest unit. window: why only a
    part of the traffic was drawn from; "" for all of it. complete: every call that was drawn from had gold then. keys:
    of the drawn calls, in order, packed. replaces: the digest of the draw before, where this one was made for another
    reason than new calls; attempts on that one count on.
    """

    version: int = 1
    task: str
    scope: Scope
    unit: str
    salt: str
    calls: int
    units: int
    first: float
    last: float
    largest: int = 1
    window: str = ""
    complete: bool = False
    keys: str = ""
    replaces: str = ""

    @cached_property
    def digest(self) -> str:
        return digest_of(self)

    @cached_property
    def places(self) -> dict[int, int]:
        """The place in the draw of each drawn call, by its key."""
        found = np.frombuffer(base64.b64decode(self.keys), dtype=">u8")
        return {int(key): place for place, key in enumerate(found.tolist())}

    @property
    def rows(self) -> int:
        """How many calls were drawn."""
        return len(self.places)

    def place(self, call_id: str) -> int | None:
        """A call's place in the draw, None where it was not drawn."""
        return self.places.get(call_key(call_id))


def call_key(call_id: str) -> int:
    """A short key of a call."""
    return int.from_bytes(hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES], "big")


def pack_keys(call_ids: Iterable[str]) -> str:
    """The keys of calls, in order, as `Draw.keys` has them."""
    keys: NDArray[np.uint64] = np.fromiter((call_key(each) for each in call_ids), dtype=np.uint64)
    return base64.b64encode(keys.astype(">u8").tobytes()).decode()


def rank(salt: str, unit: str) -> str:
    """What the units of a draw are ordered by: nobody can choose it, and anyone can recompute it."""
    return hashlib.sha256(f"{salt}\x1f{unit}".encode("utf-8", "surrogatepass")).hexdigest()
