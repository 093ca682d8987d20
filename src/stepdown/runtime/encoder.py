"""An encoder as it is served: a tokeniser and an ONNX graph. Needs onnxruntime, tokenizers and numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import TamperedError, UsageError
from stepdown.core.students import ArtefactManifest, Device
from stepdown.runtime.readings import Outputs, Reading
from stepdown.runtime.tokeniser import Tokeniser, open_tokeniser

GRAPH = "encoder.onnx"
_BATCH_TOKENS = 2048
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""What onnxruntime calls a device."""

FloatArray = NDArray[np.float32]


class ServedEncoder:
    """A tokeniser and a graph: text to a vector of floats (logits, or an embedding). Safe for several threads."""

    def __init__(self, graph: Path | bytes, tokeniser: Tokeniser, threads: int = 1, device: Device = "cpu") -> None:
        self._tokeniser = tokeniser
        self._session = session(graph, threads, device)
        self.width = int(self._session.get_outputs()[0].shape[1])

    def run(self, text: str) -> tuple[FloatArray, bool]:
        """One text: (width,) and whether it was truncated."""
        ids, truncated = self._tokeniser.encode(text)
        return self._session.run(None, {"ids": ids[None]})[0][0], truncated

    def read(self, text: str) -> tuple[Reading, Outputs]:
        """One text as it was read, and all that the graph gives for it."""
        reading = self._tokeniser.read(text)
        return reading, tuple(output[0] for output in self._session.run(None, {"ids": reading.ids[None]}))

    def read_many(self, texts: Sequence[str]) -> list[tuple[Reading, Outputs]]:
        """The same for many texts."""
        readings = self._tokeniser.read_many(texts)
        outputs = run_outputs(self._session, [reading.ids for reading in readings])
        return list(zip(readings, outputs, strict=True))

    def run_many(self, texts: Sequence[str]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Many texts: (n, width), the same as one by one, and which were truncated (n,)."""
        sequences, truncated = self._tokeniser.encode_many(texts)
        return run_sequences(self._session, sequences, self.width), truncated


def open_encoder(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> ServedEncoder:
    """The encoder of an artefact. Raises InputError, TamperedError, UsageError for a device that is not there."""
    return ServedEncoder(folder / GRAPH, open_tokeniser(folder, manifest), threads, device)


def run_sequences(opened: Any, sequences: Sequence[NDArray[np.int64]], width: int) -> FloatArray:
    """All sequences through an opened graph, in batches of equal length: float32 (n, width), in order."""
    outputs = np.empty((len(sequences), width), dtype=np.float32)
    for row, (output, *_) in enumerate(run_outputs(opened, sequences)):
        outputs[row] = output
    return outputs


def run_outputs(opened: Any, sequences: Sequence[NDArray[np.int64]]) -> list[Outputs]:
    """All sequences through an opened graph, with all that it gives for each, in order."""
    outputs: list[Outputs] = [()] * len(sequences)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        step = max(1, _BATCH_TOKENS // int(length))
        for start in range(0, len(rows), step):
            chosen = rows[start : start + step]
            batch = opened.run(None, {"ids": np.stack([sequences[row] for row in chosen])})
            for place, row in enumerate(chosen.tolist()):
                outputs[row] = tuple(output[place] for output in batch)
    return outputs


def session(graph: Path | bytes, threads: int = 1, device: Device = "cpu") -> Any:
    """An onnxruntime session that keeps to its threads and does not spin while it has nothing to do.

    device: operators that it lacks are computed on the CPU. Raises UsageError when this onnxruntime lacks the device,
    TamperedError when the graph cannot be loaded.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    available = [name for name, provider in _PROVIDERS.items() if provider in onnxruntime.get_available_providers()]
    if device not in available:
        raise UsageError(
            f"The device {device!r} is named, and the onnxruntime that is installed here cannot compute there.",
            f"It has: {', '.join(available)}.",
            "Install the onnxruntime of that device (onnxruntime-gpu for cuda), or name the device cpu.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = list(dict.fromkeys((_PROVIDERS[device], _PROVIDERS["cpu"])))
    source = str(graph) if isinstance(graph, Path) else graph
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except (failures.Fail, failures.InvalidGraph, failures.InvalidProtobuf, failures.NotImplemented) as error:
        raise TamperedError(
            f"An encoder's graph cannot be loaded ({str(error).splitlines()[0]}).",
            "It is an ONNX graph that this onnxruntime can run.",
            "Build the student again, or upgrade onnxruntime.",
        ) from None
