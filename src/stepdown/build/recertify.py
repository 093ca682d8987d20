"""Certifying an export: the parent's candidate with the exported models in it, on the parent's evidence.

An exported model is another artefact, so that it needs a certificate of its own; by the time it exists, its parent has
been tested on these very rows. Why that is sound, and what it costs, is in docs/export.md ("What the new certificate
says, and what it costs"): no confidence moved by more than `SAME` (what float32 loses when sums are taken in another
order), and the question has been answered and is asked again for nothing; else the export is a candidate of its own
and spends the next attempt, journalled before it is tested. The evidence file is the parent's but for the signals of
the exported models and, where the contract limits it, their latency: losses depend on answers, and those are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from stepdown.build.export_rows import Compared
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

SAME = 1e-5
REISSUED = "certificate-reissued"


def recertify(
    store: Store, parent: Parent, rungs: Sequence[ExportedRung], compared: Compared, now: float
) -> tuple[Certificate, Evidence]:
    """The certificate of an export that decides as its parent does, or a refusal; with its evidence. Journalled."""
    certificate = parent.certificate
    contract = read_contract(certificate.contract)
    if contract is None:
        raise TamperedError("The contract in the certificate cannot be read.", "", "Build the task again.")
    # Timings are measured at every export: where the contract does not ask for them, they must not make the same
    # export another question of the same evidence.
    is_timed = contract.latency_p95_ms is not None
    evidence = _evidence(parent.evidence, rungs, compared, is_timed)
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


def _evidence(parent: Evidence, rungs: Sequence[ExportedRung], compared: Compared, is_timed: bool) -> Evidence:
    candidate_students = tuple(
        msgspec.structs.replace(candidate_student, artefact=rung.model.digest, cost_usd=rung.cost_per_1k.value / 1000.0)
        for candidate_student, rung in zip(parent.candidate.candidate_students, rungs, strict=True)
    )
    said, rows = compared.said, compared.rows.evidence
    seen = replace(
        parent.seen,
        candidate_students=candidate_students,
        signals=tuple(one.signals[rows] for one in said),
        latency_s=np.stack([one.seconds[rows] for one in said]) if said and is_timed else None,
    )
    candidate = msgspec.structs.replace(parent.candidate, candidate_students=candidate_students)
    return gather(candidate, seen, parent.terms, parent.keys)
