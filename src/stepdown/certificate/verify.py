"""Verify: recompute a certificate from its evidence, and say by name whatever does not come out the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stepdown.certificate.certify import Issue, issue_certificate
from stepdown.certificate.evidence import Evidence
from stepdown.certificate.evidence_file import read_evidence
from stepdown.certificate.files import open_sealed
from stepdown.certificate.hashes import cascade_hash, contract_hash, read_contract
from stepdown.certificate.ledger import Attempt, attempt
from stepdown.core.canonical import digest_of
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import DatasetManifest
from stepdown.core.draw import ATTEMPTED
from stepdown.core.errors import InputError, TamperedError
from stepdown.core.events import Event
from stepdown.runtime.cascade import CascadeSpec
from stepdown.stats.spending import attempt_error

_RELATIVE = 1e-9
_ABSOLUTE = 1e-12
_EXACT = frozenset({"expires_at"})
"""Seconds since 1970 are so large that a relative tolerance would let one slip."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check. detail: what was got and what was expected, where it failed."""

    name: str
    passed: bool
    detail: str = ""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was checked, in order."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True)
class Linked:
    """The values that a certificate refers to, as far as available; each that is given is checked.

    digest: the certificate's, from its file or from the journal. events: the journal's, of any kind.
    """

    digest: str = ""
    contract: Contract | None = None
    cascade: CascadeSpec | None = None
    dataset: DatasetManifest | None = None
    events: tuple[Event, ...] | None = None


def verify(certificate: Certificate, evidence: Evidence, linked: Linked | None = None) -> Verification:
    """Check every hash, then recompute every number from the evidence."""
    linked = linked or Linked()
    checks = [*_links(certificate, linked), *_evidence_links(certificate, evidence), _confidences(evidence)]
    checks += _budget(certificate, evidence, linked.events)
    checks += _recomputed(certificate, evidence)
    return Verification(checks=tuple(checks))


def verify_hashes(certificate: Certificate, linked: Linked) -> Verification:
    """The certificate's hashes alone, where its evidence is not at hand: nothing is recomputed."""
    return Verification(checks=tuple(_links(certificate, linked)))


def verify_files(certificate_path: Path, evidence_path: Path, linked: Linked | None = None) -> Verification:
    """The same from files; one that cannot be read is a failed check."""
    try:
        sealed = open_sealed(certificate_path)
    except InputError as error:
        return Verification(checks=(Check(name="certificate", passed=False, detail=str(error)),))
    try:
        evidence = read_evidence(evidence_path)
    except InputError as error:
        return Verification(checks=(Check(name="evidence", passed=False, detail=str(error)),))
    linked = linked or Linked()
    own = Linked(sealed.digest, linked.contract, linked.cascade, linked.dataset, linked.events)
    checks = verify(sealed.certificate, evidence, own).checks
    if linked.digest:
        checks = (_same("certificate digest (journal)", sealed.certificate.digest, linked.digest), *checks)
    return Verification(checks=checks)


def _links(certificate: Certificate, linked: Linked) -> Iterator[Check]:
    if linked.digest:
        yield _same("certificate digest", certificate.digest, linked.digest)
    yield _same("contract hash", contract_hash(certificate.contract), certificate.contract_hash)
    yield _same("cascade hash", cascade_hash(certificate.cascade), certificate.cascade_hash)
    if linked.contract is not None:
        yield _same("contract in force", contract_hash(linked.contract), certificate.contract_hash)
    if linked.cascade is not None:
        yield _same("cascade served", cascade_hash(linked.cascade), certificate.cascade_hash)
    if linked.dataset is not None:
        yield _same("dataset manifest", digest_of(linked.dataset), certificate.dataset_hash)


def _evidence_links(certificate: Certificate, evidence: Evidence) -> Iterator[Check]:
    yield _same("evidence rows", evidence.rows_hash, certificate.evidence_hash)
    yield _same("evidence file", evidence.content_hash, certificate.evidence_file_hash)
    yield _same("candidate", evidence.candidate.digest, certificate.candidate_hash)


def _confidences(evidence: Evidence) -> Check:
    """The confidences in the file are those that the calibrators give for the signals in the file."""
    try:
        again = evidence.candidate.confidences(evidence.seen)
    except ValueError as error:
        return Check(name="confidences", passed=False, detail=str(error))
    close = np.isclose(again, evidence.confidences, rtol=0.0, atol=1e-9).all(axis=0)
    wrong = [evidence.seen.ids[row] for row in np.flatnonzero(~close)[:3]]
    detail = f"the calibrators give others for {', '.join(wrong)}" if wrong else ""
    return Check(name="confidences", passed=not wrong, detail=detail)


def _budget(certificate: Certificate, evidence: Evidence, events: tuple[Event, ...] | None) -> Iterator[Check]:
    contract = read_contract(certificate.contract)
    if contract is None or certificate.attempt < 0:
        yield Check(name="attempt and error share", passed=False, detail="the contract or the attempt cannot be read")
        return
    yield _same(
        "attempt and error share",
        certificate.error_share,
        attempt_error(1.0 - contract.confidence, max(1, certificate.attempt)),
    )
    if certificate.attempt == 0:
        refused = certificate.verdict == "refused"
        yield Check(name="nothing tested", passed=refused, detail="" if refused else "a certificate takes an attempt")
        return
    if events is None:
        return
    try:
        again = attempt(events, evidence, contract)
    except TamperedError as error:
        yield Check(name="attempt (ledger)", passed=False, detail=str(error))
        return
    yield _same("attempt (ledger)", certificate.attempt, again.number)
    question = {key: value for key, value in again.event.items() if key not in ("n", "attempt")}
    journalled = any(event.kind == ATTEMPTED and question.items() <= event.data.items() for event in events)
    detail = "" if journalled else "no event of this attempt stands in the journal"
    yield Check(name="ledger entry", passed=journalled, detail=detail)


def _recomputed(certificate: Certificate, evidence: Evidence) -> Iterator[Check]:
    """Every field, recomputed. Seed and time of issue are only in the digest: nothing else depends on them."""
    contract = read_contract(certificate.contract)
    if contract is None:
        yield Check(name="contract", passed=False, detail="it cannot be read")
        return
    spent = Attempt(number=certificate.attempt, error_share=certificate.error_share)
    issue = Issue(certificate.issued_at, certificate.seed, certificate.journal)
    try:
        again = issue_certificate(evidence, contract, spent, certificate.dataset_hash, issue)
    except ValueError as error:
        yield Check(name="recomputation", passed=False, detail=str(error))
        return
    for name in certificate.__struct_fields__:
        got, expected = msgspec.to_builtins((getattr(certificate, name), getattr(again, name)))
        differences = list(_differences(name, got, expected))
        yield Check(name=name, passed=not differences, detail="; ".join(differences[:3]))


def _differences(name: str, got: Any, expected: Any) -> Iterator[str]:
    """Leaves that differ, by name; numbers may differ in their last digits from one machine to the next."""
    if isinstance(got, dict) and isinstance(expected, dict):
        for key in sorted({*got, *expected}):
            yield from _differences(f"{name}.{key}", got.get(key), expected.get(key))
    elif isinstance(got, list | tuple) and isinstance(expected, list | tuple) and len(got) == len(expected):
        for index, pair in enumerate(zip(got, expected, strict=True)):
            label = pair[1].get("name", index) if isinstance(pair[1], dict) else index
            yield from _differences(f"{name}[{label}]", *pair)
    elif not (got == expected if name in _EXACT else _alike(got, expected)):
        yield f"{name} is {got!r}, recomputed {expected!r}"


def _alike(got: Any, expected: Any) -> bool:
    if isinstance(got, float) and isinstance(expected, float | int) and not isinstance(expected, bool):
        return math.isclose(got, expected, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(got == expected)


def _same(name: str, got: object, expected: object) -> Check:
    passed = _alike(got, expected)
    return Check(name=name, passed=passed, detail="" if passed else f"got {got}, expected {expected}")


def failed_names(checks: Iterable[Check]) -> list[str]:
    """The names of the failed checks."""
    return [check.name for check in checks if not check.passed]
