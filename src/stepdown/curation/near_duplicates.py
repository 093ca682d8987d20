"""Inputs that say almost the same: grouped, so that the report can count them and bursts of them be seen."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from stepdown.core.dataset import Example
from stepdown.curation.minhash import candidate_pairs, jaccard, shingle, signatures
from stepdown.curation.normal_text import normal_text
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome

SIGNATURE_SLACK = 0.15
"""Three standard deviations of a 64-column estimate near 0.8: pairs below this are not worth the exact check."""

LARGEST_GROUP_SHARE = 0.02
SMALLEST_LARGE_GROUP = 50
STRICTER = (0.9, 0.95)

Link = tuple[str, str, float]


def near_duplicates(examples: list[Example], options: CurationOptions) -> Outcome:
    """Groups of inputs linked by a Jaccard similarity of at least `options.near_duplicate` over character 4-grams.

    Links are closed transitively; a group is named by its least key. A group of more than 2 % of the calls is taken
    apart again with stricter links, since texts made from a form say different things; its parts carry the likeness
    they were made with in their name, after an "@".
    """
    texts = {example.group: normal_text(example.text) for example in examples}
    sizes = Counter(example.group for example in examples)
    links = find_links(texts, options.near_duplicate, np.random.default_rng(options.seed))
    largest = max(SMALLEST_LARGE_GROUP, int(LARGEST_GROUP_SHARE * len(examples)))
    group_of, taken_apart = _close(sorted(texts), links, sizes, largest)
    grouped = [msgspec.structs.replace(example, group=group_of[example.group]) for example in examples]
    rows = Counter(example.group for example in grouped)
    findings = {
        "similarity": options.near_duplicate,
        "pairs": len(links),
        "groups": len(rows),
        "inputs_with_a_near_duplicate": len({key for one, other, _ in links for key in (one, other)}),
        "largest_group": max(rows.values(), default=0),
        "groups_taken_apart": taken_apart,
    }
    return Outcome(grouped, findings=findings)


def find_links(texts: dict[str, str], least: float, rng: np.random.Generator) -> list[Link]:
    """Pairs of keys whose texts have at least that similarity, checked exactly; nearly all of them (98 % at 0.8).

    Time grows with the characters and the links, not with the pairs.
    """
    keys = sorted(texts)
    if len(keys) < 2:
        return []
    pairs = candidate_pairs(signatures([texts[key] for key in keys], rng), least - SIGNATURE_SLACK)
    needed = np.unique(pairs)
    shingled = shingle([texts[keys[row]] for row in needed]) if len(needed) else None
    links: list[Link] = []
    for one, other in np.searchsorted(needed, pairs).tolist():
        assert shingled is not None
        similarity = jaccard(shingled, one, other)
        if similarity >= least:
            links.append((keys[needed[one]], keys[needed[other]], similarity))
    return links


def _close(keys: list[str], links: list[Link], sizes: Counter[str], largest: int) -> tuple[dict[str, str], int]:
    group_of = _components(keys, links)
    taken_apart = 0
    for stricter in (*STRICTER, 1.1):
        rows: Counter[str] = Counter()
        for key, group in group_of.items():
            rows[group] += sizes[key]
        large = {group for group, count in rows.items() if count > largest}
        inside = [key for key in keys if group_of[key] in large]
        if len(inside) <= len(large):
            break
        taken_apart = taken_apart or len(large)
        kept = [link for link in links if link[2] >= stricter and group_of[link[0]] in large]
        group_of |= {key: f"{group}@{min(stricter, 1.0)}" for key, group in _components(inside, kept).items()}
    return group_of, taken_apart


def _components(keys: list[str], links: list[Link]) -> dict[str, str]:
    """The least key that each key is linked to, directly or through others."""
    root = {key: key for key in keys}

    def find(key: str) -> str:
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for one, other, _ in links:
        first, second = sorted((find(one), find(other)))
        root[second] = first
    return {key: find(key) for key in keys}
