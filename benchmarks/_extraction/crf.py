"""The baseline for named entities: a linear-chain CRF on shapes, affixes and neighbours of words, no embeddings.

Needs python-crfsuite, which nothing else of the house does: pip install python-crfsuite. Features as in the tutorials
of CRFsuite (Okazaki 2007) and sklearn-crfsuite; L-BFGS with both penalties at 0.1. On WNUT17's dev pairs of words made
it worse, and smaller penalties no better.
"""

from __future__ import annotations

import importlib
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._extraction.entities import spans_of, tags_of
from benchmarks._extraction.scoring import Counts, compare
from benchmarks._extraction.task import Row

OPTIONS = {"c1": 0.1, "c2": 0.1, "max_iterations": 150, "feature.possible_transitions": True}
_REACH = 2


@dataclass(frozen=True)
class Baseline:
    """Entity-level counts on the test rows, and how many sentences it learned from in how many seconds."""

    counts: Counts
    rows: int
    seconds: float


def train_and_test(train: Sequence[Row], test: Sequence[Row]) -> Baseline:
    """Raises ImportError, with what to install, where python-crfsuite is not there."""
    suite = _suite()
    started = time.perf_counter()
    trainer = suite.Trainer(verbose=False)
    for row in train:
        trainer.append([_features(row.text.split(" "), place) for place in range(_length(row))], tags_of(row))
    trainer.set_params(OPTIONS)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "crf")
        trainer.train(path)
        tagger = suite.Tagger()
        tagger.open(path)
        seconds = time.perf_counter() - started
        counts = Counts()
        for row in test:
            tokens = row.text.split(" ")
            tags = tagger.tag([_features(tokens, place) for place in range(len(tokens))])
            counts += compare(spans_of(tokens, tags), row.spans)
        tagger.close()
    return Baseline(counts, len(train), seconds)


def _suite() -> Any:
    try:
        return importlib.import_module("pycrfsuite")
    except ImportError:
        raise ImportError("The CRF baseline needs python-crfsuite. Run: pip install python-crfsuite") from None


def _length(row: Row) -> int:
    return len(row.text.split(" "))


def _features(tokens: list[str], place: int) -> list[str]:
    word = tokens[place]
    found = ["bias", *(f"0:{each}" for each in _of_word(word))]
    found += [f"prefix{size}={word[:size].lower()}" for size in (1, 2, 3, 4) if len(word) > size]
    found += [f"suffix{size}={word[-size:].lower()}" for size in (1, 2, 3, 4) if len(word) > size]
    for step in range(-_REACH, _REACH + 1):
        if step and 0 <= place + step < len(tokens):
            found += [f"{step}:{each}" for each in _of_word(tokens[place + step])]
    found += ["first"] if not place else []
    return [*found, *(["last"] if place + 1 == len(tokens) else [])]


def _of_word(word: str) -> list[str]:
    found = [f"word={word.lower()}", f"shape={_shape(word)}"]
    marks = {"title": word.istitle(), "upper": word.isupper(), "digit": any(map(str.isdigit, word))}
    marks |= {"at": word.startswith("@"), "hash": word.startswith("#"), "link": word.startswith("http")}
    return [*found, *(name for name, holds in marks.items() if holds)]


def _shape(word: str) -> str:
    """Barack's: Xx'x; H1N1: XdXd."""
    shape = re.sub(r"\d+", "d", re.sub(r"[a-z]+", "x", re.sub(r"[A-Z]+", "X", word)))
    return shape[:12]
