"""nearest: each label's mean bag of words, and the nearest one. A student kind with its exports, in one file."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.core.inputs import Input
from stepdown.core.students import NUMPY, ArtefactManifest, Device, Lineage, Predictions, Trained
from stepdown.runtime.signals import SIGNALS, one_answer

if TYPE_CHECKING:
    from stepdown.core.students import TrainingContext, TrainingData
    from stepdown.core.training_time import MachineSpeed, TrainingSize
    from stepdown.students.graphs import Graph

FAMILIES = ("classify",)
EXTRA = "train"
RUNTIME = NUMPY
COST_ORDER = 0.5
SIGNAL_NAMES = (*SIGNALS, "truncated")
MOST_CHARACTERS = 10_000


@dataclass(frozen=True)
class Options:
    """How a nearest student is trained."""

    buckets: int = 4096
    """How many words are told apart."""
    sharpness: float = 8.0
    """What a distance is multiplied by before it is a probability."""


class Nearest:
    """An opened student. means: float32 (buckets, labels)."""

    kind = "nearest"
    signal_names = SIGNAL_NAMES

    def __init__(self, labels: tuple[str, ...], means: Any, sharpness: float) -> None:
        self._labels, self._means, self._sharpness = labels, means, np.float32(sharpness)

    def answer(self, input: Input) -> tuple[Any, tuple[float, ...]]:
        logits = self._means[words(input.text, len(self._means))].sum(axis=0) * self._sharpness
        best, *signals = one_answer(logits)
        return self._labels[best], (*signals, float(len(input.text) > MOST_CHARACTERS))

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        answered = [self.answer(input) for input in inputs]
        signals = np.array([row for _, row in answered], dtype=np.float64).reshape(len(answered), len(SIGNAL_NAMES))
        return Predictions([answer for answer, _ in answered], signals)


def words(text: str, buckets: int) -> Any:
    """The buckets of a text's words (n,); of an empty text one of its own."""
    found = re.findall(r"\w+", text[:MOST_CHARACTERS].lower()) or [""]
    return np.array([zlib.crc32(word.encode()) % buckets for word in found], dtype=np.int64)


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    return speed.slowness * (0.05 + 2e-5 * size.rows)


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    return Options() if seconds_needed(size, Options(), speed) <= seconds else None


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    from safetensors.numpy import save_file

    from stepdown.students.targets import read_targets

    targets = read_targets(data)
    means = np.zeros((options.buckets, len(data.labels)), dtype=np.float32)
    for row, text in enumerate(data.texts):
        np.add.at(means, (words(text, options.buckets), targets.index[row]), 1.0)
    means /= np.maximum(np.linalg.norm(means, axis=0), 1e-9)
    save_file({"means": means}, context.folder / "means.safetensors")
    return Trained((Lineage(step="train"),))


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> Nearest:
    from safetensors.numpy import load_file

    means = load_file(folder / "means.safetensors")["means"]
    return Nearest(manifest.labels, means, manifest.options["sharpness"])


def graph(folder: Path, manifest: ArtefactManifest) -> Graph:
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    from stepdown.students.graphs import Graph

    means = load_file(folder / "means.safetensors")["means"]
    buckets, labels = means.shape
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["means", "places"], ["rows"]),
            helper.make_node("ReduceSum", ["rows", "first"], ["logits"], keepdims=0),
        ],
        "nearest",
        [helper.make_tensor_value_info("places", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [labels])],
        [
            numpy_helper.from_array(means * np.float32(manifest.options["sharpness"]), "means"),
            numpy_helper.from_array(np.array([0]), "first"),
        ],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Graph(model, lambda text: words(text, buckets))


def examples() -> TrainingData:
    from stepdown.students.tiny_task import tiny_task

    return tiny_task()
