"""What the owner of a gold label wants it used for."""

from __future__ import annotations

from stepdown.core.dataset import SplitName
from stepdown.core.errors import InputError
from stepdown.core.store import Gold

_NAMES: dict[str, SplitName | None] = {
    "": None,
    "train": "train",
    "training": "train",
    "tune": "tune",
    "dev": "tune",
    "development": "tune",
    "valid": "tune",
    "validation": "tune",
    "val": "tune",
    "certify": "certify",
    "evidence": "certify",
    "test": "test",
    "heldout": "test",
    "held-out": "test",
}


def own_split(gold: Gold) -> SplitName | None:
    """The split a label is meant for, None where its owner does not say.

    Raises InputError for a name that is not known: guessing could put a held-out label into training.
    """
    name = gold.split.strip().casefold()
    if name not in _NAMES:
        raise InputError(
            f"Gold for call {gold.id!r} has the split {gold.split!r}.",
            f"Known splits: {', '.join(sorted(filter(None, _NAMES)))}; empty lets stepdown choose.",
            "Correct the split column and import the gold again.",
        )
    return _NAMES[name]
