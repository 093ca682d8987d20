"""Inputs that are equal or nearly so: grouped, so that the report can count them and bursts of them be seen.

Near duplicates are found by MinHash signatures in locality-sensitive buckets; time and memory grow with the number of
characters, not of pairs. Sources: Broder (1997), On the resemblance and containment of documents; banding as in
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Example
from stepdown.curation.normal_text import normal_text, text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome

SHINGLE = 4
ROWS_PER_BAND = 4
BANDS = 16
CHUNK_CHARACTERS = 1_000_000
PAIRED_IN_FULL = 8
_PRIME = np.uint64(0x100000001B3)


@dataclass(frozen=True)
class Shingled:
    """The character n-grams of n texts as hashes. values: uint64, all texts after one another; starts: (n + 1,)."""

    values: NDArray[np.uint64]
    starts: NDArray[np.int64]

    def of(self, row: int) -> NDArray[np.uint64]:
        return self.values[self.starts[row] : self.starts[row + 1]]


def shingle(texts: Sequence[str]) -> Shingled:
    """Hashes of every run of SHINGLE characters of each text, a space set before and after so that short ones count."""
    padded = [f" {text} ".ljust(SHINGLE) for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    lengths = np.fromiter((len(text) for text in padded), dtype=np.int64, count=len(padded))
    windows = np.zeros(max(0, len(points) - SHINGLE + 1), dtype=np.uint64)
    for offset in range(SHINGLE):
        windows = windows * _PRIME + points[offset : offset + len(windows)]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    inside = np.ones(len(points), dtype=bool)
    for tail in range(1, SHINGLE):
        inside[starts[1:] - tail] = False
    counts = lengths - SHINGLE + 1
    return Shingled(_mix(windows[inside[: len(windows)]]), np.concatenate(([0], np.cumsum(counts))))


def signatures(texts: Sequence[str], rng: np.random.Generator) -> NDArray[np.uint32]:
    """(n, BANDS × ROWS_PER_BAND): the smallest of each text's shingles under as many random hash functions.

    Two texts agree in a column with probability equal to the Jaccard similarity of their shingles.
    """
    width = BANDS * ROWS_PER_BAND
    multipliers = rng.integers(1, 2**63, size=width, dtype=np.uint64) | np.uint64(1)
    additions = rng.integers(0, 2**63, size=width, dtype=np.uint64)
    result = np.empty((len(texts), width), dtype=np.uint32)
    for low, high in _chunks(texts):
        shingled = shingle(texts[low:high])
        for column in range(width):
            hashed = (shingled.values * multipliers[column] + additions[column]) >> np.uint64(32)
            result[low:high, column] = np.minimum.reduceat(hashed, shingled.starts[:-1])
    return result


def candidate_pairs(signature: NDArray[np.uint32], least: float) -> NDArray[np.int64]:
    """(m, 2) pairs of rows that share a band and whose signatures agree in at least `least` of columns.

    Each of n rows meets a bounded number of others in a bucket: everyone in a small bucket, in a large one its first
    row and the PAIRED_IN_FULL − 1 rows before it, which is enough to join them since likeness is closed over links.
    """
    buckets = []
    for band in range(BANDS):
        columns = signature[:, band * ROWS_PER_BAND : (band + 1) * ROWS_PER_BAND].astype(np.uint64)
        key = np.zeros(len(columns), dtype=np.uint64)
        for column in range(ROWS_PER_BAND):
            key = _mix(key * _PRIME + columns[:, column])
        pairs = _pairs_in_buckets(key)
        agree = (signature[pairs[:, 0]] == signature[pairs[:, 1]]).mean(axis=1, dtype=np.float32)
        buckets.append(pairs[agree >= least])
    return np.unique(np.concatenate(buckets), axis=0)


def jaccard(shingled: Shingled, first: int, second: int) -> float:
    """The exact Jaccard similarity of two texts' shingles, in [0, 1]."""
    one, other = set(shingled.of(first).tolist()), set(shingled.of(second).tolist())
    return len(one & other) / max(1, len(one | other))


def _pairs_in_buckets(key: NDArray[np.uint64]) -> NDArray[np.int64]:
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    fresh = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    first_of = np.maximum.accumulate(np.where(fresh, np.arange(len(key)), 0))
    pairs = []
    for back in range(1, PAIRED_IN_FULL):
        here = np.arange(back, len(key))
        here = here[first_of[here] <= here - back]
        pairs.append(np.stack((order[here - back], order[here]), axis=1))
    here = np.arange(len(key))
    here = here[here - first_of >= PAIRED_IN_FULL]
    pairs.append(np.stack((order[first_of[here]], order[here]), axis=1))
    return np.concatenate(pairs)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    low, characters = 0, 0
    for index, text in enumerate(texts):
        characters += len(text)
        if characters >= CHUNK_CHARACTERS:
            yield low, index + 1
            low, characters = index + 1, 0
    if low < len(texts):
        yield low, len(texts)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads every bit over all."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def exact_duplicates(examples: list[Example], options: CurationOptions) -> Outcome:
    """Every example with its text's key as its group. None is removed: evidence keeps the frequency of the traffic."""
    marked = [msgspec.structs.replace(example, group=text_key(example.text)) for example in examples]
    times = Counter(example.group for example in marked)
    repeated = [count for count in times.values() if count > 1]
    findings = {
        "distinct_inputs": len(times),
        "repeated_inputs": len(repeated),
        "calls_that_repeat": sum(repeated) - len(repeated),
        "most_repeated": max(times.values(), default=0),
    }
    return Outcome(marked, findings=findings)


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
