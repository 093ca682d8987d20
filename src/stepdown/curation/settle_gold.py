"""Gold in the answers' words: read as the settings say, without labels that are none of the task's."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stepdown.core.dataset import Example
from stepdown.core.tasks import Task
from stepdown.curation.gold_check import GoldRow, Labels, gold_objection, is_blank, read_labels
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome


def settle_gold(examples: Sequence[Example], task: Task, options: CurationOptions) -> Outcome:
    """The examples with their gold as the answers write it.

    A label that no answer has and no prompt lists is no gold: it would be learned and served. Raises InputError where
    too much of the gold is so, or where it is about something else.
    """
    rows = [_row(one, options) for one in examples]
    read, labels = read_labels(rows, task, options.reading)
    if options.against != "agreement":
        there = [
            row
            for row, one in zip(read, examples, strict=True)
            if one.id in options.gold and not is_blank(row, options.reading)
        ]
        wrong = gold_objection(there, labels, task, options.reading, _is_fair(examples, options))
        if wrong is not None:
            raise wrong
    settled = [_settled(one, row, labels) for one, row in zip(examples, read, strict=True)]
    return Outcome(settled, findings={"passed_over": dict(labels.strange.most_common())} if labels.strange else {})


def _row(example: Example, options: CurationOptions) -> GoldRow:
    given = options.gold[example.id].gold if example.id in options.gold else None
    return GoldRow(example.gold, given, example.incumbent)


def _settled(example: Example, row: GoldRow, labels: Labels) -> Example:
    gold = None if isinstance(row.gold, str) and row.gold in labels.strange else row.gold
    if gold == example.gold:
        return example
    return msgspec.structs.replace(example, gold=gold, gold_basis=example.gold_basis if gold is not None else "")


def _is_fair(examples: Sequence[Example], options: CurationOptions) -> bool:
    """Whether gold is of calls that nobody picked: all that production made, or a sample declared random."""
    golds = [options.gold[one.id] for one in examples if one.id in options.gold]
    natural = [one for one in examples if one.id not in options.seen.escalated and one.timestamp >= options.whole_since]
    complete = all(one.id in options.gold and options.gold[one.id].basis != "volunteered" for one in natural)
    return complete or (bool(golds) and all(one.basis in ("random-sample", "all") for one in golds))
