from __future__ import annotations

import itertools

import numpy as np
import pytest

from stepdown.curation.near_duplicates import (
    candidate_pairs,
    exact_duplicates,
    find_links,
    jaccard,
    near_duplicates,
    shingle,
    signatures,
)
from stepdown.curation.normal_text import normal_text, text_key
from stepdown.curation.options import CurationOptions


def naive_jaccard(one: str, other: str) -> float:
    first, second = ({f" {text} "[i : i + 4] for i in range(len(text) - 1)} for text in (one, other))
    return len(first & second) / len(first | second)


def group(texts, make_example, **options):
    examples = [make_example(f"{number:05}", text) for number, text in enumerate(texts)]
    chosen = CurationOptions(**options)
    return near_duplicates(exact_duplicates(examples, chosen).examples, chosen)


def test_jaccard_is_that_of_the_definition():
    texts = ["how do i top up", "how can i top up", "close my account", "κάρτα μου", "naïve café 👍🏽 ok"]
    shingled = shingle(texts)
    for one, other in itertools.combinations(range(len(texts)), 2):
        assert jaccard(shingled, one, other) == pytest.approx(naive_jaccard(texts[one], texts[other]))


def test_signatures_agree_as_often_as_texts_are_alike(rng):
    base = [f"w{number}" for number in range(120)]
    texts = [" ".join(base), " ".join(base[:90] + [f"v{number}" for number in range(30)])]
    agreed = []
    for _ in range(30):
        signature = signatures(texts, rng)
        agreed.append(np.mean(signature[0] == signature[1]))
    assert np.mean(agreed) == pytest.approx(jaccard(shingle(texts), 0, 1), abs=0.03)


def test_signatures_do_not_depend_on_neighbours_or_chunks():
    texts = [f"text number {number} of many, {'and on ' * 6_000 * (number == 3)}" for number in range(9)]
    texts += [f"later {'x y z ' * 90_000} {number}" for number in range(2)]
    whole = signatures(texts, np.random.default_rng(1))
    for row in (0, 3, 8, 10):
        assert np.array_equal(signatures(texts[row : row + 1], np.random.default_rng(1))[0], whole[row])


def test_pairs_in_a_crowded_bucket_stay_linear_and_connected(rng):
    signature = np.zeros((1_000, 64), dtype=np.uint32)
    pairs = candidate_pairs(signature, 0.5)
    assert len(pairs) <= 8 * 1_000
    assert len(np.unique(pairs)) == 1_000


def test_links_on_real_queries_are_nearly_all_there_are(banking, rng):
    texts = {}
    for call in banking.calls[::16]:
        text = normal_text(banking.task.template.cut(call.request))
        texts[text_key(text)] = text
    found = {frozenset(link[:2]) for link in find_links(texts, 0.8, rng)}
    keys = sorted(texts)
    shingles = {key: {f" {texts[key]} "[i : i + 4] for i in range(len(texts[key]) - 1)} for key in keys}
    keys.sort(key=lambda key: len(shingles[key]))
    true = set()
    for position, one in enumerate(keys):
        for other in keys[position + 1 :]:
            # A Jaccard similarity of 0.8 needs sizes within that ratio, which spares most pairs.
            if len(shingles[one]) < 0.8 * len(shingles[other]):
                break
            if len(shingles[one] & shingles[other]) >= 0.8 * len(shingles[one] | shingles[other]):
                true.add(frozenset((one, other)))
    assert found <= true
    assert len(found) >= 0.9 * len(true) > 0


def test_near_duplicates_share_a_group_and_others_do_not(make_example):
    texts = ["my top up is still pending", "my top up is still pending!", "MY top up  is still pending", "close it"]
    groups = [one.group for one in group(texts, make_example).examples]
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_a_giant_group_is_taken_apart_and_says_how(make_example):
    base = "please tell me the current status of my order with the number"
    texts = [f"{base} {number:07}" for number in range(400)] + [f"unlike {number**7}" for number in range(100)]
    outcome = group(texts, make_example)
    assert outcome.findings["groups_taken_apart"] >= 1
    assert outcome.findings["largest_group"] <= 50
    made_at = {float(one.group.rpartition("@")[2]) if "@" in one.group else 0.8 for one in outcome.examples}
    assert made_at <= {0.8, 0.9, 0.95, 1.0}
    assert max(made_at) > 0.8


@pytest.mark.parametrize("texts", [[], ["only one"], ["", " "], ["a"], ["\x00", "👍"], ["x" * 50_000, "x" * 50_001]])
def test_odd_texts_are_no_trouble(texts, make_example):
    assert len(group(texts, make_example).examples) == len(texts)
