"""How the answers are spread: rare ones, ones never learned, ones that mean "none of these"."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from stepdown.core.dataset import Answer, Example
from stepdown.core.family import families
from stepdown.core.tasks import Task
from stepdown.curation.outcome import Outcome

RARE_ROWS = 10
SHOWN = 20
OUT_OF_SCOPE = re.compile(
    r"oos|ood|others?|none|unknown|misc(?:ellaneous)?|out_of_(?:scope|domain)|none_of_(?:the_above|these)|n/?a|"
    r"not_applicable|irrelevant|unrelated|no_?match|fallback|unclear|undefined|no_intent|off_topic"
)
_LIST_ITEM = re.compile(
    r"^[ \t]*(?:[-*•]|\d{1,4}[.)])[ \t]+[\"'`]?([^\s\"'`:,;][^\n\"'`:,;]{0,80}?)[\"'`]?[ \t]*$", re.M
)


def balance(examples: list[Example], task: Task) -> Outcome:
    """Findings only; nothing is removed. Answers that are no labels are counted by their slice: a tool, an intent."""
    slice_of = families().load(task.family).slice_of
    labels = ["" if (answer := target(example)) is None else slice_of(answer) for example in examples]
    named = [(example.split, label) for example, label in zip(examples, labels, strict=True) if label]
    learned = Counter(label for split, label in named if split == "train")
    evaluated = {label for split, label in named if split != "train"}
    rows = sum(learned.values())
    shares = [count / rows for count in learned.values()]
    entropy = -sum(share * math.log2(share) for share in shares)
    listed = labels_in_prompt(task, set(learned) | evaluated)
    never_learned = sorted(evaluated - set(learned))
    never_seen = sorted(listed - set(learned) - evaluated)
    rare = sorted(label for label, count in learned.items() if count < RARE_ROWS)
    findings: dict[str, Any] = {
        "labels": len(learned),
        "entropy_bits": round(entropy, 4),
        "entropy_share": round(entropy / math.log2(len(learned)), 4) if len(learned) > 1 else 0.0,
        "largest_share": round(max(shares, default=0.0), 4),
        "rare_labels": {"below": RARE_ROWS, "count": len(rare), "first": rare[:SHOWN]},
        "labels_in_evidence_never_learned": {"count": len(never_learned), "first": never_learned[:SHOWN]},
        "labels_in_prompt_never_seen": {"count": len(never_seen), "first": never_seen[:SHOWN]},
        "out_of_scope_labels": sorted(label for label in set(learned) | evaluated if is_out_of_scope(label)),
    }
    return Outcome(examples, findings=findings)


def target(example: Example) -> Answer | None:
    """What a student learns from an example: gold where there is some, else the incumbent's answer."""
    return example.gold if example.gold is not None else example.incumbent


def is_out_of_scope(label: str) -> bool:
    """Whether a label's name says "none of these"."""
    return OUT_OF_SCOPE.fullmatch(re.sub(r"[\s-]+", "_", label.strip().casefold())) is not None


def labels_in_prompt(task: Task, seen: set[str]) -> set[str]:
    """The labels that the template's constant text lists, one an item, when most of those items are known answers."""
    if task.template is None:
        return set()
    labels: set[str] = set()
    for message in task.template.messages:
        for part in message.parts:
            for block in re.split(r"\n\s*\n", part.text):
                items = {item[1].strip() for item in _LIST_ITEM.finditer(block)}
                if len(items & seen) * 2 > len(items):
                    labels |= items
    return labels
