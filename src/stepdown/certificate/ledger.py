"""The ledger: evidence is spent. How many certificates were attempted on these rows before, and what is left.

The k-th attempt on the same evidence gets the k-th share of the error budget 1 − confidence; all shares sum to one, so
the chance that *any* of them, however many, certifies what is not so stays within the budget (a union bound). That
holds for candidates chosen without sight of the evidence, and for those chosen after refusals of which only the verdict
was used: given that all before were refused there is one next candidate, so the list is as good as fixed.

Attempts belong together when they share a row, directly or through attempts between them, whatever task they were made
for. A row is known by its content (input and time), so that calling it by another id gains nothing; and an attempt on a
draw belongs to those on the draw that it replaces. Wholly fresh rows start a new count. Re-issuing the very same
candidate on the same rows under the same contract asks no new question and costs nothing.

A further look at the *same* candidate with more rows of the same draw is no further attempt: it goes on within the
share of the first look, at the level that earlier looks have left (`stats.stages`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.hashes import contract_hash
from stepdown.core.canonical import digest
from stepdown.core.contract import Contract
from stepdown.core.draw import ATTEMPTED, LOOKED
from stepdown.core.errors import TamperedError
from stepdown.core.events import Event
from stepdown.stats.spending import attempt_error

_ID_BYTES, _CONTENT_BYTES = 4, 8
QUESTION = ("candidate", "contract", "evidence")

Keys = NDArray[np.uint64]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """number: 1 for the first use of the evidence. error_share: the part of 1 − confidence that it may spend.

    event: the data to journal under ATTEMPTED before the evidence is tested.
    """

    number: int
    error_share: float
    event: dict[str, Any] = {}


@dataclass(frozen=True)
class _Entry:
    """An attempt as the journal has it. content: () in journals of before rows were known by content. others: attempts
    before it on the same evidence that another project's journal has, where it came with a build of that one."""

    question: tuple[str, ...]
    ids: Keys
    content: Keys
    draw: str
    replaces: str
    stages: tuple[int, ...]
    final: bool
    looked: tuple[str, ...]
    others: int = 0


def attempt(events: Iterable[Event], evidence: Evidence, contract: Contract) -> Attempt:
    """The attempt with the error that it may spend, given the journal so far. Pure: the caller journals `event`.

    events: of any kind and of every task; only those of attempts and looks are read. Raises TamperedError when one of
    them cannot be read.
    """
    population = evidence.basis.population
    ids, content = row_keys(evidence.seen.ids, _ID_BYTES), row_keys(evidence.keys, _CONTENT_BYTES)
    question = {
        "candidate": evidence.candidate.digest,
        "contract": contract_hash(contract),
        "evidence": evidence.rows_hash,
    }
    question_parts = tuple(question[part] for part in QUESTION)
    stages, final = evidence.terms.stages, evidence.terms.final
    looked = tuple(evidence.stage_hashes) if evidence.keys else ()
    entry = _Entry(question_parts, ids, content, population.draw, population.replaces, stages, final, looked)
    number = _number(events, entry, evidence.seen.reference == "agreement")
    data = {**question, "rows": _packed(ids, _ID_BYTES), "n": evidence.n, "attempt": number}
    if evidence.keys:
        data |= {"content": _packed(content, _CONTENT_BYTES), "draw": entry.draw, "replaces": entry.replaces}
        data |= {"stages": list(stages), "final": final, "looked": list(looked)}
    return Attempt(number=number, error_share=attempt_error(1.0 - contract.confidence, number), event=data)


def asked_before(events: Iterable[Event], spent: Attempt) -> Event | None:
    """The journal's event of an earlier attempt at the same question, or None: repeating it tests nothing new."""
    question = {part: spent.event[part] for part in QUESTION}
    return next((event for event in events if event.kind == ATTEMPTED and question.items() <= event.data.items()), None)


def attempts_so_far(
    events: Iterable[Event], ids: Sequence[str], keys: Sequence[str], draws: Sequence[str], by_agreement: bool
) -> int:
    """The number of attempts on rows (ids and content keys) or draws, directly or through one another."""
    draw, replaces = (*draws, "", "")[:2]
    rows = row_keys(ids, _ID_BYTES), row_keys(keys, _CONTENT_BYTES)
    nothing = _Entry(("", "", ""), *rows, draw, replaces, stages=(), final=False, looked=())
    return _number(events, nothing, by_agreement) - 1


def looks(events: Iterable[Event], candidate: str, contract: Contract, draw: str) -> tuple[int, ...]:
    """How many rows of the draw each look at this candidate had, in order; () where none was taken, or the last of them
    was the final one, so that a further look is a further attempt."""
    question_parts = (candidate, contract_hash(contract))
    ends: tuple[int, ...] = ()
    for event in events:
        if event.kind == ATTEMPTED:
            entry = _read(event)
            if entry.question[:2] == question_parts and entry.draw == draw and draw:
                ends = () if entry.final else entry.stages
    return ends


def row_keys(names: Sequence[str], size: int = _ID_BYTES) -> Keys:
    """Short keys of rows, sorted. Should two rows share one by chance, an attempt more is counted."""
    short = [int(digest(name.encode())[: 2 * size], 16) for name in names]
    return np.unique(np.array(short, dtype=np.uint64))


def _number(events: Iterable[Event], entry: _Entry, by_agreement: bool) -> int:
    earlier: dict[tuple[str, ...], _Entry] = {}
    looked: set[str] = set()
    own = 0
    for event in events:
        if event.kind == LOOKED and by_agreement and event.data.get("draw") == entry.draw:
            looked.add(str(event.data.get("candidate")))
        if event.kind != ATTEMPTED:
            continue
        before = _read(event)
        if before.question == entry.question:
            own = before.others
            break
        if _is_look_of(before, entry):
            own = max(own, before.others)
        else:
            earlier[before.question] = before
    return 1 + own + _linked(list(earlier.values()), entry) + len(looked - {entry.question[0]})


def _is_look_of(before: _Entry, entry: _Entry) -> bool:
    """Whether `before` was an earlier look of the same attempt, at rows that have not changed since."""
    same = before.question[:2] == entry.question[:2] and before.draw == entry.draw and bool(entry.draw)
    fewer = 0 < len(before.stages) < len(entry.stages) and entry.stages[: len(before.stages)] == before.stages
    return same and not before.final and fewer and entry.looked[: len(before.looked)] == before.looked


def _linked(waiting: list[_Entry], entry: _Entry) -> int:
    """How many of the attempts are linked with `entry` by shared rows or draws, directly or through one another."""
    reached = 0
    ids, content, draws = entry.ids, entry.content, {entry.replaces, entry.draw} - {""}
    while True:
        joined = [
            each
            for each in waiting
            if each.draw in draws
            or (_meet(each.content, content) if each.content.size and content.size else _meet(each.ids, ids))
        ]
        if not joined:
            return reached
        reached += sum(1 + each.others for each in joined)
        gone = {id(each) for each in joined}
        waiting = [each for each in waiting if id(each) not in gone]
        ids = np.unique(np.concatenate([ids, *(each.ids for each in joined)]))
        content = np.unique(np.concatenate([content, *(each.content for each in joined)]))
        draws |= {name for each in joined for name in (each.draw, each.replaces) if name}


def _meet(one: Keys, other: Keys) -> bool:
    return bool(np.isin(one, other, assume_unique=True).any())


def _read(event: Event) -> _Entry:
    try:
        data = event.data
        return _Entry(
            question=tuple(str(data[part]) for part in QUESTION),
            ids=_unpacked(data["rows"], _ID_BYTES),
            content=_unpacked(data.get("content", ""), _CONTENT_BYTES),
            draw=str(data.get("draw", "")),
            replaces=str(data.get("replaces", "")),
            stages=tuple(int(end) for end in data.get("stages", ())),
            final=bool(data.get("final", True)),
            looked=tuple(str(each) for each in data.get("looked", ())),
            others=max(0, int(data.get("others", 0))),
        )
    except (KeyError, TypeError, ValueError):
        raise TamperedError(
            f"Event {event.sequence} of the journal is an attempt at a certificate that cannot be read.",
            "It must name candidate, contract, evidence and rows, as the ledger wrote it.",
            "Restore the store from a backup; without its ledger no new certificate can be trusted.",
        ) from None


def _packed(keys: Keys, size: int) -> str:
    return base64.b64encode(keys.astype(f">u{size}").tobytes()).decode()


def _unpacked(text: str, size: int) -> Keys:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=f">u{size}").astype(np.uint64)
