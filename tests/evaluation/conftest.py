"""Real answers of a large model with gold, a quick cross-validated student, and datasets made of them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stepdown.core.dataset import Dataset, DatasetManifest, Example

OutOfSample = Callable[[list[str], list[str]], tuple[list[str], NDArray[np.float64]]]


@pytest.fixture(scope="session")
def banking(shared_data: Path) -> list[Example]:
    """All 13,083 answers of Qwen3-30B-A3B with gold; split "test" where the data says so, else "train"."""
    folder = shared_data / "banking77_qwen3"
    with (folder / "gold.csv").open(encoding="utf-8") as lines:
        gold = {row["id"]: row for row in csv.DictReader(lines)}
    found = []
    with gzip.open(folder / "traffic.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            call = json.loads(line)
            prompt = call["request"]["messages"][0]["content"]
            answer = json.loads(call["response"]["choices"][0]["message"]["content"])["category"]
            known = gold[call["id"]]
            found.append(
                Example(
                    id=call["id"],
                    input=prompt.split("New Question: ")[1].split("\n\n====")[0],
                    incumbent=answer,
                    gold=known["gold"],
                    split="test" if known["split"] == "test" else "train",
                )
            )
    return found


@pytest.fixture(scope="session")
def banking_test(banking: list[Example]) -> list[Example]:
    return [example for example in banking if example.split == "test"]


@pytest.fixture(scope="session")
def naive_bayes() -> OutOfSample:
    """A three-fold naive Bayes student: weak, but real, and quick enough for tests."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    bayes = pytest.importorskip("sklearn.naive_bayes")

    def out_of_sample(texts: list[str], labels: list[str]) -> tuple[list[str], NDArray[np.float64]]:
        names, codes = np.unique(np.array(labels), return_inverse=True)
        words = text.HashingVectorizer(n_features=2**13, alternate_sign=False, ngram_range=(1, 2)).transform(texts)
        folds = np.random.default_rng(0).integers(0, 3, len(texts))
        result = np.zeros((len(texts), names.size))
        for fold in range(3):
            model = bayes.MultinomialNB(alpha=0.01, fit_prior=False).fit(words[folds != fold], codes[folds != fold])
            result[np.ix_(folds == fold, model.classes_)] = model.predict_proba(words[folds == fold])
        return names[result.argmax(axis=1)].tolist(), result.max(axis=1)

    return out_of_sample


@pytest.fixture(scope="session")
def dataset_of() -> Callable[[Sequence[Example]], Dataset]:
    def make(examples: Sequence[Example]) -> Dataset:
        manifest = DatasetManifest(
            task="t",
            content_hash="",
            sources=(),
            counts={},
            gold_counts={},
            labels=(),
            steps=(),
            permission="",
            seed=0,
        )
        return Dataset(examples=tuple(examples), excluded=(), manifest=manifest)

    return make
