"""The keys that a gateway honours: rows of the store that are as the journal issued them."""

from __future__ import annotations

import logging
from typing import Any

from stepdown.core.canonical import digest_of
from stepdown.core.errors import TamperedError
from stepdown.core.keys import Key
from stepdown.core.store import Store
from stepdown.project.keys import KEY_CREATED, KEY_REVOKED

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
