from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.certificate.evidence import Basis, Evidence, Terms, gather
from stepdown.certificate.evidence_file import parse_evidence, read_evidence
from stepdown.certificate.observations import JudgedLosses, Observations
from stepdown.core.canonical import digest
from stepdown.core.certificate import Population
from stepdown.core.contract import Contract
from stepdown.core.errors import InputError

CONTRACT = Contract()
ISSUED_BEFORE = Path(__file__).parent / "issued_before"


def _full(seen: Observations) -> Observations:
    generator = np.random.default_rng(1)
    latency = generator.random((len(seen.candidate_students), seen.n))
    latency[:, ::3] = np.nan
    unlabelled = np.arange(seen.n) % 4 > 0
    return replace(
        seen,
        reference="judged",
        judged=JudgedLosses(seen.losses.copy(), seen.incumbent_loss.copy()),
        losses=np.where(unlabelled, np.nan, seen.losses),
        incumbent_loss=np.where(unlabelled, np.nan, seen.incumbent_loss),
        latency_s=latency,
        escalation_cost_usd=generator.random(seen.n),
        slices=tuple({"language": "é" if row % 2 else "en"} for row in range(seen.n)),
    )


@pytest.mark.parametrize("full", [False, True])
def test_what_is_written_is_read_back_the_same(bench: Callable[..., Any], tmp_path: Path, full: bool) -> None:
    made = bench(worst=(0.5, 0.4), steepness=(2.0, 2.0))
    rows = _full(made.certify_rows) if full else made.certify_rows
    evidence = gather(made.candidate(CONTRACT), rows)
    evidence.write(tmp_path / "evidence.jsonl")
    again = read_evidence(tmp_path / "evidence.jsonl")
    assert again.content_hash == evidence.content_hash
    assert again.rows_hash == evidence.rows_hash
    assert again.seen.ids == evidence.seen.ids
    assert np.array_equal(again.confidences, evidence.confidences)
    assert np.array_equal(again.seen.losses, evidence.seen.losses, equal_nan=True)
    assert again.cost_ceiling_usd == evidence.cost_ceiling_usd


def test_rows_stand_in_the_order_of_the_draw(bench: Callable[..., Any]) -> None:
    made = bench()
    evidence = made.evidence(CONTRACT)
    assert evidence.seen.ids == made.certify_rows.ids
    assert parse_evidence(evidence.to_bytes()).seen.ids == made.certify_rows.ids


def _drawn(evidence: Evidence) -> Evidence:
    """With all that is written of evidence that was drawn."""
    seen = evidence.seen
    missing = np.arange(seen.n) % 3 == 0
    population = Population(
        calls=900,
        units=700,
        first=1.5,
        last=9.5,
        draw="d" * 64,
        drawn_at=11.0,
        largest_unit=3,
        window="the latest calls",
        assumption="random-sample",
        replaces="e" * 64,
    )
    basis = Basis(population=population, unit="metadata.session", drawn=500, excluded={"no answer": 3})
    return replace(
        evidence,
        seen=replace(
            seen,
            units=tuple(f"u{row // 2}" if row % 5 else seen.ids[row] for row in range(seen.n)),
            agrees=seen.losses == seen.incumbent_loss,
            losses=np.where(missing, np.nan, seen.losses),
            incumbent_loss=np.where(missing, np.nan, seen.incumbent_loss),
        ),
        keys=tuple(digest(each.encode()) for each in seen.ids),
        terms=Terms(0.004, basis, (100, seen.n), final=False),
    )


def test_what_it_was_drawn_from_is_written_and_read_back(bench: Callable[..., Any]) -> None:
    evidence = _drawn(bench(worst=(0.5, 0.4), steepness=(2.0, 2.0)).evidence(CONTRACT))
    again = parse_evidence(evidence.to_bytes())
    assert again.to_bytes() == evidence.to_bytes()
    assert (again.terms, again.keys, again.seen.units) == (evidence.terms, evidence.keys, evidence.seen.units)
    assert again.seen.agrees is not None
    assert np.array_equal(again.seen.agrees, evidence.seen.agrees)
    assert (again.rows_hash, again.stage_hashes) == (evidence.rows_hash, evidence.stage_hashes)
    assert [(stage.start, stage.stop) for stage in again.stages] == [(0, 100), (100, 400)]


def test_evidence_that_was_not_drawn_is_written_as_before(bench: Callable[..., Any]) -> None:
    """Its file has no field that is younger than it is, so that its hash stays what it was."""
    evidence = bench().evidence(CONTRACT)
    header, row = (msgspec.json.decode(line) for line in evidence.to_bytes().split(b"\n")[:2])
    assert not {"basis", "stages", "final"} & set(header)
    assert not {"unit", "agrees", "key"} & set(row)


def test_a_file_that_was_written_before_is_read_and_written_the_same() -> None:
    data = (ISSUED_BEFORE / "evidence.jsonl").read_bytes()
    evidence = parse_evidence(data)
    assert evidence.to_bytes() == data
    assert evidence.basis == Basis()
    assert evidence.keys == ()


def test_the_rows_hash_knows_all_that_a_test_reads_of_rows_but_not_their_ids(bench: Callable[..., Any]) -> None:
    evidence = _drawn(bench().evidence(CONTRACT))
    renamed = replace(evidence, seen=replace(evidence.seen, ids=tuple(f"x{each}" for each in evidence.seen.ids)))
    assert renamed.rows_hash == evidence.rows_hash
    others = [
        replace(evidence, seen=replace(evidence.seen, references=("other", *evidence.seen.references[1:]))),
        replace(evidence, seen=replace(evidence.seen, escalation_cost_usd=np.full(evidence.n, 0.001))),
        replace(evidence, seen=replace(evidence.seen, latency_s=np.full((1, evidence.n), 0.001))),
        replace(evidence, seen=replace(evidence.seen, units=evidence.seen.ids)),
        replace(evidence, terms=replace(evidence.terms, cost_ceiling_usd=0.008)),
        replace(evidence, terms=replace(evidence.terms, stages=(99, evidence.n))),
        replace(evidence, keys=evidence.keys[::-1]),
    ]
    hashes = {each.rows_hash for each in (evidence, *others)}
    assert len(hashes) == 1 + len(others)
    assert others[0].stage_hashes[1] == evidence.stage_hashes[1]


def test_the_rows_hash_knows_rows_and_references_but_not_the_student(bench: Callable[..., Any]) -> None:
    made = bench()
    evidence = made.evidence(CONTRACT)
    worse = made.with_certify(losses=1.0 - made.certify_rows.losses).evidence(CONTRACT)
    relabelled = made.with_certify(references=("other", *made.certify_rows.references[1:])).evidence(CONTRACT)
    assert worse.rows_hash == evidence.rows_hash != relabelled.rows_hash
    assert worse.content_hash != evidence.content_hash


def test_a_rung_that_was_not_observed_is_named(bench: Callable[..., Any]) -> None:
    made = bench()
    with pytest.raises(ValueError, match="student-0"):
        gather(made.candidate(CONTRACT), made.certify_rows.students([]))


def test_a_missing_row_and_a_missing_file_are_said(bench: Callable[..., Any], tmp_path: Path) -> None:
    data = bench().evidence(CONTRACT).to_bytes()
    with pytest.raises(InputError, match="399 rows"):
        parse_evidence(b"\n".join(data.split(b"\n")[:-2]) + b"\n")
    with pytest.raises(InputError, match="Line 3"):
        parse_evidence(data.replace(b"\n", b"\n{}\n", 2).replace(b"{}\n", b"", 1))
    with pytest.raises(InputError):
        read_evidence(tmp_path / "none.jsonl")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_broken_byte_is_an_input_error_or_another_hash(bench: Callable[..., Any], at: int, byte: int) -> None:
    whole = _small(bench)
    broken = bytearray(whole)
    position = at % len(broken)
    if broken[position] == byte:
        return
    broken[position] = byte
    try:
        again = parse_evidence(bytes(broken))
    except InputError:
        return
    assert again.to_bytes() == bytes(broken)
    assert again.content_hash != digest(whole)


_CACHE: dict[str, bytes] = {}


def _small(bench: Callable[..., Any]) -> bytes:
    if "small" not in _CACHE:
        _CACHE["small"] = bench(tune_rows=40, certify_rows=4).evidence(CONTRACT).to_bytes()
    return _CACHE["small"]
