"""Names of people and organisations in text: optional, and off unless asked for.

The environment's STEPDOWN_NAMES selects what finds them: "tagger" for the small one of stepdown, or a spaCy pipeline
that the user has, by its package ("en_core_web_lg") or its folder. It must be the same wherever a project is imported,
built and served. The tagger is an averaged perceptron over English words, decoded greedily; it errs towards finding too
many, since a name that is missed is not masked. benchmarks/personal_data.py trains it and measures both kinds of
errors. Sources: Collins (2002), Discriminative training methods for hidden Markov models, EMNLP;
spacy.io/api/top-level#spacy.load and spacy.io/models (labels of entities).
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

from stepdown.core.errors import UsageError, needs

NOTHING, PERSON, ORGANISATION = "", "PERSON", "ORGANISATION"
DOUBT = 8.0
"""What the score of "no name" must be ahead by: above 0, more names are found, and more that are none."""
_LEAST_WEIGHT = 0.3
_KINDS = (NOTHING, PERSON, ORGANISATION)
TOKEN = re.compile(r"[^\W_]+(?:['’.&-][^\W_]+)*|[^\w\s]")
_DIGITS = re.compile(r"\d")
Weights = Mapping[str, Sequence[float]]
"""Of each feature, one for each of _KINDS."""
Sentence = tuple[list[str], list[str]]
"""Words, and the kind of name that each is part of."""


def tagged_names(text: str, weights: Weights) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of every name in a text, in order."""
    tokens = list(TOKEN.finditer(text))
    kind, start, end = NOTHING, 0, 0
    for token, tag in zip(tokens, tag_words([token[0] for token in tokens], weights), strict=True):
        if tag == kind != NOTHING:
            end = token.end()
            continue
        if kind != NOTHING:
            yield kind, start, end
        kind, start, end = tag, token.start(), token.end()
    if kind != NOTHING:
        yield kind, start, end


def tag_words(words: list[str], weights: Weights) -> list[str]:
    """The kind of name that each word is part of."""
    tags: list[str] = []
    for place in range(len(words)):
        before = tags[-1] if tags else NOTHING
        tags.append(_best(_features(words, place, before), weights, DOUBT))
    return tags


def train(sentences: Sequence[Sentence], rounds: int, seed: int) -> Weights:
    """Weights for `tag_words`, averaged over all steps."""
    dice, order = random.Random(seed), list(sentences)
    now: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(_KINDS))
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(_KINDS))
    step = 0
    for _ in range(rounds):
        dice.shuffle(order)
        for words, tags in order:
            before = NOTHING
            for place, tag in enumerate(tags):
                step += 1
                features = _features(words, place, before)
                predicted = _best(features, now)
                before = predicted
                if predicted == tag:
                    continue
                right, wrong = _KINDS.index(tag), _KINDS.index(predicted)
                for feature in features:
                    for at, by in ((right, 1.0), (wrong, -1.0)):
                        now[feature][at] += by
                        sums[feature][at] += by * step
    averaged = {
        feature: [value - total / step for value, total in zip(values, sums[feature], strict=True)]
        for feature, values in now.items()
    }
    return {feature: values for feature, values in averaged.items() if max(map(abs, values)) >= _LEAST_WEIGHT}


def shipped_weights() -> Weights:
    """Weights that come with stepdown; NOTICE.txt says what they were trained on."""
    packed = files("stepdown.curation").joinpath("name_weights.json.gz").read_bytes()
    tenths: dict[str, list[int]] = json.loads(gzip.decompress(packed))
    return {feature: [value / 10 for value in values] for feature, values in tenths.items()}


def packed_weights(weights: Weights) -> bytes:
    """Weights as `shipped_weights` reads them, to a tenth, the same bytes for the same weights."""
    tenths = {feature: [round(10 * one) for one in weights[feature]] for feature in sorted(weights)}
    return gzip.compress(json.dumps(tenths, separators=(",", ":")).encode(), mtime=0)


def _best(features: Iterable[str], weights: Weights, doubt: float = 0.0) -> str:
    scores = [-doubt, *[0.0] * (len(_KINDS) - 1)]
    for feature in features:
        known = weights.get(feature)
        if known is not None:
            for at, one in enumerate(known):
                scores[at] += one
    return _KINDS[max(range(len(_KINDS)), key=scores.__getitem__)]


def _features(words: list[str], place: int, before: str) -> list[str]:
    word = words[place]
    lower = word.lower()
    last_word = words[place - 1] if place else "^"
    next_word = words[place + 1] if place + 1 < len(words) else "$"
    last, following = last_word.lower(), next_word.lower()
    shape = _shape(word)
    first = not place or last in ".!?:\"'"
    return [
        f"w{lower}",
        f"s{shape}{first}",
        f"b{before}{shape}",
        f"l{last}|{shape}",
        f"n{following}|{shape}",
        f"p{lower[:3]}|{shape[:2]}",
        f"e{lower[-3:]}|{shape[:2]}",
        f"x{_shape(last_word)}|{shape}|{_shape(next_word)}",
        f"t{before}|{last}|{following}",
        f"c{before}|{lower}",
        "bias",
    ]


def _shape(word: str) -> str:
    if _DIGITS.search(word):
        return "0"
    if word.isupper():
        return "A" if len(word) == 1 else "AA"
    if word[:1].isupper():
        return "Aa"
    return "a" if word.isalpha() else "."


VARIABLE = "STEPDOWN_NAMES"
TAGGER = "tagger"
_SPACY_LABELS = {"PERSON": "PERSON", "PER": "PERSON", "ORG": "ORGANISATION"}
LONGEST = 1_000_000
"""Characters that a pipeline reads at once; what is longer is read in parts."""


def names_in(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of every name in a text, in order; none where nothing is asked for. Raises MissingExtra and
    UsageError where what is cannot be had: what was to be masked must not pass unmasked."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == TAGGER:
        yield from tagged_names(text, _weights())
        return
    for at in range(0, len(text) if chosen else 0, LONGEST):
        for entity in _pipeline(chosen)(text[at : at + LONGEST]).ents:
            if entity.label_ in _SPACY_LABELS:
                yield _SPACY_LABELS[entity.label_], at + entity.start_char, at + entity.end_char


@cache
def _weights() -> Weights:
    return shipped_weights()


@cache
def _pipeline(chosen: str) -> Callable[[str], Any]:
    with needs("names", f"{VARIABLE}={chosen}"):
        spacy = import_module("spacy")
    try:
        loaded: Callable[[str], Any] = spacy.load(chosen, exclude=["parser", "tagger", "lemmatizer", "attribute_ruler"])
    except OSError:
        raise UsageError(
            f"{VARIABLE} is {chosen!r}, and spaCy has no such pipeline.",
            'Expected "tagger", the name of an installed pipeline, or the folder of one.',
            "Install it (`python -m spacy download …`, or a wheel of your own), or unset the variable.",
        ) from None
    return loaded
