"""The trivial answer: everyone gets the incumbent's commonest one. Where that would keep the contract too, a proof that
a cascade keeps it says little of any other answer."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.core.estimates import Estimate
from stepdown.core.figures import clean, share

LONGEST = 40
PROPOSAL = 'slices = ["label"]'
"""What makes a contract ask about every label."""


class Trivial(msgspec.Struct, frozen=True, kw_only=True):
    """What the trivial answer reaches. reference: what it is held against, "gold" or "incumbent". loss: its own, of the
    contract's kind. excess: less the incumbent's on the same rows."""

    answer: Any
    reference: str
    loss: Estimate
    excess: Estimate

    def passes(self, margin: float) -> bool:
        """Whether it is within the margin, or so near that what was measured does not tell."""
        return self.excess.low <= margin

    @property
    def name(self) -> str:
        """The answer as people read it, in one short line."""
        text = self.answer if isinstance(self.answer, str) else msgspec.json.encode(self.answer).decode()
        text = " ".join(clean(text).split())
        return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def trivial_sentences(found: Trivial, margin: float, slices: tuple[str, ...]) -> list[str]:
    """What the trivial answer reaches, and where it would pass what to ask for instead."""
    n = f"n = {found.loss.n:,}"
    if found.reference == "gold":
        more = "more" if found.excess.value > 0 else "less"
        reached = (
            f"Always answering “{found.name}” would be wrong on {share(found.loss.value)}, "
            f"{abs(found.excess.value) * 100:.1f} points {more} than the incumbent ({n})"
        )
    else:
        own = f"the incumbent's own answer on {share(1 - found.loss.value)}"
        reached = f"Always answering “{found.name}” would be {own} ({n})"
    if not found.passes(margin):
        return [f"{reached}."]
    within = "is" if found.excess.value <= margin else "may be"
    sentences = [f"{reached}: that {within} within the margin of {margin * 100:g} points too."]
    if "label" not in slices:
        sentences.append(
            f"The margin alone says little of the other answers. Add {PROPOSAL} to the contract to ask about each."
        )
    return sentences
