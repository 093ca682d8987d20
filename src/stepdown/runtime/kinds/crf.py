"""crf: known values and word patterns mark what is copied, n-grams choose the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from stepdown.core.dataset import Answer
from stepdown.core.extraction.writing import fitting
from stepdown.core.inputs import Input
from stepdown.core.students import NUMPY, ArtefactManifest, Device, Predictions
from stepdown.runtime.form_files import FORM, FormFile, open_ngrams, read_json
from stepdown.runtime.ngram_table import NgramTable
from stepdown.runtime.patterns.chain import Chain
from stepdown.runtime.patterns.emission_table import EmissionTable
from stepdown.runtime.patterns.gazetteer_lists import Gazetteer
from stepdown.runtime.patterns.reading import PatternReader
from stepdown.runtime.patterns.tokens import read_tokens
from stepdown.runtime.quantised import QuantisedRows
from stepdown.runtime.tags.answering import SIGNAL_NAMES as ANSWERED
from stepdown.runtime.tags.answering import Answered, Answering
from stepdown.runtime.tags.layout import Units, layout_of

RUNTIME = NUMPY
SIGNAL_NAMES = (*ANSWERED, "known", "listed")
PATTERNS = "patterns"
"""The name of the chain's files, a .json and a .safetensors."""


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """What `patterns.json` holds. names: the features, in the order of their weights. values: the gazetteer, words of
    a value with the places of its fields among the copied ones."""

    names: tuple[str, ...]
    values: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]


class CrfStudent:
    """An opened CRF student. table: of closed fields, reader: of copied ones; None where there are none."""

    kind = "crf"
    signal_names = SIGNAL_NAMES

    def __init__(
        self, answering: Answering, table: NgramTable | None, reader: PatternReader | None, max_tokens: int
    ) -> None:
        self._answering, self._table, self._reader = answering, table, reader
        self._max_tokens = max_tokens
        self._nothing = np.zeros(answering.layout.labels, dtype=np.float32)

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The values found and chosen, with their signals."""
        answered, seen = self._answer(input.text, parts=False)
        return answered.answer, (*answered.signals, *seen)

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with each field's chances."""
        found = [self._answer(input.text, parts=True) for input in inputs]
        rows = [(*answered.signals, *seen) for answered, seen in found]
        signals = np.array(rows, dtype=np.float64).reshape(-1, len(SIGNAL_NAMES))
        return Predictions([each.answer for each, _ in found], signals, parts=[each.parts for each, _ in found])

    def _answer(self, text: str, parts: bool) -> tuple[Answered, tuple[float, float]]:
        logits, known, cut = self._table.logits(text) if self._table else (None, 1.0, 0.0)
        tokens = read_tokens(text, self._max_tokens)
        count, listed = len(tokens), 1.0
        if self._reader is not None and count:
            read = self._reader.read(tokens, logits)
            scores, known, listed = read.scores, read.known, read.listed
        else:
            scores = np.zeros((count, self._answering.layout.tags), dtype=np.float32)
        units = Units(np.arange(count), np.array(tokens.bounds, dtype=np.int64).reshape(count, 2))
        outputs = (self._nothing if logits is None else logits, scores)
        answered = self._answering.answer(text, units, outputs, tokens.truncated or cut > 0.0, parts)
        return answered, (known, listed)


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> CrfStudent:
    """Read the form, the patterns and the n-grams. Raises TamperedError for what cannot be read."""
    from safetensors.numpy import load_file

    reading = read_json(folder, FORM, FormFile)
    layout = layout_of(reading.form, reading.roles)
    table = open_ngrams(folder) if layout.groups else None
    reader = None
    if layout.copied:
        arrays = load_file(folder / f"{PATTERNS}.safetensors")
        values = read_json(folder, f"{PATTERNS}.json", Values)
        ids = {name: place for place, name in enumerate(values.names)}
        emissions = EmissionTable(ids, QuantisedRows(arrays["weights"], arrays["scales"]))
        reader = PatternReader(layout, emissions, Gazetteer(values.values), Chain(arrays["transitions"]))
    fits = fitting(reading.form) if reading.form.schemas else None
    answering = Answering(reading.form, reading.roles, fits)
    return CrfStudent(answering, table, reader, int(manifest.options["max_tokens"]))
