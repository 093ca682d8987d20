"""Gold listed row by row, and removed: only in ways that cannot select evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.certificate.evidence_file import read_evidence
from stepdown.core.canonical import digest_of
from stepdown.core.draw import DRAWN, Draw
from stepdown.core.errors import InputError, StepdownError, UsageError
from stepdown.core.ownership import Owners
from stepdown.core.store import Feedback, Gold, GoldBasis, Store
from stepdown.project.builds import built_tasks
from stepdown.project.call_ids import ids_of
from stepdown.project.discovery import known_tasks, no_such_task
from stepdown.project.home import Home
from stepdown.project.import_traffic import GOLD_REMOVED, IMPORTED_INTO, note_unknown_tasks
from stepdown.project.in_force import answering, standing
from stepdown.project.journal import Journal, note_feedback, read_journal

_WHOLE: tuple[GoldBasis, ...] = ("random-sample", "all")
"""Gold that is evidence as a whole: without some of its rows the others are no random sample any more."""
_SHOWN = 5


class GoldRow(msgspec.Struct, frozen=True, kw_only=True):
    """One gold answer. task: "" where its call is of none, or is not there. basis: how it came to be labelled, "" where
    nobody said. source: the file and row, or "feedback:" and the name of a key. drawn: whether its call is evidence."""

    id: str
    task: str
    gold: Any
    split: str
    basis: GoldBasis
    source: str
    drawn: bool


class RemovedGold(msgspec.Struct, frozen=True, kw_only=True):
    """What a removal did. removed: the calls whose gold went. evidence: those of them that a draw has. certificates: of
    the tasks whose certificate in force rests on some of it, its hash: it stands on what was tested."""

    removed: tuple[str, ...]
    evidence: tuple[str, ...]
    certificates: dict[str, str]


@dataclass(frozen=True)
class RemoveRequest:
    """names: of calls, by id or by response id. evidence: whether gold of drawn calls may go. reason: why, in words."""

    names: Sequence[str]
    evidence: bool = False
    reason: str = ""


def list_gold(home: Home, task: str = "") -> list[GoldRow]:
    """All gold, or one task's, by id. Raises UsageError."""
    with home.store() as store:
        tasks = known_tasks(store, home.settings)
        if task and task not in tasks:
            raise no_such_task(store, task, tasks)
        gold, draws = store.gold(), _draws(store)
        owners = Owners(tasks.values())
        of = {call.id: owner.name for call in store.calls_by_id(gold) if (owner := owners.of(call)) is not None}
        return [
            GoldRow(
                id=one.id,
                task=of.get(one.id, ""),
                gold=one.gold,
                split=one.split,
                basis=one.basis,
                source=one.source,
                drawn=bool(_drawn_by(draws, one.id)),
            )
            for one in gold.values()
            if not task or of.get(one.id) == task
        ]


def remove_gold(home: Home, request: RemoveRequest) -> RemovedGold:
    """Take gold out of the store, all that is named or nothing, and enter it in the journal.

    A drawn call whose gold went counts as unlabelled: the worst case wherever a student differs on it, so that nothing
    is gained by it. Of gold that is evidence as a whole nothing goes but all of it. Raises InputError, UsageError.
    """
    with home.store() as store:
        gold, draws = store.gold(), _draws(store)
        wanted = _wanted(store, gold, request.names)
        _check_whole(gold, wanted)
        evidence = [name for name in wanted if _drawn_by(draws, name)]
        if evidence and not request.evidence:
            raise UsageError(
                f"{_shown(evidence)} {'are' if len(evidence) > 1 else 'is'} of the evidence that was drawn.",
                "A wrong label is corrected by importing the right one. Without a label a drawn call counts as a "
                "mistake of whichever student differs from the incumbent on it.",
                "To remove it all the same, with an entry in the journal that says so: --evidence.",
            )
        rests = _resting_on(home, store, set(evidence))
        note_unknown_tasks(store, home.clock())
        rows = [gold[name] for name in wanted]
        store.remove_gold(wanted)
        left = store.gold()
        for name in (one for one in wanted if one in left):  # It came as feedback.
            _withdraw(store, name, request.reason, home.clock())
        data = {
            "calls": wanted,
            "evidence": evidence,
            "certificates": rests,
            "gold_rows": digest_of(rows),
            "reason": request.reason,
        }
        store.append(GOLD_REMOVED, "", data, at=home.clock(), tables=IMPORTED_INTO)
        note_feedback(store, home.clock(), every_s=0.0)
    return RemovedGold(removed=tuple(wanted), evidence=tuple(evidence), certificates=rests)


def removed_notes(store: Store, in_force: dict[str, str]) -> Iterator[str]:
    """A sentence for each task whose certificate in force rests on gold that was removed since. in_force: the hashes of
    certificates by task."""
    counts = dict.fromkeys(in_force, 0)
    for event in store.events(GOLD_REMOVED):
        for task, digest in event.data.get("certificates", {}).items():
            if in_force.get(task) == digest:
                counts[task] += len(event.data.get("evidence", ()))
    for task, count in counts.items():
        if count:
            yield (
                f"{task}: up to {count:,} labels that its certificate rests on were removed after it was issued. It "
                "stands on what was tested; the next build counts those calls as unlabelled."
            )


def _wanted(store: Store, gold: dict[str, Gold], names: Sequence[str]) -> list[str]:
    wanted: dict[str, None] = {}
    for name in names:
        matches = [name] if name in gold else [one for one in ids_of(store, name) if one in gold]
        if not matches:
            raise InputError(
                f"There is no gold for {name[:200]!r}.",
                "Expected the id of a call, or of its response; nothing was removed.",
                "stepdown gold list shows all gold.",
            )
        wanted.update(dict.fromkeys(matches))
    return list(wanted)


def _check_whole(gold: dict[str, Gold], wanted: Sequence[str]) -> None:
    going = set(wanted)
    for basis in _WHOLE:
        left = sum(one.basis == basis and name not in going for name, one in gold.items())
        some = [name for name in wanted if gold[name].basis == basis]
        if some and left:
            raise UsageError(
                f"{_shown(some)} {'are' if len(some) > 1 else 'is'} of gold that was imported with --gold-is {basis}, "
                f"of which {left:,} more would stay.",
                "The others would be no random sample any more, as removing some is choosing.",
                "Import the right answer for it instead, or remove all of that gold.",
            )


def _withdraw(store: Store, name: str, reason: str, now: float) -> None:
    """Withdraw feedback by a further piece of feedback: the chain keeps every piece."""
    store.add_feedback("", Feedback(call=name, kind="withdrawn", value=None, comment=reason), now)


def _draws(store: Store) -> list[Draw]:
    return [msgspec.convert(event.data, Draw) for event in store.events(DRAWN)]


def _drawn_by(draws: Sequence[Draw], name: str) -> list[str]:
    """The tasks whose evidence has a call."""
    return [draw.task for draw in draws if draw.place(name) is not None]


def _resting_on(home: Home, store: Store, names: set[str]) -> dict[str, str]:
    """By task, the certificates in force whose evidence has some of these calls."""
    if not names:
        return {}
    journal = read_journal(home, store)
    digests = {task: _digest_in_force(home, journal, task, names) for task in built_tasks(home)}
    return {task: digest for task, digest in digests.items() if digest}


def _digest_in_force(home: Home, journal: Journal, task: str, names: set[str]) -> str:
    """The hash of a task's certificate that is in force and rests on some of these calls; "" where there is none."""
    try:
        own = standing(home, journal, answering(home, journal, task), task)
        if own.certificate is None or not own.in_force:
            return ""
        return own.certificate.digest if names & set(read_evidence(own.folder.evidence).seen.ids) else ""
    except (StepdownError, OSError):
        return ""  # `status` says what is wrong with it; it is not in force.


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:100]) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
