"""Names of people and organisations in text: optional, and off unless asked for.

The environment's STEPDOWN_NAMES says by what: "tagger" for the small one that comes with stepdown (name_tagger.py), or
a spaCy pipeline that the user has, by its package ("en_core_web_lg") or its folder. It must be the same wherever a
project is imported, built and served. What each finds and misses, benchmarks/personal_data.py measures.
Source: spacy.io/api/top-level#spacy.load and spacy.io/models (labels of entities).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from stepdown.core.errors import UsageError, needs
from stepdown.curation import name_tagger

VARIABLE = "STEPDOWN_NAMES"
TAGGER = "tagger"
_KINDS = {"PERSON": "PERSON", "PER": "PERSON", "ORG": "ORGANISATION"}
LONGEST = 1_000_000
"""Characters that a pipeline reads at once; what is longer is read in parts."""


def names_in(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of every name in a text, in order; none where nothing is asked for. Raises MissingExtra and
    UsageError where what is cannot be had: what was to be masked must not pass unmasked."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == TAGGER:
        yield from name_tagger.names_in(text, _weights())
        return
    for at in range(0, len(text) if chosen else 0, LONGEST):
        for entity in _pipeline(chosen)(text[at : at + LONGEST]).ents:
            if entity.label_ in _KINDS:
                yield _KINDS[entity.label_], at + entity.start_char, at + entity.end_char


@cache
def _weights() -> name_tagger.Weights:
    return name_tagger.shipped_weights()


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
