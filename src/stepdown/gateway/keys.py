"""Who may ask: the virtual keys, found by what their tokens hash to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from stepdown.core.keys import Key, token_digest

Standing = Literal["", "unknown", "revoked", "expired"]


class Found(NamedTuple):
    """key: None for a token that is none. why: "" where the key may be used, else why not."""

    key: Key | None
    why: Standing


_UNKNOWN = Found(None, "unknown")


class KeyRing:
    """The keys of one moment; a new ring takes its place when keys change. `bool(ring)`: whether keys are asked for.

    Revoked and expired keys count: a gateway whose last key was revoked must not be open to all. closed: nor one whose
    keys are all gone from the store, though the journal knows of some.
    """

    def __init__(self, keys: Iterable[Key], closed: bool = False) -> None:
        self._by_digest = {key.digest: key for key in keys}
        self._closed = closed

    def find(self, token: str, now: float) -> Found:
        """The key of a token, in constant time. now: seconds since the epoch.

        The token is hashed before anything is compared, so that the time taken says nothing about any real token.
        """
        key = self._by_digest.get(token_digest(token))
        if key is None:
            return _UNKNOWN
        return Found(key, key.standing(now))

    def ids(self) -> frozenset[str]:
        return frozenset(key.id for key in self._by_digest.values())

    def __bool__(self) -> bool:
        return self._closed or bool(self._by_digest)
