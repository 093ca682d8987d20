"""Virtual keys: made, listed and revoked. The token leaves this module once and is kept nowhere."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Literal

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.errors import TamperedError, UnknownKind, UsageError
from stepdown.core.keys import SHOWN_CHARACTERS, TOKEN_START, Key, token_digest
from stepdown.core.limits import Limits
from stepdown.core.store import Store
from stepdown.project.home import Home

TOKEN_BYTES = 32
LONGEST_NAME = 100

KEY_CREATED, KEY_REVOKED = "key-created", "key-revoked"
"""The events of a key. A gateway that ever had one is open to nobody else."""


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a new key. expires_s: seconds from now, None for never. tasks, models: empty for all."""

    name: str
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    limits: Limits = Limits()
    expires_s: float | None = None
    may_label: bool = False


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as people may see it: without its digest. standing: "" while it may be used."""

    id: str
    name: str
    prefix: str
    standing: Literal["", "revoked", "expired"]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    limits: Limits
    may_label: bool = False


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made. token: to be shown once. unknown_tasks: allowed, and no task of the project yet."""

    token: str
    key: KeyView
    unknown_tasks: tuple[str, ...] = ()


def create_key(home: Home, request: KeyRequest) -> NewKey:
    """Make a key. Raises UsageError for a name that a key in use has, or that cannot be one."""
    _check_name(request.name)
    token = TOKEN_START + secrets.token_urlsafe(TOKEN_BYTES)
    now = home.clock()
    key = Key(
        id=f"key-{secrets.token_hex(6)}",
        name=request.name,
        digest=token_digest(token),
        prefix=token[:SHOWN_CHARACTERS],
        created_at=now,
        expires_at=None if request.expires_s is None else now + request.expires_s,
        tasks=request.tasks,
        models=request.models,
        limits=request.limits,
        may_label=request.may_label,
    )
    with home.store() as store:
        _check_free(store.keys(), request.name, now)
        store.put_key(key)
        data = {"id": key.id, "name": key.name, "tasks": key.tasks, "models": key.models, "may_label": key.may_label}
        limits = {"limits": msgspec.to_builtins(key.limits), "expires_at": key.expires_at}
        store.append(KEY_CREATED, "", {**data, **limits, "row": digest_of(key)}, at=now)
        known = {*store.tasks(), *home.settings.tasks}
    return NewKey(token=token, key=_view(key, now), unknown_tasks=tuple(sorted(set(key.tasks) - known)))


def list_keys(home: Home) -> list[KeyView]:
    """All keys, revoked ones too, the oldest first."""
    with home.store() as store:
        keys = store.keys()
    return [_view(key, home.clock()) for key in keys]


def revoke_key(home: Home, name: str) -> KeyView:
    """Revoke the key of that name or id. Raises UnknownKind, UsageError where it was revoked before."""
    now = home.clock()
    with home.store() as store:
        key = _named(store.keys(), name)
        if not store.revoke_key(key.id, at=now):
            raise UsageError(
                f"The key {key.name!r} ({key.id}) was revoked before.", "Expected one in use.", "See: stepdown key list"
            )
        revoked = msgspec.structs.replace(key, revoked_at=now)
        store.append(KEY_REVOKED, "", {"id": key.id, "name": key.name, "row": digest_of(revoked)}, at=now)
    return _view(revoked, now)


def _named(keys: list[Key], name: str) -> Key:
    """By id, else by name: the one in use, else the newest that was."""
    by_id = {key.id: key for key in keys}
    by_name = {key.name: key for key in sorted(keys, key=lambda key: (key.revoked_at is None, key.created_at))}
    matching_key = by_id.get(name) or by_name.get(name)
    if matching_key is None:
        raise UnknownKind("key", name, by_name)
    return matching_key


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or name.startswith(TOKEN_START):
        raise UsageError(
            "That cannot be a key's name.",
            f"Expected 1 to {LONGEST_NAME} printable characters that are no token.",
            "Name it after who will use it.",
        )


def _check_free(keys: list[Key], name: str, now: float) -> None:
    for key in keys:
        if name in (key.id, key.name) and not key.standing(now):
            raise UsageError(
                f"There is a key {name!r} in use already ({key.id}).",
                "Expected a new name: a key is revoked by it.",
                f"Choose another, or run: stepdown key revoke {key.id}",
            )


def _view(key: Key, now: float) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        standing=key.standing(now),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        tasks=key.tasks,
        models=key.models,
        limits=key.limits,
        may_label=key.may_label,
    )


log = logging.getLogger("stepdown.gateway")


class IssuedKeys:
    """Reads the journal on from where it ended last, so that a look costs nothing while nothing has changed."""

    def __init__(self) -> None:
        self._after = 0
        self._rows: dict[str, Any] = {}
        self._judged: dict[str, tuple[Key, Any, bool]] = {}
        self._refused: frozenset[str] = frozenset()

    def honoured(self, store: Store) -> list[Key]:
        """The keys whose row is the one that the journal has, revoked ones too. A row that somebody inserted or edited
        opens nothing, nor does what was issued after a damaged place of the journal."""
        keys = store.keys()  # before the journal: a key is in it once its row is written
        self._read_on(store)
        judged = {key.id: self._judge(key) for key in keys}
        self._judged = judged
        refused = frozenset(name for name, (_, _, is_issued) in judged.items() if not is_issued)
        if refused - self._refused:
            log.error("keys_not_issued", extra={"keys": sorted(refused)})
        self._refused = refused
        return [key for key in keys if judged[key.id][2]]

    def any(self) -> bool:
        """Whether the journal ever issued one."""
        return bool(self._rows)

    def _read_on(self, store: Store) -> None:
        last = store.last_event()
        ends = last.sequence if last else 0
        if ends < self._after:
            self._after, self._rows = 0, {}  # another store is in the place of the one that was read
        if ends == self._after:
            return
        for kind in (KEY_CREATED, KEY_REVOKED):
            try:
                for event in store.events(kind, after=self._after):
                    # Events of an earlier version do not say how the row was: then any is taken.
                    self._rows[str(event.data.get("id"))] = event.data.get("row")
            except TamperedError as error:
                log.error("journal_not_whole", extra={"error": str(error)})
        self._after = ends

    def _judge(self, key: Key) -> tuple[Key, Any, bool]:
        row, known = self._rows.get(key.id), self._judged.get(key.id)
        if known is not None and known[:2] == (key, row):
            return known
        return key, row, key.id in self._rows and row in (None, digest_of(key))
