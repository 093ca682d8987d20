"""linear: a sum of table rows, one a word or phrase, then the surest label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepdown.core.dataset import Answer
from stepdown.core.inputs import Input
from stepdown.core.students import NUMPY, ArtefactManifest, Device, Predictions
from stepdown.runtime.form_files import open_ngrams
from stepdown.runtime.ngram_table import NgramTable
from stepdown.runtime.signals import SIGNALS, label_predictions, one_answer

RUNTIME = NUMPY
SIGNAL_NAMES = (*SIGNALS, "known", "truncated")
WEIGHTS = "weights"


class LinearStudent:
    """An opened linear student."""

    kind = "linear"
    signal_names = SIGNAL_NAMES

    def __init__(self, labels: tuple[str, ...], table: NgramTable) -> None:
        self._labels = labels
        self._table = table

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The most likely label with its signals."""
        logits, known, truncated = self._table.logits(input.text)
        best, *signals = one_answer(logits)
        return self._labels[best], (*signals, known, truncated)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with probabilities."""
        logits, extra = self._table.logits_many([input.text for input in inputs])
        return label_predictions(self._labels, logits, extra)


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> LinearStudent:
    """Read the table; words get their character n-grams folded in here, once."""
    return LinearStudent(manifest.labels, open_ngrams(folder, WEIGHTS))
