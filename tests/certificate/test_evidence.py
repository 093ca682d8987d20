from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.certificate.evidence import gather, parse_evidence, read_evidence
from stepdown.certificate.observations import Judged, Observations
from stepdown.core.canonical import digest
from stepdown.core.contract import Contract
from stepdown.core.errors import InputError

CONTRACT = Contract()


def _full(seen: Observations) -> Observations:
    generator = np.random.default_rng(1)
    latency = generator.random((len(seen.entrants), seen.n))
    latency[:, ::3] = np.nan
    unlabelled = np.arange(seen.n) % 4 > 0
    return replace(
        seen,
        reference="judged",
        judged=Judged(seen.losses.copy(), seen.incumbent_loss.copy()),
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


def test_rows_stand_in_an_order_that_does_not_depend_on_how_they_came(bench: Callable[..., Any]) -> None:
    made = bench()
    candidate = made.candidate(CONTRACT)
    backwards = made.certify_rows.rows(np.arange(made.certify_rows.n)[::-1])
    assert gather(candidate, made.certify_rows).content_hash == gather(candidate, backwards).content_hash
    assert gather(candidate, made.certify_rows).seen.ids != made.certify_rows.ids


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
