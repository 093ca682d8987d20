"""Inputs that say the same, letter for letter, whatever their case, spacing or encoding."""

from __future__ import annotations

from collections import Counter

import msgspec

from stepdown.core.dataset import Example
from stepdown.curation.normal_text import text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome


def exact_duplicates(examples: list[Example], options: CurationOptions) -> Outcome:
    """Every example with its text's key as its group. None is removed: evidence keeps the frequency of the traffic."""
    marked = [msgspec.structs.replace(example, group=text_key(example.text)) for example in examples]
    times = Counter(example.group for example in marked)
    repeated = [count for count in times.values() if count > 1]
    findings = {
        "distinct_inputs": len(times),
        "repeated_inputs": len(repeated),
        "calls_that_repeat": sum(repeated) - len(repeated),
        "most_repeated": max(times.values(), default=0),
    }
    return Outcome(marked, findings=findings)
