"""How fast curation is, and how it was decided: run with the shared data folder beside the repository.

python -m benchmarks.curation            the shipped traffic: whole curation, near-duplicates, personal data
python -m benchmarks.curation --million  near-duplicates of a million made-up texts
python -m benchmarks.curation --noise    does down-weighting flagged answers help? (needs stepdown[train])
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stepdown.core.calls import Call
from stepdown.core.store import Gold
from stepdown.core.tasks import Match, MessageTemplate, Part, Task, Template
from stepdown.curation.curate import curate
from stepdown.curation.doubtful_answers import estimate_noise
from stepdown.curation.near_duplicates import find_links
from stepdown.curation.normal_text import normal_text, text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.personal_data import find

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77_qwen3"
BEFORE, AFTER = "New Question: ", "\n\n==="


def read_shipped() -> tuple[list[Call], dict[str, Gold], Task]:
    decoder = msgspec.json.Decoder(Call)
    with gzip.open(FOLDER / "traffic.jsonl.gz") as lines:
        calls = [decoder.decode(line) for line in lines]
    with (FOLDER / "gold.csv").open(newline="", encoding="utf-8") as file:
        gold = {row["id"]: Gold(id=row["id"], gold=row["gold"], split=row["split"]) for row in csv.DictReader(file)}
    prompt = calls[0].request["messages"][0]["content"]
    start = prompt.index(BEFORE) + len(BEFORE)
    parts = (Part(text=prompt[:start]), Part(slot="query"), Part(text=prompt[prompt.index(AFTER, start) :]))
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    return calls, gold, Task(name="banking", family="classify", match=Match(), template=template, answer="$.category")


def timed(what: str, rows: int, run: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = run()
    seconds = time.process_time() - start
    print(f"{what}: {rows:,} rows in {seconds:.2f} s of one core ({rows / max(seconds, 1e-9):,.0f} rows/s)")
    return result


def shipped() -> None:
    calls, gold, task = read_shipped()
    dataset = timed("curate", len(calls), lambda: curate(calls, task, CurationOptions(gold=gold)))
    print("  ", dataset.manifest.counts)
    texts = [one.text for one in dataset.examples]
    keyed = {text_key(text): normal_text(text) for text in texts}
    links = timed("near-duplicates", len(keyed), lambda: find_links(keyed, 0.8, np.random.default_rng(0)))
    found = timed("personal data", len(texts), lambda: [find(text) for text in texts])
    print(f"   {len(links)} links; {sum(map(bool, found))} queries with personal data")


def million() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}" for a in "bcdfgklmnprst" for b in "aeiou" for c in "lnrst"])
    texts = {f"{row:07}": " ".join(line) for row, line in enumerate(words[rng.integers(0, len(words), (800_000, 12))])}
    copied = rng.integers(0, 800_000, 200_000)
    for number, row in enumerate(copied.tolist()):
        texts[f"{800_000 + number:07}"] = texts[f"{row:07}"] + " now"
    links = timed("near-duplicates", len(texts), lambda: find_links(texts, 0.8, np.random.default_rng(1)))
    true = {frozenset((f"{row:07}", f"{800_000 + number:07}")) for number, row in enumerate(copied.tolist())}
    print(
        f"   found {len(true & {frozenset(link[:2]) for link in links}) / len(true):.4f} of {len(true):,} planted pairs"
    )


def noise() -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import normalize

    calls, gold, task = read_shipped()
    examples = curate(calls, task, CurationOptions(gold=gold)).examples
    learned = [one for one in examples if one.split != "test"]
    tested = [one for one in examples if one.split == "test"]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    reduced = TruncatedSVD(200, random_state=0)
    train = normalize(reduced.fit_transform(words.fit_transform([one.text for one in learned])))
    test = normalize(reduced.transform(words.transform([one.text for one in tested])))
    answers = np.array([one.incumbent for one in learned])
    truth, test_truth = np.array([one.gold for one in learned]), np.array([one.gold for one in tested])
    labels, given = np.unique(answers, return_inverse=True)
    for seed in (1, 2, 3):
        probabilities = np.zeros((len(given), len(labels)))
        for fit, held in StratifiedKFold(3, shuffle=True, random_state=seed).split(train, given):
            model = LogisticRegression(C=10, max_iter=100).fit(train[fit], given[fit])
            probabilities[np.ix_(held, model.classes_)] = model.predict_proba(train[held])
        flagged = estimate_noise(given, probabilities).flagged
        wrong = answers != truth
        print(f"seed {seed}: {len(flagged)} flagged, precision {wrong[flagged].mean():.3f}", end="")
        print(f", recall {wrong[flagged].sum() / wrong.sum():.3f}, base rate {wrong.mean():.3f}")
        for weight in (1.0, 0.5, 0.25, 0.0):
            weights = np.ones(len(given))
            weights[flagged] = weight
            kept = weights > 0
            model = LogisticRegression(C=20, max_iter=120).fit(train[kept], answers[kept], sample_weight=weights[kept])
            print(
                f"   weight {weight}: {np.mean(model.predict(test) == test_truth):.4f} right on test, n {len(tested)}"
            )


def main() -> None:
    if not FOLDER.is_dir():
        sys.exit("The shared data folder is not beside the repository.")
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--million", action="store_true")
    options.add_argument("--noise", action="store_true")
    chosen = options.parse_args()
    million() if chosen.million else noise() if chosen.noise else shipped()


if __name__ == "__main__":
    main()
