"""Notes on a verdict: the trivial answer, answers that could not be read, gold that was passed over."""

from __future__ import annotations

from stepdown.core.dataset import SPLITS
from stepdown.core.record import BuildRecord
from stepdown.core.trivial import trivial_sentences
from stepdown.report.format import PERCENT, clean, count, quantity
from stepdown.report.reading import incumbent_name

MOST_UNREAD = 0.1
"""The share of answers that may be unreadable before it is said that they count as the incumbent's mistakes."""
SHOWN = 3


def notes(record: BuildRecord) -> list[str]:
    """The notes, a sentence or two each."""
    return [note for note in (_trivial(record), _unread(record), _passed_over(record)) if note]


def trivial_passes(record: BuildRecord) -> bool:
    """Whether always giving the commonest answer would keep the margin too, and no claim is about labels."""
    trivial, contract = record.trivial, record.contract
    return trivial is not None and trivial.passes(contract.margin) and "label" not in contract.slices


def _trivial(record: BuildRecord) -> str:
    trivial = record.trivial
    if trivial is None or (record.part != "label" and not trivial.passes(record.contract.margin)):
        return ""
    return " ".join(trivial_sentences(trivial, record.contract.margin, record.contract.slices))


def _unread(record: BuildRecord) -> str:
    counts = _finding(record, "parse", "unusable_answers")
    unread, calls = sum(counts.values()), sum(record.dataset.counts.get(split, 0) for split in SPLITS)
    if unread <= MOST_UNREAD * calls:
        return ""
    why = ", ".join(f"{clean(reason)} {count(number)}" for reason, number in counts.items())
    return (
        f"{quantity(unread / calls, PERCENT)} of the answers of {incumbent_name(record)} could not be read ({why}). "
        "With gold they count as its mistakes, so check that `answer` in stepdown.toml is right."
    )


def _passed_over(record: BuildRecord) -> str:
    counts = _finding(record, "gold", "passed_over")
    if not counts:
        return ""
    shown = ", ".join(f"“{clean(label)[:60]}”" for label in list(counts)[:SHOWN])
    return (
        f"{count(sum(counts.values()))} gold answers were passed over: no answer has their labels and no prompt lists "
        f"them ({shown}). gold_map in stepdown.toml says what is meant."
    )


def _finding(record: BuildRecord, step: str, name: str) -> dict[str, int]:
    finding = next((each.findings.get(name) for each in record.dataset.steps if each.name == step), None)
    return {key: value for key, value in finding.items() if isinstance(value, int)} if isinstance(finding, dict) else {}
