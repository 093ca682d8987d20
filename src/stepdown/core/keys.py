"""A virtual key: who may ask the gateway, for what and how much. The token itself is kept nowhere."""

from __future__ import annotations

from typing import Literal

import msgspec

from stepdown.core.canonical import digest
from stepdown.core.limits import Limits

TOKEN_START = "sk-stepdown-"  # noqa: S105 - how every token begins, and no token
SHOWN_CHARACTERS = len(TOKEN_START) + 4


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """digest: the token's sha256 in hex; a token has 256 random bits, so that a plain hash of it cannot be undone.
    prefix: the token's first characters, enough to tell keys apart and no more.

    Times are seconds since the epoch. tasks, models: what may be asked for; empty means anything. may_label: whether
    its feedback may speak of every call, else only of its own.
    """

    id: str
    name: str
    digest: str
    prefix: str
    created_at: float
    revoked_at: float | None = None
    expires_at: float | None = None
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    limits: Limits = Limits()
    may_label: bool = False

    def standing(self, now: float) -> Literal["", "revoked", "expired"]:
        """ "" while the key may be used, else "revoked" or "expired"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else ""

    def allows_task(self, task: str) -> bool:
        return not self.tasks or task in self.tasks

    def allows_model(self, model: str) -> bool:
        return not self.models or model in self.models


def token_digest(token: str) -> str:
    """The sha256 of a token, in hex: what is kept of it. Any text is a token; what is no UTF-8 matches none."""
    return digest(token.encode("utf-8", "surrogatepass"))
