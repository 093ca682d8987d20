"""nearest: each label's mean bag of words, and the nearest one. A student kind with its export, in one file."""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.students.programs.graph import Graph
from stepdown.students.signals import one_answer

if TYPE_CHECKING:
    from stepdown.core.students import ArtefactManifest, Predictions, TrainingContext, TrainingData
    from stepdown.students.exporter import Export

FAMILIES = ("classify",)
EXTRA = "train"
COST_ORDER = 0.5
SIGNAL_NAMES = ("top", "margin", "entropy", "energy", "truncated")
MOST_CHARACTERS = 10_000


@dataclass(frozen=True)
class Options:
    """How a nearest student is trained."""

    buckets: int = 4096
    """How many words are told apart."""
    sharpness: float = 8.0
    """What a distance is multiplied by before it is a probability."""


class Model:
    """An opened student, and the program of an exported one."""

    kind = "nearest"
    signal_names = SIGNAL_NAMES

    def __init__(self, folder: Path, settings: dict[str, Any], means: Any = None) -> None:
        """settings: labels, buckets, sharpness. means: float32 (buckets, labels); of an export a graph adds them up."""
        self._labels, self._buckets = settings["labels"], settings["buckets"]
        self._sharpness = settings["sharpness"]
        self._graph = None if means is not None else Graph(folder)
        self._means = means

    def answer(self, text: str) -> tuple[Any, tuple[float, ...]]:
        places = words(text, self._buckets)
        total = self._graph.run(places)[0] if self._graph else self._means[places].sum(axis=0)
        best, *signals = one_answer(total * np.float32(self._sharpness / np.sqrt(len(places))))
        return self._labels[best], (*signals, float(len(text) > MOST_CHARACTERS))

    def answer_many(self, texts: Any) -> Predictions:
        from stepdown.core.students import Predictions

        answered = [self.answer(text) for text in texts]
        signals = np.array([row for _, row in answered], dtype=np.float64).reshape(len(answered), len(SIGNAL_NAMES))
        return Predictions([answer for answer, _ in answered], signals)


def words(text: str, buckets: int) -> Any:
    """The buckets of a text's words (n,); of an empty text one of its own."""
    found = re.findall(r"\w+", text[:MOST_CHARACTERS].lower()) or [""]
    return np.array([zlib.crc32(word.encode()) % buckets for word in found], dtype=np.int64)


def seconds_needed(rows: int, labels: int, options: Options) -> float:
    return 0.05 + 2e-5 * rows


def options_for(rows: int, labels: int, seconds: float) -> Options | None:
    return Options() if seconds_needed(rows, labels, Options()) <= seconds else None


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    from safetensors.numpy import save_file

    from stepdown.core.students import ArtefactManifest
    from stepdown.students.artefact import seal
    from stepdown.students.targets import learned_from, read_targets

    started = time.perf_counter()
    targets = read_targets(data)
    means = np.zeros((options.buckets, len(data.labels)), dtype=np.float32)
    for row, text in enumerate(data.texts):
        np.add.at(means, (words(text, options.buckets), targets.index[row]), 1.0)
    means /= np.maximum(np.linalg.norm(means, axis=0), 1e-9)
    save_file({"means": means}, context.folder / "means.safetensors")
    manifest = ArtefactManifest(
        kind="nearest",
        task=data.task,
        family=data.family,
        labels=data.labels,
        signal_names=SIGNAL_NAMES,
        files={},
        seed=context.seed,
        trained_s=time.perf_counter() - started,
        learned_from=learned_from(data),
        dataset_hash=data.dataset_hash,
        options=asdict(options),
    )
    return seal(context.folder, manifest)


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> Model:
    from safetensors.numpy import load_file

    settings = {**manifest.options, "labels": manifest.labels}
    return Model(folder, settings, load_file(folder / "means.safetensors")["means"])


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    from stepdown.students.exporter import Export

    means = load_file(folder / "means.safetensors")["means"]
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["means", "places"], ["rows"]),
            helper.make_node("ReduceSum", ["rows", "first"], ["total"], keepdims=0),
        ],
        "nearest",
        [helper.make_tensor_value_info("places", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("total", TensorProto.FLOAT, [len(manifest.labels)])],
        [numpy_helper.from_array(means, "means"), numpy_helper.from_array(np.array([0]), "first")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = {**manifest.options, "labels": manifest.labels}
    return Export(graph=model.SerializeToString(deterministic=True), program=__name__, settings=settings)


def examples() -> TrainingData:
    from stepdown.students.tiny_task import tiny_task

    return tiny_task()
