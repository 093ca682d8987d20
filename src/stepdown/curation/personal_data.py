"""Personal data in text: found, counted, and masked where the contract says so.

Precision before recall: a placeholder in place of an innocent number changes what a model learns. Names are looked for
where the user has a pipeline that finds them (names.py); a rule cannot.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from stepdown.core.dataset import Example
from stepdown.core.kinds import Kinds
from stepdown.core.tasks import SlotValues
from stepdown.curation.names import names_in
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

    def locate(self, match: re.Match[str]) -> tuple[int, int] | None:
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
    findings: set[tuple[int, int, int, str]] = set()
    for at in range(0, len(text), _WINDOW):
        begin = max(0, at - _OVERLAP)
        # What begins where a later window does may begin before it, and was seen whole in the one before.
        findings |= {
            (rank, length, begin + start, kind)
            for rank, length, start, kind in _findings(text[begin : at + _WINDOW])
            if not begin or start >= _CONTEXT
        }
    if len(findings) < 2:
        return [Finding(kind, start, start - length) for _, length, start, kind in findings]
    return _without_overlaps(sorted(findings))


def _findings(text: str) -> Iterator[tuple[int, int, int, str]]:
    """(rank, minus its length, start, kind) of every finding of every detector."""
    digits = _DIGIT.search(text) is not None
    for detector in _detectors():
        trigger = detector.TRIGGER
        if (trigger == "@" and "@" not in text) or (trigger.isdigit() and not digits):
            continue
        for match in detector.PATTERN.finditer(text):
            span = detector.locate(match)
            if span is not None:
                yield detector.RANK, span[0] - span[1], span[0], detector.PLACEHOLDER


def mask(text: str) -> str:
    """`text` with every finding replaced by its kind in brackets, "[EMAIL]". Masking twice changes nothing more.

    However it is written: JSON in a text is masked as JSON is, and percent signs and escapes of JSON or HTML are
    resolved where they hide a finding. A long text in which nothing was found, as prompts are, is looked through once.
    """
    if len(text) < _LONG_TEXT:
        return _masked_text(text, 0)
    known = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if known in _clean:
        return text
    masked = _masked_text(text, 0)
    if masked == text:
        if len(_clean) >= _MOST_CLEAN:
            _clean.clear()
        _clean[known] = None
    return masked


def mask_json(value: Any) -> Any:
    """A JSON value, masked in its texts, the names of its fields, and its numbers: one of seven digits or more may be
    somebody's, and keeps its sign and size alone; a fraction keeps six digits. Raises RecursionError."""
    return _masked_json(value, 0)


def _masked_json(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return mask(value) if depth == 0 else _masked_text(value, depth)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _coarse(value)
    if isinstance(value, list):
        return [_masked_json(each, depth) for each in value]
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = masked = _masked_text(key, _DEEPEST)
        while name in out:
            name = f"{masked}-{len(out)}"
        out[name] = _masked_json(item, depth)
    return out


def _masked_text(text: str, depth: int) -> str:
    """depth: of texts within JSON within texts."""
    if depth < _DEEPEST and text.lstrip()[:1] in ("{", "["):
        try:
            read, twice = _read(text)
        except (ValueError, RecursionError):
            pass
        else:
            masked = _masked_json(read, depth + 1)
            if twice or masked != read:
                return _whole(json.dumps(masked, ensure_ascii=False))
    plain = _plain(text)
    masked_plain = _masked_plain(plain)
    if masked_plain == plain:
        return text if plain == text else _masked_plain(text)
    return masked_plain


def _masked_plain(text: str) -> str:
    # What a placeholder leaves free may be data in its turn ("0" before a card number made a longer number of it).
    while findings := find(text):
        pieces: list[str] = []
        end = 0
        for finding in findings:
            pieces += (text[end : finding.start], f"[{finding.kind}]")
            end = finding.end
        text = "".join((*pieces, text[end:]))
    return _without_names(text)


def _without_names(text: str) -> str:
    """A text with names masked, where they are looked for; what a placeholder says is none."""
    for kind, start, end in reversed([*names_in(text)]):
        if not _PLACEHOLDER.search(text[max(0, start - 1) : end + 1]):
            text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def _read(text: str) -> tuple[Any, bool]:
    """JSON within a text, and whether it has a field twice, of which the text shows more than is read."""
    twice = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        read = dict(members)
        twice = twice or len(read) < len(members)
        return read

    return json.loads(text, object_pairs_hook=pairs), twice


def _plain(text: str) -> str:
    """A text with its escapes resolved, as a later reader may resolve them."""
    for _ in range(3):
        known = text
        if "%" in text:
            text = unquote(text)
        if "\\u" in text:
            text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
        if "&" in text:
            text = html.unescape(text)
        if text == known:
            break
    return text if text.isascii() else unicodedata.normalize("NFKC", _whole(text))


def _whole(text: str) -> str:
    """The text with surrogate pairs joined; a lone surrogate becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _coarse(number: float) -> float:
    if not math.isfinite(number):
        return 0
    if abs(number) < _LONG_NUMBER:
        return number if isinstance(number, int) else float(f"{number:.6g}")
    size = 10 ** min(len(str(abs(int(number)))) - 1, 18)
    return math.copysign(size, number) if isinstance(number, float) else size if number > 0 else -size


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
    report: dict[str, Any] = {"found": dict(sorted(counts.items())), "inputs_with_any": touched, "masked": redact}
    return Outcome(cleaned, findings=report)


def detectors() -> Kinds[Detector]:
    """All detectors of personal data, by name."""
    return Kinds("stepdown.curation.detectors", "personal data detector")


_DIGIT = re.compile(r"\d")
_PLACEHOLDER = re.compile(r"\[[A-Z_]+\]|\[[A-Z_]+$|^[A-Z_]+\]")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DEEPEST = 8
_LONG_NUMBER = 10**6
_LONG_TEXT, _MOST_CLEAN = 1024, 4096
_WINDOW, _OVERLAP, _CONTEXT = 1 << 14, 1024, 64
"""Characters that are looked through at once: while a pattern is, no other thread of the process runs."""
_clean: dict[bytes, None] = {}


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


def _masked(value: SlotValues) -> SlotValues:
    return mask(value) if isinstance(value, str) else {name: mask(text) for name, text in value.items()}
