"""Answers of students as ONNX graphs for other runtimes, one file a kind that has one; the folder is the list.

A kind that is served from a graph of its own needs none here. One whose answer is no product of numbers has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import needs
from stepdown.core.kinds import Kinds
from stepdown.core.students import ArtefactManifest

HEAD = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1], producer_name: "stepdown">'


class Graph(NamedTuple):
    """model: an ONNX model whose first output is the logits of a text. input_of: its one input for a text."""

    model: Any
    input_of: Callable[[str], NDArray[np.int64]]


class HasGraph(Protocol):
    """The protocol a module in `students/graphs/` keeps; it has the name of its kind of student."""

    def graph(self, folder: Path, manifest: ArtefactManifest) -> Graph:
        """A verified artefact's answer as a graph. Raises MissingExtra."""


def graphs() -> Kinds[HasGraph]:
    """Every kind of student whose answer can be written as a graph."""
    return Kinds("stepdown.students.graphs", "student graph")


def onnx_package() -> Any:
    """The package onnx. Raises MissingExtra."""
    with needs("train", "Exporting to onnx"):
        import onnx.compose
        import onnx.parser
    return onnx


def model_of(text: str, weights: Mapping[str, NDArray[Any]]) -> Any:
    """A graph in onnx's own notation as a model, with weights by name."""
    onnx = onnx_package()
    model = onnx.parser.parse_model(HEAD + text)
    tensors = (onnx.numpy_helper.from_array(np.ascontiguousarray(each), name) for name, each in weights.items())
    model.graph.initializer.extend(tensors)
    return model
