"""What every step of a curation hands to the next: the examples that stay, the calls that leave, what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stepdown.core.dataset import Example, Excluded


@dataclass(frozen=True)
class Outcome:
    """examples in order of time, then id. findings: plain JSON values only; they are kept in the manifest."""

    examples: list[Example]
    excluded: list[Excluded] = field(default_factory=list)
    findings: dict[str, Any] = field(default_factory=dict)
