from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Basis, Evidence, Terms
from stepdown.certificate.evidence_file import parse_evidence
from stepdown.certificate.files import write_certificate
from stepdown.certificate.ledger import Attempt, attempt
from stepdown.certificate.verify import Linked, Verification, failed_names, verify, verify_files
from stepdown.core.canonical import digest
from stepdown.core.certificate import Certificate, Journalled, Population
from stepdown.core.contract import Contract
from stepdown.core.dataset import DatasetManifest
from stepdown.core.draw import ATTEMPTED
from stepdown.core.errors import InputError
from stepdown.core.events import next_event
from stepdown.runtime.cascade import CascadeSpec

CONTRACT = Contract(
    slices=("half",), latency_p95_ms=50, cost_per_1k=1.5, slice_margin=0.2, margin=0.1, against="agreement"
)


def _drawn(evidence: Evidence) -> Evidence:
    population = Population(
        calls=900, units=700, first=1.5, last=9.5, draw="d" * 64, drawn_at=11.0, window="the latest calls"
    )
    basis = Basis(population=population, drawn=evidence.n, excluded={"escalated": 3})
    keys = tuple(digest(each.encode()) for each in evidence.seen.ids)
    return replace(evidence, terms=replace(evidence.terms, basis=basis, stages=(evidence.n,)), keys=keys)


class Issued:
    """A certificate with all that it points at."""

    def __init__(self, made: Any) -> None:
        self.evidence: Evidence = _drawn(made.evidence(CONTRACT, terms=Terms(cost_ceiling_usd=0.004)))
        spent = attempt((), self.evidence, CONTRACT)
        self.event = next_event(None, 0.0, ATTEMPTED, "t", spent.event)
        self.certificate = certify(self.evidence, CONTRACT, spent, made.manifest, Issue(1e6, 3))
        self.manifest: DatasetManifest = made.manifest
        self.linked = Linked(
            digest=self.certificate.digest,
            contract=CONTRACT,
            cascade=msgspec.convert(self.certificate.cascade, CascadeSpec),
            dataset=made.manifest,
            events=(self.event,),
        )

    def verify(self, certificate: Certificate | None = None, **linked: Any) -> Verification:
        fields = {name: getattr(self.linked, name) for name in self.linked.__dataclass_fields__}
        return verify(certificate or self.certificate, self.evidence, Linked(**{**fields, **linked}))


@pytest.fixture
def issued(bench: Callable[..., Any]) -> Issued:
    made = bench(worst=(0.1,), incumbent_error=0.0, certify_rows=250, reference="agreement")
    return Issued(
        made.with_both(
            lambda seen: replace(
                seen,
                slices=tuple({"half": "left" if row % 2 else "right"} for row in range(seen.n)),
                latency_s=np.full((1, seen.n), 0.001),
                escalation_cost_usd=np.full(seen.n, 0.002),
            )
        )
    )


def test_what_was_issued_verifies_from_memory_and_from_files(issued: Issued, tmp_path: Path) -> None:
    assert issued.certificate.verdict == "certified"
    assert failed_names(issued.verify().checks) == []
    write_certificate(tmp_path / "certificate.json", issued.certificate)
    issued.evidence.write(tmp_path / "evidence.jsonl")
    report = verify_files(tmp_path / "certificate.json", tmp_path / "evidence.jsonl", issued.linked)
    assert report.passed
    assert len(report.checks) > 25


def _changed(value: Any) -> Any:
    """Another value of the same type, a little off."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.00123
        case str():
            return "refused" if value == "certified" else ("0" if value[:1] != "0" else "1") + value[1:]
        case None:
            return 5
        case dict():
            key = min(value, default="")
            if not value:
                return {"a": 1}
            return {**value, key: _changed(value[key])}
        case list() | tuple():
            return [_changed(value[0]), *value[1:]] if value else [0.5, 0.5]
    raise AssertionError(type(value))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, each in value.items() for leaf in _leaves(each, (*path, key))]
    if isinstance(value, list | tuple) and value:
        return [leaf for index, each in enumerate(value[:2]) for leaf in _leaves(each, (*path, index))]
    return [path]


def _with(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return _changed(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(copy[path[0]], path[1:])
    return copy


def test_any_change_of_any_field_is_found_and_named_without_the_digest(issued: Issued) -> None:
    """Every leaf but seed, time of issue and journal, which nothing is computed from: those the digest finds."""
    plain = msgspec.to_builtins(issued.certificate)
    tried = 0
    for leaf in _leaves(plain):
        if leaf[0] in {"seed", "issued_at", "journal"}:
            continue
        try:
            forged = msgspec.convert(_with(plain, leaf), Certificate)
        except msgspec.ValidationError:
            continue
        report = issued.verify(forged, digest="")
        assert not report.passed, leaf
        named = " ".join(f"{check.name} {check.detail}" for check in report.failures)
        assert str(leaf[0]).split("_")[0] in named, (leaf, named)
        tried += 1
    assert tried > 60


@pytest.mark.parametrize("change", [{"seed": 4}, {"issued_at": 1e6 + 1}, {"journal": Journalled(head="a", events=1)}])
def test_the_digest_finds_what_nothing_else_depends_on(issued: Issued, change: dict[str, Any]) -> None:
    forged = msgspec.structs.replace(issued.certificate, **change)
    assert "certificate digest" in failed_names(issued.verify(forged).checks)


def test_any_change_of_the_evidence_is_found(issued: Issued) -> None:
    lines = issued.evidence.to_bytes().decode().rstrip("\n").split("\n")
    changed = 0
    for number in (0, 1):
        row = msgspec.json.decode(lines[number])
        for leaf in _leaves(row):
            forged = msgspec.json.encode(_with(row, leaf)).decode()
            text = "\n".join([*lines[:number], forged, *lines[number + 1 :]]) + "\n"
            try:
                evidence = parse_evidence(text.encode())
            except InputError:
                continue
            report = verify(issued.certificate, evidence)
            assert "evidence file" in failed_names(report.checks), leaf
            changed += 1
    assert changed > 15


def test_what_the_certificate_points_at_is_checked_by_name(issued: Issued) -> None:
    cascade = issued.linked.cascade
    assert cascade is not None
    rung = msgspec.structs.replace(cascade.rungs[0], threshold=0.123)
    other = msgspec.structs.replace(cascade, rungs=(rung,))
    manifest = msgspec.structs.replace(issued.manifest, counts={"train": 11})
    assert failed_names(issued.verify(cascade=other).checks) == ["cascade served"]
    assert failed_names(issued.verify(dataset=manifest).checks) == ["dataset manifest"]
    assert failed_names(issued.verify(contract=Contract()).checks) == ["contract in force"]
    assert failed_names(issued.verify(events=()).checks) == ["ledger entry"]


def test_an_attempt_that_was_hidden_is_found_in_the_journal(issued: Issued) -> None:
    """A second attempt on the same rows that says it is the first."""
    earlier = {**issued.event.data, "candidate": "another"}
    first = next_event(None, 0.0, ATTEMPTED, "t", earlier)
    second = next_event(first, 0.0, ATTEMPTED, "t", issued.event.data)
    assert "attempt (ledger)" in failed_names(issued.verify(events=(first, second)).checks)


def test_attempts_of_another_task_on_the_same_rows_count(issued: Issued) -> None:
    earlier = {**issued.event.data, "candidate": "another"}
    first = next_event(None, 0.0, ATTEMPTED, "another task", earlier)
    spent = attempt((first,), issued.evidence, CONTRACT)
    second = next_event(first, 0.0, ATTEMPTED, "t", spent.event)
    again = certify(issued.evidence, CONTRACT, spent, issued.manifest, Issue(1e6, 3))
    assert again.attempt == 2
    assert failed_names(issued.verify(again, digest="", events=(first, second)).checks) == []
    assert "attempt (ledger)" in failed_names(issued.verify(again, digest="", events=(second,)).checks)


def test_a_certificate_that_took_no_attempt_certifies_nothing(issued: Issued) -> None:
    """An attempt of 0 means that nothing was tested."""
    forged = msgspec.structs.replace(issued.certificate, attempt=0)
    assert {"nothing tested", "verdict"} <= set(failed_names(issued.verify(forged, digest="", events=()).checks))
    waiting = certify(issued.evidence, CONTRACT, Attempt(number=0, error_share=0.0375), issued.manifest, Issue(1e6, 3))
    assert waiting.verdict == "refused"
    linked = {"digest": waiting.digest, "events": (), "cascade": None}
    assert failed_names(issued.verify(waiting, **linked).checks) == []


def test_an_attempt_below_nothing_is_found(issued: Issued) -> None:
    forged = msgspec.structs.replace(issued.certificate, attempt=-1)
    assert "attempt and error share" in failed_names(issued.verify(forged, digest="").checks)


def test_a_certificate_that_was_issued_before_evidence_was_drawn_still_verifies() -> None:
    folder = Path(__file__).parent / "issued_before"
    report = verify_files(folder / "certificate.json", folder / "evidence.jsonl")
    assert failed_names(report.checks) == []


def test_confidences_that_the_calibrators_do_not_give_are_found(issued: Issued) -> None:
    issued.evidence.confidences[0, 5] += 1e-6
    report = issued.verify()
    assert {"confidences", "evidence file"} <= set(failed_names(report.checks))
    assert issued.evidence.seen.ids[5] in next(c.detail for c in report.checks if c.name == "confidences")


def test_files_that_cannot_be_read_are_failed_checks(issued: Issued, tmp_path: Path) -> None:
    certificate, evidence = tmp_path / "certificate.json", tmp_path / "evidence.jsonl"
    assert failed_names(verify_files(certificate, evidence).checks) == ["certificate"]
    write_certificate(certificate, issued.certificate)
    evidence.write_bytes(b"\xff\xfe")
    assert failed_names(verify_files(certificate, evidence).checks) == ["evidence"]
