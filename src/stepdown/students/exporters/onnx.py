"""onnx: the artefact as it is served, and its answer as an ONNX graph for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.core.errors import StepdownError
from stepdown.core.inputs import Input
from stepdown.core.students import ArtefactManifest, Student
from stepdown.runtime.artefact import open_student
from stepdown.runtime.encoder import session
from stepdown.runtime.signals import SIGNALS, one_answer
from stepdown.students.exporters import safetensors
from stepdown.students.graphs import Graph, graphs, onnx_package

EXTRA = "train"
FORMAT = "The artefact that is served, and an ONNX graph for other runtimes where the kind has one."
CLOSE = 1e-3
"""How far a signal of the graph's logits may be from the student's."""


def write(artefact: Path, manifest: ArtefactManifest, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Copy the artefact, add the graph where the student is not served from one already, and hold it to the student.

    Raises StepdownError where the graph's answer to one of the texts is another; MissingExtra.
    """
    onnx = onnx_package()
    safetensors.write(artefact, manifest, folder, texts)
    path = next((folder / name for name in sorted(manifest.files) if name.endswith(".onnx")), None)
    if manifest.kind in graphs().names():
        path = folder.with_name(f"{folder.name}.onnx")
        made = graphs().load(manifest.kind).graph(artefact, manifest)
        path.write_bytes(made.model.SerializeToString(deterministic=True))
        _compare(path, made, open_student(artefact), manifest.labels, texts)
    if path is None:
        return {"graph": ""}
    model = onnx.load(str(path))
    opset = {each.domain or "ai.onnx": each.version for each in model.opset_import}
    name = path.relative_to(folder.parent).as_posix()
    return {"graph": name, "input": model.graph.input[0].name, "opset": opset, "ir": model.ir_version}


def _compare(path: Path, made: Graph, student: Student, labels: Sequence[str], texts: Sequence[str]) -> None:
    """Raises StepdownError where the graph's answer to one of the texts is not the student's."""
    opened = session(path)
    name = opened.get_inputs()[0].name
    for row, text in enumerate(texts):
        best, *signals = one_answer(opened.run(None, {name: made.input_of(text)})[0].reshape(-1))
        answer, expected = student.answer(Input(text))
        if labels[best] != answer or np.abs(np.subtract(signals, expected[: len(SIGNALS)])).max() > CLOSE:
            raise StepdownError(
                f"The ONNX graph of the student {student.kind!r} answers row {row} of the comparison differently.",
                f"Its logits give the student's answers, with signals within {CLOSE:g}.",
                "This is a mistake in the export; export to safetensors, and report it.",
            )
