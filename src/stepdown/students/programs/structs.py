"""Plain dataclasses in the place of msgspec's structs, for modules of the house that only hold data."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any


class Struct:
    """A subclass is a dataclass with the options that msgspec and dataclasses share."""

    def __init_subclass__(
        cls, frozen: bool = False, kw_only: bool = False, order: bool = False, **options: Any
    ) -> None:
        for name in inspect.get_annotations(cls):
            default = vars(cls).get(name)
            if isinstance(default, dict | list | set):
                setattr(cls, name, field(default_factory=default.copy))
        dataclass(frozen=frozen, kw_only=kw_only, order=order)(cls)
