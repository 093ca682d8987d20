"""From a tagger's outputs for a text to its answer, the raw signals of being right, and the chances of each field."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.deriving import rule_violations
from stepdown.core.extraction.form import TOOL, Form, Role, Span
from stepdown.core.extraction.spans import Choice, assemble
from stepdown.runtime.cascade import ABSTAINS
from stepdown.runtime.readings import Outputs
from stepdown.runtime.tags.decoding import (
    Chosen,
    FloatArray,
    Tagged,
    choose,
    field_probabilities,
    forbid,
    tag,
    values_of,
)
from stepdown.runtime.tags.layout import Group, Units, layout_of

SIGNAL_NAMES = ("top", "margin", "entropy", "least", "unsure", "values", "valid", "truncated", ABSTAINS)
"""top: the probability that every tag and choice is right, as if they were independent. margin: the least distance of
one to the next best. entropy, unsure: the highest and the mean of the units' tags, as a share of log(tags). least: the
lowest probability of one. values: how many were tagged. valid: the answer has what the form requires and breaks no
rule that the training answers keep. abstains: it is not to be given, as something is missing, cut off, or beyond a
tagger."""
_LEAST = 1e-12


@dataclass(frozen=True)
class Answered:
    """An answer, its SIGNAL_NAMES, and each field's raw probability of being right."""

    answer: dict[str, Any]
    signals: tuple[float, ...]
    parts: dict[str, float]


@dataclass(frozen=True)
class _Scope:
    """What a tool has, or the whole form where there are no tools. forbidden: what is added to tag logits."""

    fields: frozenset[str]
    required: frozenset[str]
    groups: tuple[Group, ...]
    forbidden: FloatArray | None


class Answering:
    """Reads a tagger's outputs by its form and roles. fits: whether an answer fits its schema, where there is one."""

    def __init__(self, form: Form, roles: Sequence[Role], fits: Callable[[dict[str, Any]], bool] | None = None) -> None:
        self._form, self._roles = form, tuple(roles)
        self._fits = fits
        self.layout = layout_of(form, roles)
        self._tool = next((group for group in self.layout.groups if group.field == TOOL and form.tools), None)
        self._following = {role.field for role in self._roles if role.follows}
        self._ruled = [role for role in self._roles if role.always or role.checked]
        self._many = {field.name for field in form.fields if field.many}
        self._scopes = {tool: self._scope(tool) for tool in self._tool.choices} if self._tool else {}
        self._whole = self._scope("")

    def _scope(self, tool: str) -> _Scope:
        fields = [field for field in self._form.fields if not tool or not field.tools or tool in field.tools]
        names = frozenset(field.name for field in fields)
        groups = tuple(
            group
            for group in self.layout.groups
            if group is not self._tool and (group.field in names or group.field in self._form.refused)
        )
        forbidden = forbid(self.layout, names) if tool else None
        return _Scope(names, frozenset(field.name for field in fields if field.required), groups, forbidden)

    def answer(self, text: str, units: Units, outputs: Outputs, truncated: bool, parts: bool = False) -> Answered:
        """The answer that the outputs for a text say. parts: work out each field's chances too."""
        logits, tag_logits = outputs
        chosen: dict[str, Chosen] = {}
        scope, replies = self._whole, False
        if self._tool is not None:
            called = chosen[TOOL] = choose(self._tool, logits)
            replies = called.choice == 0
            if not replies:
                scope = self._scopes[self._tool.choices[int(called.choice) - 1]]  # type: ignore[arg-type]
        chosen |= {group.field: choose(group, logits) for group in scope.groups}
        tagged = tag(tag_logits[units.places], scope.forbidden) if len(units.places) and self.layout.copied else None
        spans = self._spans(tagged, units) if tagged else []
        choices: dict[str, Choice] = {name: each.choice for name, each in chosen.items()}
        named = {*choices, *(span.field for span in spans), *self._following}
        answer = assemble(self._form, [role for role in self._roles if role.field in named], text, spans, choices)
        valid = self._is_valid(text, answer, spans, scope) if not replies else True
        beyond = any(chosen[group.field].choice for group in self.layout.seen_only if group.field in chosen)
        abstains = truncated or replies or beyond or not valid
        signals = _signals(chosen, tagged, len(spans), valid, truncated, abstains)
        return Answered(answer, signals, self._parts(answer, spans, chosen, tagged, scope) if parts else {})

    def _spans(self, tagged: Tagged, units: Units) -> list[Span]:
        """The values tagged, the surest first where a field has one alone."""
        found: list[tuple[float, Span]] = []
        best: dict[str, float] = {}
        for place, first, after in values_of(tagged.tags):
            field = self.layout.copied[place]
            sure = float(tagged.scores[first:after].mean())
            span = Span(int(units.bounds[first, 0]), int(units.bounds[after - 1, 1]), field)
            found.append((sure, span))
            best[field] = max(sure, best.get(field, -np.inf))
        return [span for sure, span in found if span.field in self._many or sure == best[span.field]]

    def _is_valid(self, text: str, answer: dict[str, Any], spans: Sequence[Span], scope: _Scope) -> bool:
        """Whether all that is required is there, all that was tagged could be read as a value, it fits, and no rule
        that the training answers keep is broken."""
        values = flat(answer)
        if not scope.required <= values.keys() or (
            self._ruled and rule_violations(self._form, self._ruled, text, values)
        ):
            return False
        tagged: dict[str, int] = {}
        for span in spans:
            tagged[span.field] = tagged.get(span.field, 0) + 1
        read = all(
            field in values and (field not in self._many or len(values[field]) == count)
            for field, count in tagged.items()
        )
        return read and (self._fits is None or self._fits(answer))

    def _parts(
        self,
        answer: dict[str, Any],
        spans: Sequence[Span],
        chosen: dict[str, Chosen],
        tagged: Tagged | None,
        scope: _Scope,
    ) -> dict[str, float]:
        """Each field's raw probability; of one that follows from others, theirs too."""
        parts = {name: _within(each.probability) for name, each in chosen.items()}
        copied = field_probabilities(tagged).tolist() if tagged else [1.0] * len(self.layout.copied)
        for name, each in zip(self.layout.copied, copied, strict=True):
            if name in scope.fields:
                parts[name] = _within(each * parts.get(name, 1.0))
        marked = {span.field for span in spans}
        values = flat(answer) if self._following else {}
        sure = dict(parts)
        for role in self._roles:
            if role.follows and role.field in values and role.field not in marked:
                pieces = [*role.sums, *([role.base] if role.base else [])]
                parts[role.field] = _within(
                    sure.get(role.field, 1.0) * math.prod(sure.get(each, 1.0) for each in pieces)
                )
        return parts


def _signals(
    chosen: dict[str, Chosen], tagged: Tagged | None, values: int, valid: bool, truncated: bool, abstains: bool
) -> tuple[float, ...]:
    top = least = margin = 1.0
    entropy = unsure = 0.0
    for each in chosen.values():
        top *= each.probability
        least, margin = min(least, each.probability), min(margin, each.margin)
    if tagged is not None:
        top *= float(np.exp(tagged.scores.sum(dtype=np.float64)))
        least, margin = min(least, float(np.exp(tagged.scores.min()))), min(margin, tagged.margin)
        entropy, unsure = float(tagged.entropy.max()), float(tagged.entropy.mean())
    said = (_within(top), max(0.0, margin), entropy, _within(least), unsure)
    return (*said, float(values), float(valid), float(truncated), float(abstains))


def _within(probability: float) -> float:
    """Rounding must not take a probability out of (0, 1]."""
    return min(1.0, max(_LEAST, probability))
