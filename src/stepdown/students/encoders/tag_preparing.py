"""From answers to a tagger's objective: where values stand, in which units, and what is left unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.core.errors import NotEnoughData
from stepdown.core.extraction.form import Form, Role
from stepdown.core.extraction.outlook import untrainable_reason
from stepdown.core.extraction.spans import Alignment, align
from stepdown.core.students import TrainingData
from stepdown.runtime.readings import Reading
from stepdown.runtime.tags.layout import Layout, Units, units_of
from stepdown.students.encoders.tag_objective import TagObjective
from stepdown.students.encoders.tag_targets import UNKNOWN, TagTargets, tags_of
from stepdown.students.targets import MIN_ROWS

WORDS_FIT = 0.995
"""Whole words are tagged where so large a share of the training spans begins and ends with words."""


@dataclass(frozen=True)
class Aligned:
    """Training answers as they can be learned: one alignment a row, None for a row without an answer."""

    rows: list[Alignment | None]

    def counted(self) -> dict[str, int]:
        """How many answers have a field that is not learned from there, by field; for the record."""
        counts = Counter(name for row in self.rows if row for name in row.unaligned)
        return dict(sorted(counts.items()))


def unlearnable(data: TrainingData) -> str:
    """Which fields of the answers can be neither found in their texts nor chosen; "" where enough can."""
    if data.form is None:
        return "Its answers have no fields."
    return untrainable_reason(data.form, data.roles, *data.answered)


def align_all(data: TrainingData, form: Form, roles: Sequence[Role]) -> Aligned:
    """Every answer of the data, aligned. Raises NotEnoughData for fewer than 8 answers, or fewer than two."""
    answers = [answer if isinstance(answer, dict) else None for answer in data.targets]
    given = [answer for answer in answers if answer is not None]
    if len(given) < MIN_ROWS or all(answer == given[0] for answer in given):
        raise NotEnoughData(
            f"The task {data.task!r} has {len(given)} rows to learn from, with {min(len(given), 1)} different answers.",
            f"A student needs at least {MIN_ROWS} rows and two answers.",
            "Import more traffic, or check that `answer` in stepdown.toml points at the decision.",
        )
    pairs = zip(data.texts, answers, strict=True)
    return Aligned([None if answer is None else align(form, roles, text, answer) for text, answer in pairs])


def words_fit(aligned: Aligned, readings: Sequence[Reading], layout: Layout) -> bool:
    """Whether values begin and end with words: tags on words need fewer decisions than tags on their pieces."""
    exact = count = 0
    for row, reading in zip(aligned.rows, readings, strict=False):
        if row is None or reading.truncated:
            continue
        _, fit, there = tags_of(row.spans, units_of(reading, whole_words=True), layout.copied)
        exact, count = exact + fit, count + there
    return exact >= WORDS_FIT * count


def make_lesson(
    data: TrainingData,
    aligned: Aligned,
    readings: Sequence[Reading],
    layout: Layout,
    whole_words: bool,
    tag_smoothing: float,
) -> TagObjective:
    """The objective of the data's rows. readings: of its texts, then of its unlabelled ones."""
    units = [units_of(reading, whole_words) for reading in readings]
    rows = aligned.rows
    weights = np.where([row is not None for row in rows], data.weights, 0.0)
    weights = weights * (len(weights) / max(float(weights.sum()), 1e-12))
    targets = TagTargets(
        tags=[_tags(row, each, layout) for row, each in zip(rows, units, strict=False)],
        choices=np.array([_singles(row, layout) for row in rows], dtype=np.int64).reshape(len(rows), -1),
        switches=np.array([_switches(row, layout) for row in rows], dtype=np.float32).reshape(len(rows), -1),
        weights=weights.astype(np.float32),
    )
    sequences = [reading.ids for reading in readings[: len(rows)]]
    return TagObjective(sequences, [each.places for each in units], layout, targets, tag_smoothing)


def _tags(row: Alignment | None, units: Units, layout: Layout) -> Any:
    """Nothing is said of a text's tags where a copied value of its answer stands nowhere: it may be any of them."""
    if row is None or any(field in layout.copied for field in row.unaligned):
        return np.full(len(units.places), UNKNOWN)
    return tags_of(row.spans, units, layout.copied)[0]


def _singles(row: Alignment | None, layout: Layout) -> list[int]:
    return [
        UNKNOWN if row is None or group.field in row.unaligned else int(row.choices.get(group.field, 0))  # type: ignore[arg-type]
        for group in layout.single
    ]


def _switches(row: Alignment | None, layout: Layout) -> list[float]:
    wanted: list[float] = []
    for group in layout.groups:
        if group.one:
            continue
        if row is None or group.field in row.unaligned:
            wanted += [np.nan] * group.size
        elif group.choices:
            chosen = row.choices.get(group.field, ())
            there = chosen if isinstance(chosen, tuple) else (chosen,)
            wanted += [float(place in there) for place in range(1, group.size + 1)]
        else:
            wanted.append(float(group.field in row.present))
    return wanted
