"""A draw: packed keys that give each call its place, and an order that anyone can recompute."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.canonical import digest_of
from stepdown.core.dataset import Dataset, DatasetManifest, Example
from stepdown.core.draw import Draw, pack_keys, rank


def draw_of(names: list[str]) -> Draw:
    return Draw(
        task="t", scope="traffic", unit="call", salt="t 0", calls=9, units=9, first=0.0, last=0.0, keys=pack_keys(names)
    )


@given(st.lists(st.text(max_size=20), unique=True, max_size=30))
def test_each_drawn_call_has_its_place(names: list[str]) -> None:
    draw = draw_of(names)
    assert [draw.place(name) for name in names] == list(range(len(names)))
    assert draw.rows == len(names)
    assert draw.place("another call" * 3) is None


def test_a_draw_is_the_same_after_the_journal() -> None:
    draw = draw_of(["a", "b", "lone \ud800 surrogate"])
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(draw)), Draw)
    assert again == draw
    assert again.digest == draw.digest == digest_of(draw)
    assert draw_of(["b", "a", "lone \ud800 surrogate"]).digest != draw.digest


def test_the_order_depends_on_salt_and_unit_alone() -> None:
    assert rank("t 0", "u") == rank("t 0", "u")
    assert len({rank("t 0", "u"), rank("t 1", "u"), rank("t 0", "v"), rank("t", " 0u")}) == 4
    assert rank("t", "lone \ud800 surrogate")


def test_a_dataset_gives_its_evidence_in_the_order_of_the_draw() -> None:
    names = [f"{number}" for number in range(50)]
    shuffled = random.Random(1).sample(names, 50)
    places = {name: place for place, name in enumerate(shuffled)}
    examples = tuple(Example(id=one, input=one, incumbent="a", split="certify", place=places[one]) for one in names)
    manifest = DatasetManifest(
        task="t",
        content_hash="",
        sources=(),
        counts={},
        gold_counts={},
        labels=(),
        steps=(),
        permission="",
        seed=0,
    )
    dataset = Dataset(examples=examples, excluded=(), manifest=manifest, draw=draw_of(shuffled))
    assert [one.id for one in dataset.split("certify")] == shuffled
