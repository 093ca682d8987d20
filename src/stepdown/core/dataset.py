"""A dataset: a task's examples, split four ways, with a manifest of everything that came in and went out."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from stepdown.core.draw import Draw
from stepdown.core.inputs import Input
from stepdown.core.tasks import SlotValues, input_text

SplitName = Literal["train", "tune", "certify", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "tune", "certify", "test")

Answer = Any
"""A canonical JSON value: a label for `classify`, an object for `extract`, a text for `generate`."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One input with the incumbent's answer and, where a trusted one is known, gold.

    group: near-duplicates share it. unit: what is independent of all others; every call of a unit stands on one side of
    every split. place: in the draw, where the row is evidence. gold_basis: how it came to be that this call was
    labelled, as declared. incumbent: None when the incumbent's answer could not be used (unparsable, off-schema), which
    excludes the row from learning but not from evidence: an answer that cannot be parsed is a loss of the incumbent's.
    judged: a judge's loss for the incumbent's answer. log_probabilities: the incumbent's, by label, where recorded.
    """

    id: str
    input: SlotValues
    incumbent: Answer | None
    gold: Answer | None = None
    group: str = ""
    split: SplitName = "train"
    timestamp: float = 0.0
    cost_usd: float | None = None
    latency_s: float | None = None
    weight: float = 1.0
    judged: float | None = None
    log_probabilities: dict[str, float] | None = None
    slices: dict[str, str] = {}
    unit: str = ""
    place: int | None = None
    gold_basis: str = ""

    @property
    def text(self) -> str:
        return input_text(self.input)

    @property
    def student_input(self) -> Input:
        """What a student is asked."""
        return Input(self.text)


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is not in the dataset, and why. `kin` is the example it duplicates, where it does."""

    id: str
    reason: str
    detail: str = ""
    kin: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One curation step: how many rows went in and out, and what it found."""

    name: str
    rows_in: int
    rows_out: int
    findings: dict[str, Any] = {}


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dataset came from, what each step did, and the hash of its content. Can be read back."""

    version: int = 1
    task: str
    content_hash: str
    sources: tuple[str, ...]
    counts: dict[str, int]
    gold_counts: dict[str, int]
    labels: tuple[str, ...]
    steps: tuple[Step, ...]
    permission: str
    seed: int


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A task's examples and the manifest. Order is by timestamp, then id. draw: of the evidence; None where read back
    from its folder, which does not hold it. unusable: calls that could not be drawn, by reason."""

    examples: tuple[Example, ...]
    excluded: tuple[Excluded, ...]
    manifest: DatasetManifest
    draw: Draw | None = None
    unusable: dict[str, int] = {}

    def split(self, name: SplitName) -> list[Example]:
        """The examples of a split; those that are evidence in the order of the draw."""
        found = [example for example in self.examples if example.split == name]
        return sorted(found, key=lambda one: one.place or 0) if name == "certify" else found
