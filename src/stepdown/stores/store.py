"""Opening a store by its address, and what a kind of store must offer."""

from __future__ import annotations

from typing import Protocol

from stepdown.core.kinds import Kinds
from stepdown.core.store import Store


class StoreKind(Protocol):
    """The protocol a module in `stores/kinds/` keeps."""

    EXTRA: str

    def open(self, address: str) -> Store:
        """Open, and create or migrate where needed. Raises StoreError with the next step."""

    def examples(self) -> list[str]:
        """Addresses that the battery of tests may open, wipe and fill; none where what it needs is absent."""


def store_kinds() -> Kinds[StoreKind]:
    """Every kind of store that the house knows."""
    return Kinds("stepdown.stores.kinds", "store")


def open_store(address: str) -> Store:
    """The store at an address: `sqlite:PATH`, `memory:` or a `postgresql://` URL."""
    scheme = address.split(":", 1)[0]
    return store_kinds().load(scheme).open(address)
