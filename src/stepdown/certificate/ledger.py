"""The ledger: evidence is spent. How many certificates were attempted on these rows before, and what is left.

The k-th attempt on the same evidence gets the k-th share of the error budget 1 − confidence; all shares sum to one, so
the chance that *any* of them, however many, certifies what is not so stays within the budget (a union bound). That
holds for candidates chosen without sight of the evidence, and for those chosen after refusals of which only the verdict
was used: given that all before were refused there is one next candidate, so the list is as good as fixed.

Attempts belong together when they share a row, directly or through attempts between them. So adding some labels to
evidence continues its count, which is conservative, and wholly fresh rows start a new one. Re-issuing the very same
candidate on the same rows under the same contract asks no new question and costs nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.certificate.evidence import Evidence
from stepdown.certificate.hashes import contract_hash
from stepdown.core.canonical import digest
from stepdown.core.contract import Contract
from stepdown.core.errors import TamperedError
from stepdown.core.events import Event
from stepdown.stats.spending import attempt_error

ATTEMPTED = "certificate-attempted"
"""The kind of event that a loop journals before it certifies."""

_KEY_BYTES = 4
_QUESTION = ("candidate", "contract", "evidence")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """number: 1 for the first use of the evidence. error_share: the part of 1 − confidence that it may spend.

    event: the data to journal under ATTEMPTED before the evidence is tested.
    """

    number: int
    error_share: float
    event: dict[str, Any] = {}


def attempt(events: Iterable[Event], evidence: Evidence, contract: Contract) -> Attempt:
    """What this attempt may spend, given the journal so far. Pure: whoever calls it journals `event` afterwards.

    events: of any kind; only those of attempts are read. Raises TamperedError when one of them cannot be read.
    """
    question = {
        "candidate": evidence.candidate.digest,
        "contract": contract_hash(contract),
        "evidence": evidence.rows_hash,
    }
    keys = row_keys(evidence.seen.ids)
    number = _number(events, question, keys)
    data = {**question, "rows": _packed(keys), "n": evidence.n, "attempt": number}
    return Attempt(number=number, error_share=attempt_error(1.0 - contract.confidence, number), event=data)


def row_keys(ids: Sequence[str]) -> NDArray[np.uint32]:
    """Short keys of rows, sorted. Should two rows share one by chance, an attempt more is counted."""
    short = [int.from_bytes(bytes.fromhex(digest(each.encode())[: 2 * _KEY_BYTES]), "big") for each in ids]
    return np.unique(np.array(short, dtype=np.uint32))


def _number(events: Iterable[Event], question: dict[str, str], keys: NDArray[np.uint32]) -> int:
    earlier: dict[tuple[str, ...], NDArray[np.uint32]] = {}
    asked = tuple(question[part] for part in _QUESTION)
    for event in events:
        if event.kind != ATTEMPTED:
            continue
        before, rows = _read(event)
        if before == asked:
            break
        earlier[before] = rows
    return 1 + _linked(list(earlier.values()), keys)


def _linked(sets: list[NDArray[np.uint32]], keys: NDArray[np.uint32]) -> int:
    """How many of the sets are linked with `keys` by shared members, directly or through one another."""
    reached, waiting = 0, sets
    while True:
        joined = [rows for rows in waiting if np.isin(rows, keys, assume_unique=True).any()]
        if not joined:
            return reached
        reached += len(joined)
        linked = {id(rows) for rows in joined}
        waiting = [rows for rows in waiting if id(rows) not in linked]
        keys = np.unique(np.concatenate([keys, *joined]))


def _read(event: Event) -> tuple[tuple[str, ...], NDArray[np.uint32]]:
    try:
        question = tuple(str(event.data[part]) for part in _QUESTION)
        rows = np.frombuffer(base64.b64decode(event.data["rows"], validate=True), dtype=">u4").astype(np.uint32)
    except (KeyError, TypeError, ValueError):
        raise TamperedError(
            f"Event {event.sequence} of the journal is an attempt at a certificate that cannot be read.",
            "It must name candidate, contract, evidence and rows, as the ledger wrote it.",
            "Restore the store from a backup; without its ledger no new certificate can be trusted.",
        ) from None
    return question, rows


def _packed(keys: NDArray[np.uint32]) -> str:
    return base64.b64encode(keys.astype(">u4").tobytes()).decode()
