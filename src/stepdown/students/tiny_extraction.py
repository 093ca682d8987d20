"""A tiny task that every kind of the family `extract` must learn in seconds: what a library's desk is asked to note."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepdown.core.canonical import digest_of
from stepdown.core.extraction.form import Field, Form
from stepdown.core.inputs import Input
from stepdown.core.students import TrainingData

ROWS = 360
_TITLES = ("Green Rivers", "The Long Road", "Salt", "Winter Birds", "A Quiet House", "Maps of Stone", "Lanterns")
_NAMES = ("Ada Moor", "Bela Kiss", "Carla Voss", "Dan Reed", "Eva Lund", "Finn Hale", "Gita Rao", "Hugo Paz")
_ACTIONS = {
    "borrow": ("I would like to borrow {}", "can I take out {}", "please lend me {}"),
    "return": ("I want to return {}", "I am bringing back {}", "please take back {}"),
    "renew": ("I need to renew {}", "can I keep {} longer", "please extend {}"),
}
_BRANCHES = {"north": "in the north branch", "south": "at the south desk", "harbour": "down by the harbour"}
_FORM = Form(
    fields=(
        Field(name="action", choices=tuple(_ACTIONS), required=True),
        Field(name="book.titles", many=True),
        Field(name="member"),
        Field(name="branch", choices=tuple(_BRANCHES)),
        Field(name="urgent", types=("boolean",)),
    )
)


def tiny_extraction() -> TrainingData:
    """360 requests with an action, one or two titles, and at times a member, a branch and haste; every fifth answer is
    the incumbent's, the others are gold."""
    generator = np.random.default_rng(11)
    rows = [_row(position, generator) for position in range(ROWS)]
    return TrainingData(
        task="library-notes",
        family="extract",
        inputs=[Input(text) for text, _ in rows],
        targets=[answer for _, answer in rows],
        sources=["incumbent" if position % 5 == 4 else "gold" for position in range(ROWS)],
        weights=np.ones(ROWS),
        labels=tuple(sorted(_ACTIONS)),
        dataset_hash=digest_of(rows),
        form=_FORM,
    )


def _row(position: int, generator: np.random.Generator) -> tuple[str, dict[str, Any]]:
    action = list(_ACTIONS)[position % len(_ACTIONS)]
    there = generator.random(4) < (0.4, 0.5, 0.4, 0.3)
    titles = [str(title) for title in generator.choice(_TITLES, size=1 + int(there[0]), replace=False)]
    text = str(generator.choice(_ACTIONS[action])).format(" and ".join(titles))
    answer: dict[str, Any] = {"action": action, "book": {"titles": titles}}
    if there[1]:
        answer["member"] = str(generator.choice(_NAMES))
        text += f" for {answer['member']}"
    if there[2]:
        answer["branch"] = str(generator.choice(list(_BRANCHES)))
        text += f" {_BRANCHES[answer['branch']]}"
    if there[3]:
        answer["urgent"] = True
        text += ", it is urgent"
    return text, answer
