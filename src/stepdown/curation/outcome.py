"""The result of a step of curation: the examples kept, the calls excluded, and its findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stepdown.core.dataset import Example, Excluded
from stepdown.core.draw import Draw


@dataclass(frozen=True)
class Outcome:
    """examples in order of time, then id. findings: plain JSON values only; they are kept in the manifest.

    draw: the evidence, from the step that draws it.
    """

    examples: list[Example]
    excluded: list[Excluded] = field(default_factory=list)
    findings: dict[str, Any] = field(default_factory=dict)
    draw: Draw | None = None
