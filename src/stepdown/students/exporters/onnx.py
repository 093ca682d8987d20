"""onnx: the artefact as it is served, and its answer as an ONNX graph for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.core.errors import StepdownError
from stepdown.core.students import ArtefactManifest
from stepdown.runtime.artefact import open_student
from stepdown.runtime.encoder import session
from stepdown.runtime.signals import SIGNALS, one_answer
from stepdown.students.exporters import safetensors
from stepdown.students.graphs import graphs
from stepdown.students.graphs._writing import onnx_package

EXTRA = "train"
FORMAT = "The artefact that is served, and an ONNX graph for other runtimes where the kind has one."
MODEL = "model.onnx"
CLOSE = 1e-3
"""How far a signal of the graph's logits may be from the student's."""


def write(artefact: Path, manifest: ArtefactManifest, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Copy the artefact, add the graph where the student is not served from one already, and hold it to the student.

    Raises StepdownError where the graph's answer to one of the texts is another; MissingExtra.
    """
    safetensors.write(artefact, manifest, folder, texts)
    name = next((name for name in sorted(manifest.files) if name.endswith(".onnx")), "")
    if manifest.kind in graphs().names():
        name = MODEL
        made = graphs().load(manifest.kind).graph(artefact, manifest)
        (folder / name).write_bytes(made.model)
        student, opened = open_student(artefact), session(made.model)
        given = opened.get_inputs()[0].name
        for row, text in enumerate(texts):
            best, *signals = one_answer(opened.run(None, {given: made.input_of(text)})[0].reshape(-1))
            answer, expected = student.answer(text)
            if manifest.labels[best] != answer or np.abs(np.subtract(signals, expected[: len(SIGNALS)])).max() > CLOSE:
                raise StepdownError(
                    f"The ONNX graph of the student {manifest.kind!r} answers row {row} of the comparison differently.",
                    f"Its logits give the student's answers, with signals within {CLOSE:g}.",
                    "This is a mistake in the export; export to safetensors, and report it.",
                )
    if not name:
        return {"graph": ""}
    model = onnx_package().load_model_from_string((folder / name).read_bytes())
    opset = {each.domain or "ai.onnx": each.version for each in model.opset_import}
    return {"graph": name, "input": model.graph.input[0].name, "opset": opset, "ir": model.ir_version}
