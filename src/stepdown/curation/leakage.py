"""A second look, with other hashes: nothing learned from may resemble what is tuned, proved or tested on."""

from __future__ import annotations

import numpy as np

from stepdown.core.dataset import Example, Excluded
from stepdown.curation.near_duplicates import find_links, likeness_of
from stepdown.curation.normal_text import normal_text, text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome

OTHER_HASHES = 0x5EED


def leakage(examples: list[Example], options: CurationOptions) -> Outcome:
    """Remove from train what resembles tune, certify or test, and from tune what resembles certify or test.

    It is always the learning side that yields: evidence that is pruned is no longer a sample of the traffic. Catches
    near-duplicates that the grouping missed, groups that were taken apart for their size, and labels whose owner put
    alike inputs on two sides.
    """
    texts: dict[str, str] = {}
    sides: dict[str, dict[str, str]] = {}
    likeness: dict[str, float] = {}
    keys = [text_key(example.text) for example in examples]
    for key, example in zip(keys, examples, strict=True):
        texts.setdefault(key, normal_text(example.text))
        likeness[key] = likeness_of(example.group, options.near_duplicate)
        sides.setdefault(key, {}).setdefault(example.split, example.id)
    links = find_links(texts, options.near_duplicate, np.random.default_rng((options.seed, OTHER_HASHES)))
    alike: dict[str, list[str]] = {}
    for one, other, similarity in links:
        # Parts of a group that was taken apart may resemble each other up to where it was cut.
        if similarity < max(likeness[one], likeness[other]):
            continue
        alike.setdefault(one, []).append(other)
        alike.setdefault(other, []).append(one)
    kept: list[Example] = []
    excluded: list[Excluded] = []
    crossing = {"train": 0, "tune": 0}
    for key, example in zip(keys, examples, strict=True):
        kin = _kin(example, [sides[near] for near in (key, *alike.get(key, ()))])
        if kin:
            crossing[example.split] += 1
            excluded.append(Excluded(id=example.id, reason="leaks into evidence", detail=example.split, kin=kin))
        else:
            kept.append(example)
    return Outcome(kept, excluded, {"similarity": options.near_duplicate, "removed_from": crossing})


def _kin(example: Example, near: list[dict[str, str]]) -> str:
    """The id of an alike row on a side that this one must yield to; "" when there is none."""
    yields_to = {"train": ("tune", "certify", "test"), "tune": ("certify", "test")}.get(example.split, ())
    return next((found[side] for found in near for side in yields_to if side in found), "")
