"""Personal data in text: found, counted, and masked where the contract says so.

Precision before recall: a placeholder in place of an innocent number changes what a model learns. Names are not looked
for; a rule cannot find them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import msgspec

from stepdown.core.dataset import Example
from stepdown.core.kinds import Kinds
from stepdown.core.tasks import Input
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome


class Detector(Protocol):
    """The protocol a module in `curation/detectors/` keeps.

    PLACEHOLDER: the word in brackets that takes the place. RANK: of findings that overlap, the lowest wins (0: checked
    by digits or a prefix; 1: a strict form; 2: a loose one), then the longest. TRIGGER: characters of which a text must
    have one; "" for always. PATTERN: every quantifier bounded.
    """

    PLACEHOLDER: str
    RANK: int
    TRIGGER: str
    PATTERN: re.Pattern[str]

    def locate(self, found: re.Match[str]) -> tuple[int, int] | None:
        """Where in the text the data stand, or None when a closer look says that they are not."""

    def examples(self) -> list[tuple[str, list[str]]]:
        """Texts, each with the pieces that this detector finds in it, in order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of personal data: text[start:end]. It does not hold the data, so that it can be counted and logged."""

    kind: str
    start: int
    end: int


def find(text: str) -> list[Finding]:
    """Every piece of personal data in a text, in order, none overlapping."""
    found: list[tuple[int, int, int, str]] = []
    digits = _DIGIT.search(text) is not None
    for detector in _detectors():
        trigger = detector.TRIGGER
        if (trigger == "@" and "@" not in text) or (trigger.isdigit() and not digits):
            continue
        for match in detector.PATTERN.finditer(text):
            span = detector.locate(match)
            if span is not None:
                found.append((detector.RANK, span[0] - span[1], span[0], detector.PLACEHOLDER))
    if len(found) < 2:
        return [Finding(kind, start, start - length) for _, length, start, kind in found]
    return _without_overlaps(sorted(found))


def mask(text: str) -> str:
    """`text` with every finding replaced by its kind in brackets, "[EMAIL]". Masking twice changes nothing more."""
    # What a placeholder leaves free may be data in its turn ("0" before a card number made a longer number of it).
    while found := find(text):
        pieces: list[str] = []
        end = 0
        for finding in found:
            pieces += (text[end : finding.start], f"[{finding.kind}]")
            end = finding.end
        text = "".join((*pieces, text[end:]))
    return text


def personal_data(examples: list[Example], options: CurationOptions) -> Outcome:
    """Count personal data in inputs; mask it when the contract's privacy is "redact". Answers are left as they are."""
    redact = options.privacy == "redact"
    counts: Counter[str] = Counter()
    touched = 0
    cleaned: list[Example] = []
    for example in examples:
        values = [example.input] if isinstance(example.input, str) else list(example.input.values())
        values += example.slices.values() if redact else ()
        findings = [finding.kind for value in values for finding in find(value)]
        counts.update(findings)
        touched += bool(findings)
        if findings and redact:
            cleaned.append(_masked_example(example))
        else:
            cleaned.append(example)
    found: dict[str, Any] = {"found": dict(sorted(counts.items())), "inputs_with_any": touched, "masked": redact}
    return Outcome(cleaned, findings=found)


def detectors() -> Kinds[Detector]:
    """Every kind of personal data that the house knows."""
    return Kinds("stepdown.curation.detectors", "personal data detector")


_DIGIT = re.compile(r"\d")


@cache
def _detectors() -> tuple[Detector, ...]:
    return tuple(detectors().all().values())


def _without_overlaps(ranked: list[tuple[int, int, int, str]]) -> list[Finding]:
    chosen: list[Finding] = []
    for _, negative_length, start, kind in ranked:
        end = start - negative_length
        if all(end <= other.start or start >= other.end for other in chosen):
            chosen.append(Finding(kind, start, end))
    return sorted(chosen, key=lambda finding: finding.start)


def _masked_example(example: Example) -> Example:
    slices = {name: mask(text) for name, text in example.slices.items()}
    return msgspec.structs.replace(example, input=_masked(example.input), slices=slices)


def _masked(value: Input) -> Input:
    return mask(value) if isinstance(value, str) else {name: mask(text) for name, text in value.items()}
