"""From the scores of candidates to an answer, the raw signals of its being right, and each field's chances."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.deriving import TOLERANCE, derived, number_of, rule_violations, summed
from stepdown.core.extraction.form import Form, Role, Span
from stepdown.core.extraction.spans import Choice, assemble
from stepdown.runtime.cascade import ABSTAINS
from stepdown.runtime.ranking.candidates import Candidate
from stepdown.runtime.ranking.strangeness import Familiar
from stepdown.runtime.tags.decoding import Chosen, choose
from stepdown.runtime.tags.layout import layout_of

SIGNAL_NAMES = (
    *("top", "margin", "entropy", "least", "unsure", "values", "valid", "truncated", ABSTAINS),
    *("known", "kept", "strange"),
)
"""top: the probability that every field is right, as if they were independent. margin: the least distance of one to the
next best. entropy, unsure: the highest of a field, as a share of the most there can be, and the mean doubt. least: the
lowest probability of one. values: how many stand in the text. known: the share of what is seen of them that training
had. kept: the share of rules between fields that could be checked. strange: of the values, those beside new words. In a
document that is strange a field that is found nowhere is not believed to be absent, and nothing is that is unsure."""
Floats = NDArray[np.float32]
_LEAST, _TRIED = 1e-9, 4
SURE = 0.9
"""The least probability of every field in a strange document."""
_ODDS = 60.0
"""How much likelier an answer is that keeps a sum which nearly all training answers keep, than one that breaks it."""


@dataclass(frozen=True)
class Option:
    """What one field may be: a value with its best candidate, or not there (None), and how likely that is."""

    candidate: Candidate | None
    chance: float


@dataclass(frozen=True)
class Ranked:
    """An answer, its SIGNAL_NAMES, and each field's raw probability of being right."""

    answer: dict[str, Any]
    signals: tuple[float, ...]
    parts: dict[str, float]


def options_of(found: Sequence[Candidate], scores: Sequence[float], absent: float) -> list[Option]:
    """The likeliest first; candidates of one value count together. scores: (candidates,)."""
    top = max(absent, *scores) if len(scores) else absent
    chances = [math.exp(min(0.0, float(score) - top)) for score in scores]
    gone = math.exp(absent - top)
    total = sum(chances) + gone
    together: dict[str, tuple[float, float, Candidate]] = {}
    for place, (each, chance) in enumerate(zip(found, chances, strict=True)):
        # What the text leaves unclear is like nothing else.
        key = f"{place}" if each.value is None else f"= {each.value!r}"
        before = together.get(key)
        best = each if before is None or chance > before[1] else before[2]
        together[key] = (chance + (before[0] if before else 0.0), max(chance, before[1] if before else 0.0), best)
    options = [Option(each, chance / total) for chance, _, each in together.values()]
    return sorted([*options, Option(None, gone / total)], key=lambda option: -option.chance)


class RankAnswering:
    """Fills in a form by its roles. fits: whether an answer fits its schema, where there is one."""

    def __init__(
        self,
        form: Form,
        roles: Sequence[Role],
        fits: Callable[[dict[str, Any]], bool] | None = None,
        familiar: Familiar | None = None,
    ) -> None:
        self._form, self.roles, self._fits = form, tuple(roles), fits
        self._familiar = familiar or Familiar(frozenset(), 1.0)
        self.layout = layout_of(form, roles)
        self.copied = [role for role in roles if role.role == "copied"]
        self._required = {field.name for field in form.fields if field.required}
        self._ruled = [role for role in roles if role.always or role.checked]
        self._linked = _linked(self.roles)

    def rules(self) -> dict[tuple[str, tuple[str, ...]], list[int]]:
        """By rule and JSON types the copied fields, by place, that share its candidates."""
        found: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for place, role in enumerate(self.copied):
            known = self._form.field(role.field)
            found.setdefault((role.normaliser, known.types if known else ("string",)), []).append(place)
        return found

    def answer(
        self, text: str, offered: Mapping[str, Sequence[Option]], logits: Floats, known: float, truncated: bool
    ) -> Ranked:
        """offered: by copied field its options, the likeliest first. logits: of the closed fields."""
        chosen = {group.field: choose(group, logits) for group in self.layout.groups}
        taken = {name: (options[0], self._next(options)) for name, options in offered.items() if options}
        for linked in self._linked:
            taken |= self._together(text, linked, {name: offered[name] for name in linked if offered.get(name)})
        spans = [
            Span(one.candidate.start, one.candidate.end, name) for name, (one, _) in taken.items() if one.candidate
        ]
        choices: dict[str, Choice] = {name: each.choice for name, each in chosen.items()}
        answer = assemble(self._form, self.roles, text, spans, choices)
        values = flat(answer)
        unread = any(one.candidate is not None and name not in values for name, (one, _) in taken.items())
        doubted = rule_violations(self._form, self._ruled, text, values)
        valid = not unread and not doubted and self._required <= values.keys()
        valid = valid and (self._fits is None or self._fits(answer))
        beyond = any(chosen[group.field].choice for group in self.layout.seen_only)
        strange = self._familiar.strange(text, {span.field: span.start for span in spans})
        signals = self._signals(chosen, taken, len(spans), known, (self._kept(taken), strange))
        if strange > self._familiar.most:
            missing = any(one.candidate is None and name not in values for name, (one, _) in taken.items())
            beyond = beyond or missing or signals[3] < SURE
        away = truncated or beyond or not valid
        signals = (*signals[:6], float(valid), float(truncated), float(away), *signals[6:])
        return Ranked(answer, signals, self._parts(values, chosen, taken))

    @staticmethod
    def _next(options: Sequence[Option]) -> float:
        return options[1].chance if len(options) > 1 else 0.0

    def _together(
        self, text: str, linked: Sequence[str], offered: Mapping[str, Sequence[Option]]
    ) -> dict[str, tuple[Option, float]]:
        """The likeliest options of fields that a sum links, where one that keeps it is so much likelier."""
        role = next(each for each in self.roles if each.field == linked[0])
        within = [each for each in self.roles if each.field in linked]
        names = list(offered)
        found: list[tuple[float, tuple[Option, ...]]] = []
        for combination in itertools.product(*(offered[name][:_TRIED] for name in names)):
            chance = math.prod(max(one.chance, _LEAST) for one in combination)
            values = {
                name: one.candidate.value
                for name, one in zip(names, combination, strict=True)
                if one.candidate is not None and one.candidate.value is not None
            }
            if _keeps(role, values | derived(self._form, within, text, values), len(values)):
                chance *= _ODDS
            found.append((chance, combination))
        total = sum(chance for chance, _ in found) or 1.0
        _, best = max(found, key=lambda each: each[0])
        taken = {}
        for at, name in enumerate(names):
            share = sum(chance for chance, each in found if each[at] is best[at]) / total
            other = max((chance for chance, each in found if each[at] is not best[at]), default=0.0) / total
            taken[name] = (Option(best[at].candidate, min(1.0, share)), other)
        return taken

    def _kept(self, taken: Mapping[str, tuple[Option, float]]) -> float:
        """Of the sums that are checked, the share whose every field was read from the text: none of them then follows
        from the sum that it is held against."""
        marked = {name for name, (one, _) in taken.items() if one.candidate is not None}
        return float(sum(set(linked) <= marked for linked in self._linked)) / max(1, len(self._linked))

    def _signals(
        self,
        chosen: Mapping[str, Chosen],
        taken: Mapping[str, tuple[Option, float]],
        values: int,
        known: float,
        others: tuple[float, float],
    ) -> tuple[float, ...]:
        chances = [each.probability for each in chosen.values()] + [one.chance for one, _ in taken.values()]
        margins = [each.margin for each in chosen.values()] + [one.chance - other for one, other in taken.values()]
        top = math.prod(chances)
        least = min(chances, default=1.0)
        entropy = max((_entropy(chance) for chance in chances), default=0.0)
        unsure = sum(1.0 - chance for chance in chances) / max(1, len(chances))
        margin = max(0.0, min(margins, default=1.0))
        return (_within(top), margin, entropy, _within(least), max(0.0, unsure), float(values), known, *others)

    def _parts(
        self, values: Mapping[str, Any], chosen: Mapping[str, Chosen], taken: Mapping[str, tuple[Option, float]]
    ) -> dict[str, float]:
        sure = {name: each.probability for name, each in chosen.items()}
        for name, (one, _) in taken.items():
            sure[name] = one.chance * sure.get(name, 1.0)
        parts = dict(sure)
        for role in self.roles:
            marked = role.field in taken and taken[role.field][0].candidate is not None
            if role.follows and role.field in values and not marked:
                pieces = [*role.sums, *([role.base] if role.base else [])]
                parts[role.field] = sure.get(role.field, 1.0) * math.prod(sure.get(each, 1.0) for each in pieces)
        return {name: _within(each) for name, each in parts.items()}


def _linked(roles: Sequence[Role]) -> list[tuple[str, ...]]:
    """The copied fields that a checked sum links, the sum's own first; each set of fields once."""
    copied = {role.field for role in roles if role.role == "copied"}
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for role in roles:
        if role.checked and role.sums and {role.field, *role.sums} <= copied:
            found.setdefault(frozenset((role.field, *role.sums)), (role.field, *role.sums))
    return list(found.values())


def _keeps(role: Role, values: Mapping[str, Any], read: int) -> bool:
    """Whether values keep a role's sum, with at least as many read from the text as leave one to follow."""
    total, own = summed(role.sums, values), number_of(values.get(role.field))
    return read >= len(role.sums) and total is not None and own is not None and abs(total - own) < TOLERANCE


def _entropy(chance: float) -> float:
    """Of being right or not, in bits."""
    held = min(max(chance, 1e-9), 1.0 - 1e-9)
    return -(held * math.log2(held) + (1.0 - held) * math.log2(1.0 - held))


def _within(probability: float) -> float:
    return min(1.0, max(1e-12, probability))
