"""Certifying an export: the parent's candidate with the exported models in it, on the parent's evidence.

What may be claimed of an export, and what it costs. An exported model is another artefact, so that it needs a
certificate of its own; by the time it exists, its parent has been tested on these very rows. Two cases:

1. *The same function.* On every row of tune and certify each exported model gives its parent's answer, on the same
   side of its threshold, and no confidence has moved by more than `SAME` = 1e-5, which is what float32 loses when sums
   are taken in another order. This asks no new question of the evidence: "does this function keep the contract" has
   been asked and answered, and the ledger lets the same question be asked again for nothing. The certificate is issued
   anew, under the parent's attempt and share, with the latency and cost of the export, which are measured afresh. What
   this rests on: agreement on N rows cannot show that two functions agree everywhere. Were they to decide differently
   on a share d of the traffic, N rows would show none of it with chance (1 − d)^N; with 95 % confidence d is below
   3/N, and the excess loss of the export is above its parent's by no more than that.
2. *Another function that decides alike.* Where confidences moved by more (int8 arithmetic done over again: a rounding
   falls the other way, and moves all that comes after it), the export is a candidate of its own, and one chosen after
   its parent was certified on the same rows. It spends the next attempt of the ledger, journalled before it is tested,
   at the smaller share that this attempt has. The parent's whole path is walked again: at a smaller share it may stop
   at a stricter point, and the export then escalates more than its parent; or nowhere, and then it is not certified.

Testing the export at the parent's share in case 2 would be wrong: either of two claims could be false, and the chance
that one of them is could be up to twice the share. A fixed sequence (parent first, then the export) does not save it,
because the parent's own walk has ended, in general, at a point that failed.

The evidence file is the parent's but for the exported models' signals and, where the contract limits it, their latency.
Losses depend on answers alone,
and those are the same. A certificate of an export lapses with its parent's: the evidence is as old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from stepdown.build.export_rows import Compared, Rows
from stepdown.build.export_source import Parent
from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Evidence, gather
from stepdown.certificate.hashes import read_contract
from stepdown.certificate.ledger import Attempt, attempt
from stepdown.core.certificate import Certificate
from stepdown.core.draw import ATTEMPTED
from stepdown.core.errors import TamperedError
from stepdown.core.exports import ExportedRung
from stepdown.core.store import Store
from stepdown.project.evidence_draws import ledger_events
from stepdown.students.exported_program import ProgramAnswer

SAME = 1e-5
REISSUED = "certificate-reissued"


def recertify(
    store: Store,
    parent: Parent,
    rungs: Sequence[ExportedRung],
    said: Sequence[ProgramAnswer],
    compared: Compared,
    now: float,
) -> tuple[Certificate, Evidence]:
    """The certificate of an export that decides as its parent does, or a refusal; with its evidence. Journalled."""
    certificate = parent.certificate
    contract = read_contract(certificate.contract)
    if contract is None:
        raise TamperedError("The contract in the certificate cannot be read.", "", "Build the task again.")
    # Timings are measured at every export: where the contract does not ask for them, they must not make the same
    # export another question of the same evidence.
    is_timed = contract.latency_p95_ms is not None
    evidence = _evidence(parent.evidence, rungs, said, compared.rows, is_timed)
    found = compared.found
    if found.drift <= SAME:
        spent = Attempt(number=certificate.attempt, error_share=certificate.error_share)
        data = {"candidate": evidence.candidate.digest, "parent": certificate.digest, "rows": found.rows}
        store.append(REISSUED, certificate.task, {**data, "drift": found.drift}, at=now)
    else:
        spent = attempt(ledger_events(store), evidence, contract)
        store.append(ATTEMPTED, certificate.task, spent.event, at=now)
    issue = Issue(at=certificate.issued_at, seed=certificate.seed, journal=certificate.journal)
    return certify(evidence, contract, spent, parent.dataset, issue), evidence


def _evidence(
    parent: Evidence, rungs: Sequence[ExportedRung], said: Sequence[ProgramAnswer], rows: Rows, is_timed: bool
) -> Evidence:
    candidate_students = tuple(
        msgspec.structs.replace(candidate_student, artefact=rung.model.digest, cost_usd=rung.cost_per_1k.value / 1000.0)
        for candidate_student, rung in zip(parent.candidate.candidate_students, rungs, strict=True)
    )
    seen = replace(
        parent.seen,
        candidate_students=candidate_students,
        signals=tuple(one.signals[rows.evidence] for one in said),
        latency_s=np.stack([one.seconds[rows.evidence] for one in said]) if said and is_timed else None,
    )
    candidate = msgspec.structs.replace(parent.candidate, candidate_students=candidate_students)
    return gather(candidate, seen, parent.terms, parent.keys)
