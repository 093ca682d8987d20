"""A task as the gateway serves it: how it is recognised, its cascade while the certificate stands, and its template."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from stepdown.core.contract import Privacy
from stepdown.core.family import Family
from stepdown.core.inputs import Input
from stepdown.core.tasks import Task
from stepdown.gateway.envelope import UNKNOWN, Envelope
from stepdown.gateway.shape import FREE
from stepdown.runtime.cascade import Decision

Decide = Callable[[Input, bool], Awaitable[Decision]]
"""Answers an input, off the event loop; True where the surest rung must answer although none is sure enough."""


# What a file may say of an incumbent: an imported build's is not of this machine.
TokensPerCharacter = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
CallCost = Annotated[float, msgspec.Meta(ge=0.0, le=10_000.0)]
TokenLimit = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


@dataclass(frozen=True)
class ResponseTemplate:
    """How the incumbent answers this task, so that a student can answer in its shape.

    like: one of its own messages as a pattern; likes: one for each kind of answer, where messages hold more than it
    (`Family.like_key`). model: the name that it gives itself; models: every name in recorded requests and answers, for
    a certificate speaks of no other incumbent. prompt_tokens_per_character and completion_tokens_per_character: from
    its recorded usage. cost_usd: of one of its calls. shapes, choices: the kinds of answer (`answer_shape`) and the
    choices of a tool (`choice_of_tools`) that recorded requests asked for; others are the incumbent's. least_limit: the
    fewest tokens that a recorded request allowed and was answered whole in, 0 where none said how many. envelope: what
    stands around its answers. finish: by the choice of a tool (`choice_of_tools`), why answers that call tools ended.
    """

    like: dict[str, Any]
    likes: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: str = ""
    prompt_tokens_per_character: TokensPerCharacter = 0.25
    completion_tokens_per_character: TokensPerCharacter = 0.25
    cost_usd: CallCost = 0.0
    models: frozenset[str] = frozenset()
    shapes: frozenset[tuple[str | tuple[str, ...], ...]] = frozenset()
    choices: frozenset[str] = frozenset({FREE})
    least_limit: TokenLimit = 0
    envelope: Envelope = UNKNOWN
    finish: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """What recorded requests of a task asked for: the bounds of a key that is for this task alone.

    models: their names. shapes: `answer_shape` of each. fields: other fields of requests, with their values in JSON.
    longest: characters of the longest input, 0 where there is none. most_tokens: that a request allowed, or three times
    what an answer took where none said; says_most: whether every request says how many. most_choices: the largest `n`.
    """

    models: frozenset[str] = frozenset()
    shapes: frozenset[tuple[Any, ...]] = frozenset()
    fields: frozenset[tuple[str, bytes]] = frozenset()
    longest: int = 0
    most_tokens: int = 0
    says_most: bool = False
    most_choices: int = 1


@dataclass(frozen=True)
class ServedTask:
    """One task. decide: None while no certificate is in force, and then why_not says why. Times are seconds since the
    epoch. cascade: its digest. cache_s: how long an answer may be given again, 0 for never. incumbent: the model to ask
    upstream for where the client used an alias. rung_usd: what an answer of each rung costs, the rungs that are asked
    before it included; in the order in which they are asked. holdback: the share of requests, drawn at random, that
    goes to the incumbent although a student may answer. recorded: known where a key is for this task alone."""

    task: Task
    family: Family | None
    privacy: Privacy = "any"
    decide: Decide | None = None
    why_not: str = "not built"
    certificate: str = ""
    valid_from: float = 0.0
    valid_until: float = 0.0
    template: ResponseTemplate | None = None
    rung_usd: Mapping[str, float] = field(default_factory=dict)
    incumbent: str = ""
    cache_s: float = 0.0
    build: str = ""
    cascade: str = ""
    holdback: float = 0.0
    recorded: Recorded = Recorded()

    @property
    def name(self) -> str:
        return self.task.name

    def own_usd(self, rung: str) -> float:
        """USD that asking the students cost where that rung answered; of all of them where none did."""
        return self.rung_usd.get(rung, max(self.rung_usd.values(), default=0.0))

    def is_in_force(self, at: float) -> bool:
        """Whether a cascade answers requests of that time (seconds since the epoch)."""
        return self.decide is not None and self.template is not None and self.valid_from <= at < self.valid_until

    @property
    def workload(self) -> str:
        """The name that its calls are kept under."""
        return self.task.match.workload or self.task.name
