"""Small worlds for the certificate room's tests: the benchmark's own, at a few hundred rows."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stepdown.certificate.candidate import Candidate
from stepdown.certificate.certify import Issue, certify
from stepdown.certificate.evidence import Evidence, gather
from stepdown.certificate.forecast import PathForecast
from stepdown.certificate.ledger import Attempt, attempt
from stepdown.certificate.observations import Observations
from stepdown.certificate.path import choose_candidate
from stepdown.core.certificate import Certificate
from stepdown.core.contract import Contract
from stepdown.core.dataset import DatasetManifest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "certificate_validity.py"


@pytest.fixture(scope="session")
def validity() -> ModuleType:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("certificate_validity", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def manifest() -> DatasetManifest:
    return DatasetManifest(
        task="t",
        content_hash="ab" * 32,
        sources=("made up",),
        counts={"train": 10, "tune": 300, "certify": 400},
        gold_counts={"certify": 400},
        labels=("a", "b"),
        steps=(),
        permission="own data",
        seed=1,
    )


class Bench:
    """Tune and certify observations of one world, and the walk from there to a certificate."""

    def __init__(self, tune: Observations, certify_rows: Observations, manifest: DatasetManifest) -> None:
        self.tune, self.certify_rows, self.manifest = tune, certify_rows, manifest

    def candidate(self, contract: Contract) -> Candidate:
        error = 0.75 * (1 - contract.confidence)
        return choose_candidate("t", PathForecast(self.tune, contract, max(1, self.certify_rows.n), error))

    def evidence(self, contract: Contract, **more: Any) -> Evidence:
        return gather(self.candidate(contract), self.certify_rows, **more)

    def issue(self, contract: Contract, spent: Attempt | None = None, evidence: Evidence | None = None) -> Certificate:
        evidence = evidence or self.evidence(contract)
        spent = spent or attempt((), evidence, contract)
        return certify(evidence, contract, spent, self.manifest, Issue(at=1_000_000.0, seed=3))

    def with_certify(self, **changes: Any) -> Bench:
        return Bench(self.tune, replace(self.certify_rows, **changes), self.manifest)

    def with_both(self, change: Callable[[Observations], Observations]) -> Bench:
        return Bench(change(self.tune), change(self.certify_rows), self.manifest)


@pytest.fixture
def bench(validity: ModuleType, manifest: DatasetManifest) -> Callable[..., Bench]:
    """A bench of a world: error rates of students, of the incumbent, and sizes can be set."""

    def make(seed: int = 0, **changes: Any) -> Bench:
        settings = {"worst": (0.5,), "steepness": (2.0,), "incumbent_error": 0.1, "tune_rows": 300, "certify_rows": 400}
        world = validity.World(name="t", **{**settings, **changes})
        generator = np.random.default_rng(seed)
        people = validity.population(world)
        tune = validity.draw(world, people, world.tune_rows, generator, "t")
        return Bench(tune, validity.draw(world, people, world.certify_rows, generator, "c"), manifest)

    return make
