"""Which kinds of student the user asks for, and with which options: from stepdown.toml and from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stepdown.core.errors import UsageError
from stepdown.core.options import read_options
from stepdown.core.students import StudentKind
from stepdown.core.training_time import TrainingBudget
from stepdown.students.kinds import student_kinds

Given = Mapping[str, Mapping[str, Any]]
"""Options by kind and name."""

_LESS = 0.8
"""Of the time a plan was asked for, the share the next one is, where what the user gave makes it too slow."""


@dataclass(frozen=True)
class StudentChoice:
    """kinds: those to try; () for every one that can answer the family. options: what is given of each kind's options,
    in their own types."""

    kinds: tuple[str, ...] = ()
    options: Given = field(default_factory=dict)

    def left_out(self, names: Sequence[str]) -> dict[str, str]:
        """The kinds that are not asked for, with the reason."""
        asked = ", ".join(self.kinds)
        return {name: f"The build was asked for {asked} only." for name in names if asked and name not in self.kinds}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the build's record."""
        return {"kinds": list(self.kinds), "options": {kind: dict(given) for kind, given in self.options.items()}}


def read_choice(family: str, kinds: Sequence[str], settings: Given, flags: Given) -> StudentChoice:
    """The choice of students for a task, checked.

    kinds: names of now or of earlier versions. settings: options out of stepdown.toml; flags: out of the command line,
    as text, which go before them. Raises UnknownKind and UsageError, which say the nearest kind and option, and what
    was expected.
    """
    registry = student_kinds()
    chosen = tuple(dict.fromkeys(registry.current(name) for name in kinds))
    for name in chosen:
        families = registry.load(name).FAMILIES
        if family not in families:
            fitting = [each for each, kind in registry.all().items() if family in kind.FAMILIES]
            raise UsageError(
                f"The student {name!r} cannot answer a task of the family {family!r}.",
                f"Expected one of: {', '.join(fitting)}.",
                "Change --kinds, or `kinds` in stepdown.toml.",
            )
    idle = [name for name in flags if chosen and registry.current(name) not in chosen]
    if idle:
        raise UsageError(
            f"An option of the student {idle[0]!r} is given, which is not among the kinds to train.",
            f"Expected options of: {', '.join(chosen)}.",
            f"Leave it out, or add {idle[0]} to --kinds.",
        )
    options: dict[str, dict[str, Any]] = {}
    for given, from_text in ((settings, False), (flags, True)):
        for name, values in given.items():
            kind = registry.load(name)
            read = read_options(f"the student {name!r}", kind, values, from_text)
            options.setdefault(registry.current(name), {}).update(read)
    return StudentChoice(chosen, {name: values for name, values in options.items() if values})


def plan_options(kind: StudentKind, budget: TrainingBudget, seconds: float, given: Mapping[str, Any]) -> Any | None:
    """A kind's options for at most `seconds` with what the user gave in place of its own; None where that is too
    little time."""
    planned = kind.options_for(budget.size, seconds, budget.speed)
    if not given:
        return planned
    asked = seconds
    while planned is not None:
        options = replace(planned, **given)
        if kind.seconds_needed(budget.size, options, budget.speed) <= seconds:
            return options
        asked *= _LESS
        planned = kind.options_for(budget.size, asked, budget.speed)
    # What was given may be quicker than the quickest plan that the kind makes by itself.
    options = kind.Options(**given)
    return options if kind.seconds_needed(budget.size, options, budget.speed) <= seconds else None
