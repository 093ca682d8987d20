"""From aligned answers to what a chain learns: tags of tokens, and the features that speak of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.form import Span
from stepdown.core.extraction.spans import Alignment
from stepdown.runtime.patterns.gazetteer_lists import MAX_WORDS, PLACES, Gazetteer, Value, by_value, listed_at
from stepdown.runtime.patterns.patterns import (
    AFTER,
    BEFORE,
    OFFSETS,
    PAIR_OFFSETS,
    UNKNOWN,
    choice_feature,
    listed_feature,
    neighbours,
    pair_features,
    shape,
    text_features,
    word_features,
)
from stepdown.runtime.patterns.tokens import Tokens
from stepdown.runtime.tags.layout import OUTSIDE, Layout
from stepdown.students.patterns.chain_training import Sequences

TEXT_MIN_COUNT = 5
"""What stands anywhere in a text is learned from where it is so many times more frequent than `min_count`."""


@dataclass(frozen=True)
class Limits:
    """min_count, max_features: which features are kept. unknown: the share of values of whose words only the shape is
    shown, so that a value that was never seen is learned from what stands round it."""

    min_count: int
    max_features: int
    unknown: float


@dataclass(frozen=True)
class Example:
    """A text whose copied values are all known. lower: its words in lower case. whole: the names of features that hold
    for all of it. tags: (tokens,). values: those of its answer."""

    words: list[str]
    lower: list[str]
    whole: tuple[str, ...]
    tags: list[int]
    values: tuple[Value, ...]
    weight: float


@dataclass(frozen=True)
class TrainingObjective:
    """sequences: for the chain. names: the features. gazetteer: values, all that training has. tagged, spans: how many
    of the spans begin and end with tokens, of how many."""

    sequences: Sequences
    names: tuple[str, ...]
    values: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]
    tagged: int
    spans: int


def make_lesson(
    tokens: Sequence[Tokens],
    aligned: Sequence[Alignment | None],
    weights: Sequence[float],
    layout: Layout,
    limits: Limits,
    seed: int,
) -> TrainingObjective:
    """The objective of the rows whose copied values all stand in their text and whose text was read whole."""
    place = {field: position for position, field in enumerate(layout.copied)}
    examples, tagged, spans = [], 0, 0
    for read, row, weight in zip(tokens, aligned, weights, strict=True):
        if row is None or read.truncated or not len(read) or weight <= 0.0:
            continue
        if any(field in place for field in row.unaligned):
            continue
        tags, fit = tags_of(row.spans, read, place)
        tagged, spans = tagged + fit, spans + len(row.spans)
        examples.append(_example(read, row, tags, layout, place, weight))
    counted = Counter(value for example in examples for value in set(example.values))
    names = _names(examples, layout, limits.min_count, limits.max_features)
    return TrainingObjective(
        _sequences(_some_unknown(examples, limits.unknown, seed), names, counted),
        names,
        tuple(by_value(counted)),
        tagged,
        spans,
    )


def tags_of(spans: Iterable[Span], tokens: Tokens, place: dict[str, int]) -> tuple[list[int], int]:
    """The tags of a text's tokens, and how many of the spans begin and end with tokens.

    A token belongs to the first span that it overlaps.
    """
    tags, exact, at = [0] * len(tokens), 0, 0
    bounds = tokens.bounds
    for span in sorted(spans):
        while at < len(bounds) and bounds[at][1] <= span.start:
            at += 1
        first = at
        while at < len(bounds) and bounds[at][0] < span.end:
            tags[at] = 2 + 2 * place[span.field]
            at += 1
        if at > first:
            tags[first] -= 1
            exact += bounds[first][0] == span.start and bounds[at - 1][1] == span.end
    return tags, exact


def _example(
    read: Tokens, row: Alignment, tags: list[int], layout: Layout, place: dict[str, int], weight: float
) -> Example:
    lower = [word.lower() for word in read.words]
    values = tuple(
        (words, place[span.field])
        for span in row.spans
        if 0 < len(words := tuple(_inside(lower, read, span))) <= MAX_WORDS
    )
    choices = tuple(
        choice_feature(group.field, int(row.choices.get(group.field, 0)))  # type: ignore[arg-type]
        for group in layout.single
        if group.field not in row.unaligned
    )
    anywhere = text_features(lower, neighbours(lower)) if read.lines else ()
    return Example(read.words, lower, (*choices, *anywhere), tags, values, weight)


def _some_unknown(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    generator = np.random.default_rng(seed)
    return [_hide(example, generator.random(len(example.words)) < share) for example in examples]


def _hide(example: Example, chosen: NDArray[np.bool_]) -> Example:
    """Without the words of the values that begin where chosen."""
    words, lower, hidden = list(example.words), list(example.lower), False
    for at, tag in enumerate(example.tags):
        hidden = tag > OUTSIDE and (bool(chosen[at]) if tag % 2 else hidden)
        if hidden:
            words[at] = lower[at] = UNKNOWN + shape(words[at])
    return replace(example, words=words, lower=lower)


def _inside(lower: list[str], read: Tokens, span: Span) -> Iterator[str]:
    return (
        word for word, (start, end) in zip(lower, read.bounds, strict=True) if start >= span.start and end <= span.end
    )


def _names(examples: Sequence[Example], layout: Layout, min_count: int, max_features: int) -> tuple[str, ...]:
    """Names of the features that are frequent enough, the most frequent `max_features` of them, sorted."""
    texts: Counter[str] = Counter()
    words: Counter[str] = Counter({BEFORE: len(examples), AFTER: len(examples)})
    pairs: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for example in examples:
        words.update(example.words)
        pairs.update(neighbours(example.lower))
        texts.update(example.whole)
    for word, count in words.items():
        for names in word_features(word):
            for name in names:
                counts[name] += count
    for pair, count in pairs.items():
        if count >= min_count:
            counts.update(dict.fromkeys(pair_features(pair), count))
    counts.update({name: count for name, count in texts.items() if count >= TEXT_MIN_COUNT * min_count})
    listed = [listed_feature(field, where) for field in range(len(layout.copied)) for where in PLACES]
    ranked = sorted((-count, name) for name, count in counts.items() if count >= min_count)
    return tuple(sorted([*listed, *(name for _, name in ranked[:max_features])]))


def _sequences(examples: Sequence[Example], names: tuple[str, ...], counted: Counter[Value]) -> Sequences:
    """Every token's features. A value that only one text has is not listed for that very text: the chain is to learn
    how far the list can be trusted on texts that did not make it."""
    ids = {name: place for place, name in enumerate(names)}
    gazetteer = Gazetteer(by_value(counted))
    seen: dict[str, list[list[int]]] = {}
    seen_pairs: dict[str, list[int | None]] = {}
    columns: list[int] = []
    whole: list[int] = []
    starts, whole_starts, first, tags = [0], [0], [0], []
    for example in examples:
        padded = [BEFORE, BEFORE, *example.words, AFTER, AFTER]
        for word in padded:
            if word not in seen:
                seen[word] = [[ids[name] for name in at if name in ids] for at in word_features(word)]
        pairs = ["", *neighbours(example.lower), ""]
        for pair in pairs:
            if pair not in seen_pairs:
                seen_pairs[pair] = [ids.get(name) for name in pair_features(pair)]
        whole += [place for name in example.whole if (place := ids.get(name)) is not None]
        whole_starts.append(len(whole))
        own = {value for value in example.values if counted[value] == 1}
        listed = listed_at(gazetteer, example.lower, own)
        for token in range(len(example.words)):
            for block in range(len(OFFSETS)):
                columns += seen[padded[token + block]][block]
            for block in range(len(PAIR_OFFSETS)):
                place = seen_pairs[pairs[token + block]][block]
                if place is not None:
                    columns.append(place)
            columns += [ids[listed_feature(*each)] for each in listed.get(token, ())]
            starts.append(len(columns))
        tags += example.tags
        first.append(len(tags))
    weights = np.array([example.weight for example in examples], dtype=np.float32)
    return Sequences(
        columns=np.array(columns, dtype=np.int32),
        starts=np.array(starts, dtype=np.int64),
        whole=np.array(whole, dtype=np.int32),
        whole_starts=np.array(whole_starts, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        tags=np.array(tags, dtype=np.int64),
        weights=weights / max(float(weights.mean()), 1e-12) if len(weights) else weights,
        features=len(names),
    )
