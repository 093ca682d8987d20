"""The gateway's virtual keys. A token is known by its digest alone."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.keys import Key
from stepdown.stores.dialect import Database

_decode = msgspec.json.Decoder(Key).decode


class KeyTable:
    """The table `keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, key: Key) -> None:
        """Add a key, or replace the one of its id."""
        with self._database.transaction():
            self._put(key)

    def all(self) -> list[Key]:
        """Every key, revoked and expired ones too, the oldest first."""
        found = self._database.rows("SELECT id, digest, created_at, body FROM keys ORDER BY created_at, id")
        return [_read(*row) for row in found]

    def revoke(self, key_id: str, at: float) -> bool:
        """Whether there was such a key that was not revoked yet. A revoked key stays: what it did has a name."""
        with self._database.serialised("keys"):
            found = next(self._database.rows("SELECT body FROM keys WHERE id = ?", (key_id,)), None)
            key = _decode(found[0]) if found else None
            if key is None or key.revoked_at is not None:
                return False
            self._put(msgspec.structs.replace(key, revoked_at=at))
            return True

    def _put(self, key: Key) -> None:
        self._database.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " digest = excluded.digest, created_at = excluded.created_at, body = excluded.body",
            (key.id, key.digest, key.created_at, canonical_json(key).decode()),
        )


def _read(key_id: str, digest: str, created_at: float, body: str) -> Key:
    """A key whose row was damaged, or is of two keys, is revoked: it opens nothing, and a gateway that has it is not
    open to all."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        key = _decode(body)
        if (key.id, key.digest) == (key_id, digest):
            return key
    at = float(created_at or 0.0)
    return Key(id=str(key_id), name="(damaged)", digest=str(digest), prefix="", created_at=at, revoked_at=at)
