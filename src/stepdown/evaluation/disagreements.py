"""Disagreements worth reading: the student is confident, the incumbent differs, and no two are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer, Example
from stepdown.core.extraction.form import Span
from stepdown.core.family import Family, families, loss_named
from stepdown.core.measurements import Disagreement

MAX_TEXT_CHARACTERS = 2000

Places = Callable[[str, Answer], Sequence[Span]]
"""Where an answer's values stand in a text."""
Kind = tuple[str, tuple[tuple[str, str], ...]]


def pick_disagreements(
    examples: Sequence[Example],
    answers: Sequence[Answer | None],
    confidences: ArrayLike,
    family: str,
    limit: int = 20,
    places: Places | None = None,
) -> tuple[Disagreement, ...]:
    """Up to `limit` rows on which student and incumbent both answer and differ.

    The surest comes first of each way to differ (which labels, or which fields and who has them); these take turns, and
    where gold is known, so do the cases "the student is right", "the incumbent is right" and "neither is", so that a
    handful shows every way in which the two differ. Raises ValueError on unequal lengths.
    """
    sure = np.asarray(confidences, dtype=np.float64)
    if not len(examples) == len(answers) == sure.size:
        raise ValueError(f"Got {len(examples)} examples, {len(answers)} answers and {sure.size} confidences.")
    loss = loss_named(family)
    differing = [
        index
        for index, (example, answer) in enumerate(zip(examples, answers, strict=True))
        if answer is not None and example.incumbent is not None and loss.of(answer, example.incumbent) > 0.0
    ]
    differing.sort(key=lambda index: (-sure[index], examples[index].id))
    rule = families().load(family)
    order = _in_turns(differing, [_kind_of(rule, examples[index], answers[index]) for index in differing])
    return tuple(_shown(examples[index], answers[index], float(sure[index]), places) for index in order[:limit])


def _kind_of(rule: Family, example: Example, answer: Answer) -> Kind:
    """The outer and inner groups that take turns: who is right by gold, and the parts in which the two differ."""
    if example.gold is None:
        outcome = "unknown"
    elif answer == example.gold:
        outcome = "student"
    else:
        outcome = "incumbent" if example.incumbent == example.gold else "neither"
    ours, theirs = rule.parts(answer), rule.parts(example.incumbent)
    names = sorted(
        name
        for name in ours.keys() | theirs.keys()
        if canonical_json(ours.get(name)) != canonical_json(theirs.get(name)) or (name in ours) != (name in theirs)
    )
    return outcome, tuple((name, f"{name in ours:d}{name in theirs:d}") for name in names)


def _in_turns(indices: Sequence[int], kinds: Sequence[Kind]) -> list[int]:
    """Order by round (how many of the same kind came before), then let outcomes alternate within a round."""
    seen_kinds: dict[Kind, int] = defaultdict(int)
    rounds: dict[tuple[int, str], int] = defaultdict(int)
    ranked = []
    for position, (index, kind) in enumerate(zip(indices, kinds, strict=True)):
        turn = seen_kinds[kind]
        seen_kinds[kind] += 1
        place = rounds[turn, kind[0]]
        rounds[turn, kind[0]] += 1
        ranked.append((turn, place, position, index))
    return [index for *_, index in sorted(ranked)]


def _shown(example: Example, answer: Answer, confidence: float, places: Places | None) -> Disagreement:
    text = example.text
    return Disagreement(
        id=example.id,
        text=text if len(text) <= MAX_TEXT_CHARACTERS else text[:MAX_TEXT_CHARACTERS] + " …",
        student=_as_text(answer),
        incumbent=_as_text(example.incumbent),
        gold=None if example.gold is None else _as_text(example.gold),
        confidence=confidence,
        student_spans=_spans(places, text, answer),
        incumbent_spans=_spans(places, text, example.incumbent),
    )


def _spans(places: Places | None, text: str, answer: Answer) -> tuple[Span, ...]:
    """The spans within the part of the text that is kept."""
    spans = places(text, answer) if places else ()
    return tuple(span for span in spans if span.end <= MAX_TEXT_CHARACTERS)


def _as_text(answer: Answer | None) -> str:
    return answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
