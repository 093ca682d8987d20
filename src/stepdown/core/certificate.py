"""A certificate: the claims about one exact cascade, with bound, method and evidence; or a refusal with reasons."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from stepdown.core.canonical import digest_of, without_younger

Verdict = Literal["certified", "refused"]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One thing claimed: `estimate` ≤ `limit`, with an upper bound at the certificate's confidence.

    name: "excess-loss", "slice:label=x", "latency-p95", "cost-per-1k". p_value tests H: the true value is above limit.
    share: the part of the error budget this claim was tested at.
    """

    name: str
    estimate: float
    bound: float
    limit: float
    p_value: float
    holds: bool
    n: int
    method: str
    asymptotic: bool = False
    share: float = 0.0
    unit: str = ""


class PathPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the path: thresholds per rung, and what was found there on tune and on certify."""

    thresholds: tuple[float, ...]
    tune_offload: float
    tune_excess_loss: float
    offload: float | None = None
    excess_loss: float | None = None
    bound: float | None = None
    p_value: float | None = None


class Population(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence was drawn from. calls, units: how many; first, last: seconds since the epoch, 0 where unknown.

    draw: the digest of the draw as the journal has it; drawn_at: when. largest_unit: the calls of the largest. window:
    why only a part of the traffic was drawn from ("" for all of it). assumption: what is assumed because stepdown did
    not draw the gold itself: "" (drawn by stepdown), "random-sample", "all", or "split-column" (the owner of the gold
    named the evidence). replaces: the digest of the draw before, where calls of it have gone.
    """

    calls: int = 0
    units: int = 0
    first: float = 0.0
    last: float = 0.0
    draw: str = ""
    drawn_at: float = 0.0
    largest_unit: int = 1
    window: str = ""
    assumption: str = ""
    replaces: str = ""


class Journalled(msgspec.Struct, frozen=True, kw_only=True):
    """The journal as it stood when the attempt was entered: its head (a hash), its events, when it was begun."""

    head: str = ""
    events: int = 0
    begun_at: float = 0.0


_YOUNGER = ("unit", "n_drawn", "n_labelled", "population", "excluded", "journal", "dearest_call_usd")


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What is proved of a cascade. Every hash links to something that `certificate verify` reads again.

    evidence: the kind. attempt: how many times this evidence has been used, this time included; error_share: the part
    of 1 − confidence that this attempt was allowed. offload: share answered without the incumbent, on certify, with its
    interval at the same error. evidence_hash: of the rows and their references, whatever student was tested on them;
    evidence_file_hash: of the whole evidence file; candidate_hash: of rungs, calibrators and path as fixed on tune.
    unit: what is independent; n: how many units were tested. n_drawn: the calls drawn; n_labelled: those with gold,
    which only rows need on which a rung differs from the incumbent. excluded: calls of the task that could not be
    drawn, by reason. dearest_call_usd: the stated price ceiling on which the claim of the cost rests.
    """

    version: int = 1
    task: str
    verdict: Verdict
    reasons: tuple[str, ...]
    contract: dict[str, Any]
    contract_hash: str
    cascade: dict[str, Any]
    cascade_hash: str
    dataset_hash: str
    evidence: str
    evidence_hash: str
    n: int
    attempt: int
    error_share: float
    offload: float
    claims: tuple[Claim, ...]
    path: tuple[PathPoint, ...]
    chosen: int | None
    labels_needed: int | None = None
    seed: int = 0
    issued_at: float = 0.0
    expires_at: float = 0.0
    offload_interval: tuple[float, float] | None = None
    evidence_file_hash: str = ""
    candidate_hash: str = ""
    unit: str = "call"
    n_drawn: int = 0
    n_labelled: int = 0
    population: Population = Population()
    excluded: dict[str, int] = {}
    journal: Journalled = Journalled()
    dearest_call_usd: float | None = None

    @property
    def digest(self) -> str:
        return digest_of(without_younger(self, _YOUNGER))

    @property
    def excess_loss(self) -> Claim | None:
        return next((claim for claim in self.claims if claim.name == "excess-loss"), None)

    def is_valid_at(self, now: float) -> bool:
        """Whether the cascade may be served at `now` (seconds since the epoch): certified, issued, and not lapsed."""
        return self.verdict == "certified" and self.issued_at <= now < self.expires_at
