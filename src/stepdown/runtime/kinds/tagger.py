"""tagger: tokens through an ONNX graph, whose outputs mark values in the text and choose others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stepdown.core.dataset import Answer
from stepdown.core.extraction.writing import fitting
from stepdown.core.inputs import Input
from stepdown.core.students import ONNXRUNTIME, ArtefactManifest, Device, Predictions
from stepdown.runtime.encoder import ServedEncoder, open_encoder
from stepdown.runtime.form_files import FORM, FormFile, read_json
from stepdown.runtime.tags.answering import SIGNAL_NAMES, Answered, Answering
from stepdown.runtime.tags.layout import units_of

RUNTIME = ONNXRUNTIME


class TaggerForm(FormFile, frozen=True, kw_only=True):
    """What `form.json` of a tagger holds. whole_words: whether words are tagged, or their pieces."""

    whole_words: bool


class TaggerStudent:
    """An opened tagger."""

    kind = "tagger"
    signal_names = SIGNAL_NAMES

    def __init__(self, answering: Answering, whole_words: bool, encoder: ServedEncoder) -> None:
        self._answering = answering
        self._whole_words = whole_words
        self._encoder = encoder

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The answer that is tagged and chosen, with its signals."""
        reading, outputs = self._encoder.read(input.text)
        units = units_of(reading, self._whole_words)
        answered = self._answering.answer(input.text, units, outputs, reading.truncated)
        return answered.answer, answered.signals

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with each field's chances."""
        answered: list[Answered] = []
        texts = [input.text for input in inputs]
        for text, (reading, outputs) in zip(texts, self._encoder.read_many(texts), strict=True):
            units = units_of(reading, self._whole_words)
            answered.append(self._answering.answer(text, units, outputs, reading.truncated, parts=True))
        signals = np.array([each.signals for each in answered], dtype=np.float64).reshape(-1, len(SIGNAL_NAMES))
        return Predictions([each.answer for each in answered], signals, parts=[each.parts for each in answered])


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> TaggerStudent:
    """Read the form and the tokenizer, load the graph. Raises TamperedError for a form that cannot be read."""
    reading = read_json(folder, FORM, TaggerForm)
    fits = fitting(reading.form) if reading.form.schemas else None
    answering = Answering(reading.form, reading.roles, fits)
    return TaggerStudent(answering, reading.whole_words, open_encoder(folder, manifest, threads, device))
