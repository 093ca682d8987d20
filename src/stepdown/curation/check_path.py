"""Whether answers can be read where they are said to sit: those that cannot would count as the incumbent's mistakes."""

from __future__ import annotations

from collections.abc import Iterable

from stepdown.core.calls import Call
from stepdown.core.errors import InputError
from stepdown.core.extraction.messages import tool_calls_in
from stepdown.core.family import families
from stepdown.core.tasks import Task

LEAST_READ = 0.6
"""The share of answers that must be readable at the path; no path that reads fewer is ever found by itself."""
FEWEST = 20
SHOWN, SHOWN_CHARACTERS = 3, 80


class PathCheck:
    """Counts the answers of a task as they are read, and keeps a few of those that cannot be parsed."""

    def __init__(self, task: Task) -> None:
        self._task, self._family = task, families().load(task.family)
        self._answers = self._unread = 0
        self._shown: dict[str, None] = {}

    def watch(self, calls: Iterable[Call]) -> Iterable[Call]:
        """The calls, each counted."""
        for call in calls:
            if not call.rung and not call.error and (call.content or tool_calls_in(call)):
                self._count(call)
            yield call

    def _count(self, call: Call) -> None:
        self._answers += 1
        if self._family.read_answer(self._task, call) is not None:
            return
        self._unread += 1
        if len(self._shown) < SHOWN:
            self._shown[_shown(call)] = None

    def check(self) -> None:
        """Raises InputError where few answers can be read."""
        if (wrong := self.objection()) is not None:
            raise wrong

    def objection(self) -> InputError | None:
        """The error that `check` raises, None where enough can be read."""
        read = self._answers - self._unread
        if self._answers < FEWEST or read >= LEAST_READ * self._answers:
            return None
        return InputError(
            f"Of {self._answers:,} answers of {self._task.name!r} only {read:,} can be read at {self._task.answer}; "
            f"others are {', '.join(self._shown)}.",
            "Answers that cannot be read count as mistakes of the incumbent, and would certify anything.",
            f'Set `answer` under [tasks.{self._task.name}] in stepdown.toml to where the decision sits ("$" for the '
            'whole text, "$.category" for a field of JSON), or leave `answer` and `family` out to have them found.',
        )


def _shown(call: Call) -> str:
    text = call.content or "a call of a tool"
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")
