"""Gold in the answers' words: read as the settings say, checked to be about these calls, settled per example.

Gold in other words, or of other calls, makes student and incumbent wrong alike, and would certify anything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stepdown.core.calls import Call
from stepdown.core.dataset import Answer, Example
from stepdown.core.errors import InputError
from stepdown.core.family import families
from stepdown.core.tasks import Task
from stepdown.core.vocabulary import GoldReading, as_toml, by_spelling, labels_of, offers, spelling
from stepdown.curation.options import CurationOptions
from stepdown.curation.outcome import Outcome
from stepdown.stats.label_checks import matches_beyond_chance

FEWEST = 20
"""Gold answers below which nothing is said of how often the incumbent gives them."""
FEW = 4
"""So many that are no answers are passed over, however few there are in all."""
MOST_STRANGE = 0.05
"""The share of gold that may be labels which no answer has: the incumbent may miss some labels wholly."""
LEAST_RIGHT = 0.1
"""The share of gold, or of the values of one of its fields, that the incumbent must give for them to be of one task."""
MOST_RIGHT = 0.9
"""The share of gold that is all the same which the incumbent gives where the calls may really be all the same."""
LEAST_BEYOND = 0.1
"""The agreement of gold and answers beyond chance (Cohen's kappa) that gold of the same calls has at least."""
SHOWN, SHOWN_OFFERS, SHOWN_CHARACTERS = 6, 12, 60


@dataclass(frozen=True)
class GoldRow:
    """gold: in canonical form, None where it cannot be an answer; given: as the file has it. incumbent: its answer."""

    gold: Answer | None
    given: Any
    incumbent: Answer | None


def is_blank(row: GoldRow, reading: GoldReading) -> bool:
    """Whether a label means, by the settings, that there is no gold."""
    return row.gold is None and isinstance(row.given, str) and reading.map.get(row.given.strip()) == ""


@dataclass(frozen=True)
class Labels:
    """The labels of a task. known: those that answers have or prompts list. answers, strange: counts of the answers'
    labels, and of the gold's that are none of the known. offered: what strange ones may be meant to be."""

    known: frozenset[str] = frozenset()
    answers: Counter[str] = field(default_factory=Counter)
    strange: Counter[str] = field(default_factory=Counter)
    offered: dict[str, str] = field(default_factory=dict)


def read_labels(rows: Sequence[GoldRow], task: Task, reading: GoldReading) -> tuple[list[GoldRow], Labels]:
    """The rows with their labels read as the settings say, and the labels of both sides. Answers that are no labels
    stay as they are."""
    answers = Counter(row.incumbent for row in rows if isinstance(row.incumbent, str))
    common = labels_of(answers) | _listed(rows, task, answers)
    # A map leads to labels that there are; only one that is mapped to itself is new, and meant to be.
    known = frozenset(common | {label for label, meaning in reading.map.items() if label == meaning})
    spelt = by_spelling(known)
    read = [
        GoldRow(reading.meaning(row.gold, spelt), row.given, row.incumbent) if isinstance(row.gold, str) else row
        for row in rows
    ]
    strange = Counter(row.gold for row in read if isinstance(row.gold, str) and row.gold not in known)
    labelled = [
        (row.gold, row.incumbent) for row in read if isinstance(row.gold, str) and isinstance(row.incumbent, str)
    ]
    together = Counter((gold, answer) for gold, answer in labelled if gold in strange)
    return read, Labels(known, answers, strange, offers(strange, known, together))


def _listed(rows: Sequence[GoldRow], task: Task, answers: Counter[str]) -> set[str]:
    """Labels of gold that no answer has and the prompt names, unless an answer's label is only spelt otherwise."""
    spelt = {spelling(label) for label in answers}
    missing = {row.gold for row in rows if isinstance(row.gold, str)} - answers.keys()
    text = "\n".join(part.text for message in task.template.messages for part in message.parts) if task.template else ""
    return {
        label
        for label in missing
        if spelling(label) not in spelt
        and re.search(r"[^\W\d]{2}", label)
        and re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text)
    }


def gold_objection(
    rows: Sequence[GoldRow], labels: Labels, task: Task, reading: GoldReading, fair: bool
) -> InputError | None:
    """The error for gold that cannot be answers of this task; None for gold that can.

    rows: those with gold that is not blank, read by `read_labels`. fair: nobody picked them, so that
    the incumbent is right on them as often as everywhere. Gold that is trusted must still be in the answers' words.
    """
    unreadable = [row for row in rows if row.gold is None]
    return (
        _unreadable(rows, unreadable, task)
        or _strange(rows, labels, task)
        or (_unlike(rows, labels, task) if fair and not reading.trusted else None)
    )


def _unreadable(rows: Sequence[GoldRow], unreadable: Sequence[GoldRow], task: Task) -> InputError | None:
    if len(unreadable) <= max(FEW, MOST_STRANGE * len(rows)):
        return None
    return InputError(
        f"Of {len(rows):,} gold answers of {task.name!r} {len(unreadable):,} cannot be answers of it: "
        f"{_examples(row.given for row in unreadable)}.",
        _expected(task),
        "Write one answer a call as the answers are written, leave the gold of the others empty, and import it again."
        + ("" if task.family == "classify" else _one_field(task)),
    )


def _one_field(task: Task) -> str:
    return (
        ' Or, where the gold is one field of the answers, write family = "classify" and answer = "$.THAT_FIELD" in '
        f"stepdown.toml under [tasks.{_key(task.name)}]."
    )


def _expected(task: Task) -> str:
    return "Expected one label for each call." if task.family == "classify" else "Expected an object of its fields."


def _strange(rows: Sequence[GoldRow], labels: Labels, task: Task) -> InputError | None:
    if labels.strange.total() <= max(FEW, MOST_STRANGE * len(rows)):
        return None
    return InputError(
        f"Of {len(rows):,} gold answers of {task.name!r} {labels.strange.total():,} are labels that no answer has and "
        f"no prompt lists: {_counted(labels.strange)}. The answers have {_counted(labels.answers)}.",
        "Gold in another spelling makes everyone wrong alike, and would certify anything.",
        f"{_advice(labels, task)}{_elsewhere(task)} A label that is right although no answer has it is mapped to "
        'itself, and one that says nothing to "".',
    )


def _elsewhere(task: Task) -> str:
    return (
        "" if task.answer == "$" else f" If the decision sits elsewhere than at {task.answer}, correct `answer` there."
    )


def _advice(labels: Labels, task: Task) -> str:
    where = f"in stepdown.toml under [tasks.{_key(task.name)}]"
    if not labels.offered:
        return f'Correct the file, or say {where} what each means: gold_map = {{ "GOLD\'S" = "THE ANSWER\'S" }}.'
    spelt = by_spelling(labels.known)
    if labels.offered.keys() == labels.strange.keys() and all(
        spelt.get(spelling(label)) == target for label, target in labels.offered.items()
    ):
        differ = "They differ in case, spaces, underscores or hyphens alone; if they mean the same"
        return f'{differ}, write {where}: gold_spelling = "loose".'
    shown = dict(list(labels.offered.items())[:SHOWN_OFFERS])
    more = len(labels.strange) - len(shown)
    rest = f" and what the other {more:,} mean" if more else ""
    return f"If this is what they mean, write it {where}: gold_map = {as_toml(shown)}{rest}."


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _unlike(rows: Sequence[GoldRow], labels: Labels, task: Task) -> InputError | None:
    pairs = [(row.gold, row.incumbent) for row in rows if row.gold is not None and row.incumbent is not None]
    if len(pairs) < FEWEST:
        return None
    if not isinstance(pairs[0][0], str):
        return _unlike_in_fields(pairs, task)
    golds = Counter(gold for gold, _ in pairs)
    same = sum(gold == answer for gold, answer in pairs)
    beyond = matches_beyond_chance([gold for gold, _ in pairs], [{answer} for _, answer in pairs])
    if same < LEAST_RIGHT * len(pairs):
        why = ""
    elif beyond is not None and beyond < LEAST_BEYOND:
        why = ", no more than chance brings"
    elif len(golds) == 1 and same < MOST_RIGHT * len(pairs):
        why = ", which are all the same"
    else:
        return None
    return InputError(
        f"Of {task.name!r} the incumbent gives {same:,} of {len(pairs):,} gold answers{why}. "
        f"Gold has {_counted(golds)}; the answers have {_counted(labels.answers)}.",
        "Such gold is in another spelling, about another task or about other calls, and would certify anything.",
        f"{_MEND} {_trust(task)}",
    )


def _unlike_in_fields(answered: Sequence[tuple[Answer, Answer]], task: Task) -> InputError | None:
    """The error for a field whose gold the incumbent hardly ever gives although it has a value there; None for none."""
    parts = families().load(task.family).parts
    there: Counter[str] = Counter()
    same: Counter[str] = Counter()
    shown: dict[str, tuple[Any, Any]] = {}
    for gold, answer in answered:
        given = parts(answer)
        for name, value in parts(gold).items():
            if name in given:
                there[name] += 1
                same[name] += given[name] == value
                if given[name] != value:
                    shown.setdefault(name, (value, given[name]))
    for name, count in there.most_common():
        if count >= FEWEST and same[name] < LEAST_RIGHT * count:
            gold, answer = shown[name]
            return InputError(
                f"The incumbent gives {same[name]:,} of {count:,} gold values of the field {name!r} of {task.name!r}: "
                f"gold has {_short(gold)} where it answers {_short(answer)}.",
                "Gold in another spelling, or about other calls, makes everyone wrong alike.",
                f"{_MEND} {_trust(task)}",
            )
    return None


_MEND = "Check that its ids are those of the calls, write it as the answers are written, and import it again."


def _trust(task: Task) -> str:
    return (
        f"If the gold is right all the same, write trust_gold = true in stepdown.toml under [tasks.{_key(task.name)}]."
    )


def _counted(counts: Counter[Any]) -> str:
    shown = [f"{_short(name)} ({count:,})" for name, count in counts.most_common(SHOWN)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _examples(values: Any) -> str:
    counts = Counter(_short(value) for value in values)
    return ", ".join(name for name, _ in counts.most_common(3))


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def rows_of(calls: Sequence[Call], task: Task, gold: dict[str, Any]) -> list[GoldRow]:
    """A row for each call that has gold. gold: as it was given, by call id."""
    family = families().load(task.family)
    return [
        GoldRow(family.canonical(task, gold[call.id]), gold[call.id], family.read_answer(task, call))
        for call in calls
        if call.id in gold and call.response is not None
    ]


def settle_gold(examples: Sequence[Example], task: Task, options: CurationOptions) -> Outcome:
    """The examples with their gold as the answers write it.

    A label that no answer has and no prompt lists is no gold: it would be learned and served. Raises InputError where
    too much of the gold is so, or where it is about something else.
    """
    rows = [
        GoldRow(example.gold, options.gold[example.id].gold if example.id in options.gold else None, example.incumbent)
        for example in examples
    ]
    read, labels = read_labels(rows, task, options.reading)
    if options.against != "agreement":
        there = [
            row
            for row, example in zip(read, examples, strict=True)
            if example.id in options.gold and not is_blank(row, options.reading)
        ]
        wrong = gold_objection(there, labels, task, options.reading, _is_fair(examples, options))
        if wrong is not None:
            raise wrong
    settled = [_settled(example, row, labels) for example, row in zip(examples, read, strict=True)]
    return Outcome(settled, findings={"passed_over": dict(labels.strange.most_common())} if labels.strange else {})


def _settled(example: Example, row: GoldRow, labels: Labels) -> Example:
    gold = None if isinstance(row.gold, str) and row.gold in labels.strange else row.gold
    if gold == example.gold:
        return example
    return msgspec.structs.replace(example, gold=gold, gold_basis=example.gold_basis if gold is not None else "")


def _is_fair(examples: Sequence[Example], options: CurationOptions) -> bool:
    """Whether gold is of all calls of production, or of a sample declared random, so that no calls were picked."""
    golds = [options.gold[example.id] for example in examples if example.id in options.gold]
    since, escalated = options.whole_since, options.seen.escalated
    natural = [row.id for row in examples if row.id not in escalated and row.timestamp >= since]
    complete = all(name in options.gold and options.gold[name].basis != "volunteered" for name in natural)
    return complete or (bool(golds) and all(gold.basis in ("random-sample", "all") for gold in golds))
