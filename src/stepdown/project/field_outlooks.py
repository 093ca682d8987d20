"""What could be learned of each field of a task, read off a sample of its calls before anything is trained."""

from __future__ import annotations

from itertools import islice

import msgspec

from stepdown.core.extraction.outlook import Outlook, outlook
from stepdown.core.extraction.roles import learn_roles
from stepdown.core.family import families
from stepdown.core.store import Store
from stepdown.core.tasks import Task, input_text, is_empty
from stepdown.project.discovery import calls_of
from stepdown.project.home import Home
from stepdown.traffic.summary import TaskSummary

MOST_CALLS = 400
FEWEST_ROWS = 20


class TaskOutlook(TaskSummary, frozen=True, kw_only=True):
    """A task's summary with what a student could be taught of its answers; None where they have no fields, or too few
    could be read to tell."""

    outlook: Outlook | None = None


def with_outlooks(home: Home, summaries: list[TaskSummary]) -> list[TaskOutlook]:
    """The summaries, in their order."""
    with home.store() as store:
        return [TaskOutlook(**msgspec.structs.asdict(one), outlook=outlook_of(store, one.task)) for one in summaries]


def outlook_of(store: Store, task: Task) -> Outlook | None:
    """Read off the first 400 calls of a task."""
    if task.form is None or not task.form.fields or task.template is None:
        return None
    family = families().load(task.family)
    texts, answers = [], []
    for call in islice(calls_of(store, task), MOST_CALLS):
        answer, given = family.read_answer(task, call), task.template.cut(call.request)
        if isinstance(answer, dict) and given is not None and not is_empty(given):
            texts.append(input_text(given))
            answers.append(answer)
    if len(texts) < FEWEST_ROWS:
        return None
    return outlook(task.form, learn_roles(task.form, texts, answers), texts, answers)
