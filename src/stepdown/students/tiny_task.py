"""A tiny task that every kind of student must learn in seconds: four things people ask of a library's desk."""

from __future__ import annotations

import numpy as np

from stepdown.core.canonical import digest_of
from stepdown.core.inputs import Input
from stepdown.core.students import TrainingData

_ASKED = {
    "borrow": (
        ("borrow", "take out", "check out", "lend me"),
        ("this novel", "two comics", "a cookbook", "the new atlas", "an audio book", "the blue dictionary"),
        ("I would like to {0} {1}", "can I {0} {1} please", "{0} {1} for three weeks", "how do I {0} {1}"),
    ),
    "return": (
        ("return", "bring back", "hand in", "give back"),
        ("this novel", "two comics", "a cookbook", "the old atlas", "an audio book", "the red dictionary"),
        ("I want to {0} {1}", "where do I {0} {1}", "is it too late to {0} {1}", "my son must {0} {1} today"),
    ),
    "hours": (
        ("open", "close", "shut", "start"),
        ("on Sunday", "tomorrow", "at Easter", "in summer", "tonight", "on holidays"),
        ("when do you {0} {1}", "what time do you {0} {1}", "do you {0} early {1}", "opening hours: {0} {1}?"),
    ),
    "fine": (
        ("pay", "settle", "dispute", "clear"),
        ("my fine", "the late fee", "what I owe", "this penalty", "the overdue charge", "a fee of two euros"),
        ("how can I {0} {1}", "I came to {0} {1}", "may I {0} {1} by card", "please let me {0} {1}"),
    ),
}


def tiny_task() -> TrainingData:
    """384 short questions with four answers, every fifth of them from the incumbent, the others gold."""
    rows = [
        (template.format(verb, thing), label)
        for label, (verbs, things, templates) in _ASKED.items()
        for verb in verbs
        for thing in things
        for template in templates
    ]
    return TrainingData(
        task="library-desk",
        family="classify",
        inputs=[Input(text) for text, _ in rows],
        targets=[label for _, label in rows],
        sources=["incumbent" if position % 5 == 4 else "gold" for position in range(len(rows))],
        weights=np.ones(len(rows)),
        labels=tuple(sorted(_ASKED)),
        dataset_hash=digest_of(rows),
    )
