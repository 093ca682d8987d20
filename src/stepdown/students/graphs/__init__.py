"""Answers of students as ONNX graphs for other runtimes, one file a kind that has one; the folder is the list.

A kind that is served from a graph of its own needs none here. One whose answer is no product of numbers has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stepdown.core.kinds import Kinds
from stepdown.core.students import ArtefactManifest


@dataclass(frozen=True)
class Graph:
    """model: an ONNX model whose first output is the logits of a text. input_of: its one input for a text."""

    model: bytes
    input_of: Callable[[str], NDArray[np.int64]]


class HasGraph(Protocol):
    """The protocol a module in `students/graphs/` keeps; it has the name of its kind of student."""

    def graph(self, folder: Path, manifest: ArtefactManifest) -> Graph:
        """A verified artefact's answer as a graph. Raises MissingExtra."""


def graphs() -> Kinds[HasGraph]:
    """Every kind of student whose answer can be written as a graph."""
    return Kinds("stepdown.students.graphs", "student graph")
