"""One training example per distinct input, weighted; evidence is left as the traffic brought it."""

from __future__ import annotations

import math
from collections import defaultdict

import msgspec

from stepdown.core.dataset import Example, Excluded
from stepdown.curation.normal_text import text_key
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome


def collapse(examples: list[Example], options: CurationOptions) -> Outcome:
    """The first of each set of equal train inputs stays, with the weight 1 + ln(how often it came).

    Equal inputs carry one settled answer by now (see conflicts), so the rest teach nothing but their frequency. The
    logarithm keeps a greeting that is a third of the traffic from being a third of what a small model minds.
    """
    alike: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.split == "train":
            alike[text_key(example.text)].append(example)
    first = {same[0].id: same for same in alike.values()}
    kept: list[Example] = []
    excluded: list[Excluded] = []
    for example in examples:
        if example.split != "train":
            kept.append(example)
        elif example.id in first:
            times = len(first[example.id])
            kept.append(msgspec.structs.replace(example, weight=example.weight * (1 + math.log(times))))
    for same in first.values():
        reason = "collapsed into one training example"
        excluded.extend(Excluded(id=one.id, reason=reason, kin=same[0].id) for one in same[1:])
    heaviest = max((len(same) for same in first.values()), default=0)
    return Outcome(kept, excluded, {"collapsed": len(excluded), "most_calls_in_one": heaviest})
