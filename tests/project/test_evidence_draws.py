"""Draws and plans in the journal."""

from __future__ import annotations

import msgspec
import pytest

from stepdown.core.draw import DRAWN, Draw, pack_keys
from stepdown.core.errors import TamperedError
from stepdown.core.store import Store
from stepdown.project.evidence_draws import drawn_at, keep_draw, plan_labels, planned_rows, read_draws
from stepdown.stores.store import open_store


@pytest.fixture
def store() -> Store:
    return open_store("memory:")


def draw_of(*names: str, task: str = "t") -> Draw:
    return Draw(
        task=task,
        scope="traffic",
        unit="call",
        salt="t 0",
        calls=9,
        units=9,
        first=0.0,
        last=0.0,
        keys=pack_keys(names),
    )


def test_a_draw_is_journalled_once_and_read_back(store: Store) -> None:
    for at, draw in enumerate((draw_of("a"), draw_of("a"), draw_of("b"), draw_of("a")), start=1):
        keep_draw(store, draw, float(at))
    assert read_draws(store, "t") == (draw_of("a"), draw_of("b"))
    assert (drawn_at(store, draw_of("a")), drawn_at(store, draw_of("b"))) == (1.0, 3.0)
    assert drawn_at(store, draw_of("c")) == 0.0
    assert read_draws(store, "another") == ()


def test_a_draw_without_calls_is_none(store: Store) -> None:
    keep_draw(store, None, 1.0)
    keep_draw(store, draw_of(), 1.0)
    assert list(store.events()) == []


def test_a_draw_that_cannot_be_read_stops_everything(store: Store) -> None:
    store.append(DRAWN, "t", {**msgspec.to_builtins(draw_of("a")), "scope": "hand-picked"}, at=1.0)
    with pytest.raises(TamperedError, match="Event 1 of the journal is a draw of evidence that cannot be read"):
        read_draws(store, "t")


def test_a_plan_only_grows(store: Store) -> None:
    draw = draw_of("a", "b")
    assert planned_rows(store, draw) == 0
    for rows in (200, 100, 200, 350):
        plan_labels(store, draw, rows, 1.0)
    assert planned_rows(store, draw) == 350
    assert sum(1 for _ in store.events("labels-planned")) == 2
    assert planned_rows(store, draw_of("c")) == 0
