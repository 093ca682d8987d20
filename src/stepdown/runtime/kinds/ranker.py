"""ranker: candidates that each field's rule reads in a document, ranked by the words round them."""

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
from stepdown.runtime.quantised import QuantisedRows
from stepdown.runtime.ranking.rank_answering import SIGNAL_NAMES, RankAnswering, Ranked
from stepdown.runtime.ranking.scoring import Table, offer
from stepdown.runtime.ranking.strangeness import Familiar

RUNTIME = NUMPY
RANKS = "ranks"


class Ranks(msgspec.Struct, frozen=True, kw_only=True):
    """What `ranks.json` holds. names: the features, in the order of their weights. absent: by copied field, the score
    of its not being there. contexts, most: of `strangeness.Familiar`."""

    names: tuple[str, ...]
    absent: tuple[float, ...]
    contexts: tuple[str, ...]
    most: float


class RankerStudent:
    """An opened ranker. heads: of closed fields, None where there are none."""

    kind = "ranker"
    signal_names = SIGNAL_NAMES

    def __init__(self, answering: RankAnswering, table: Table, heads: NgramTable | None, longest: int) -> None:
        self._answering, self._table, self._heads, self._longest = answering, table, heads, longest
        self._nothing = np.zeros(answering.layout.labels, dtype=np.float32)

    def answer(self, input: Input) -> tuple[Answer, tuple[float, ...]]:
        """The values read and chosen, with their signals."""
        ranked = self._answer(input.text)
        return ranked.answer, ranked.signals

    def answer_many(self, inputs: Sequence[Input]) -> Predictions:
        """The same for many inputs, with each field's chances."""
        found = [self._answer(input.text) for input in inputs]
        signals = np.array([each.signals for each in found], dtype=np.float64).reshape(-1, len(SIGNAL_NAMES))
        return Predictions([each.answer for each in found], signals, parts=[each.parts for each in found])

    def _answer(self, text: str) -> Ranked:
        logits = self._heads.logits(text)[0] if self._heads else self._nothing
        read = text[: self._longest]
        offered, known = offer(self._answering, self._table, read)
        return self._answering.answer(read, offered, logits, known, len(text) > self._longest)


def open(folder: Path, manifest: ArtefactManifest, threads: int, device: Device) -> RankerStudent:
    """Read the form, the ranks and the n-grams. Raises TamperedError for what cannot be read."""
    from safetensors.numpy import load_file

    reading = read_json(folder, FORM, FormFile)
    ranks = read_json(folder, f"{RANKS}.json", Ranks)
    fits = fitting(reading.form) if reading.form.schemas else None
    familiar = Familiar(frozenset(ranks.contexts), ranks.most)
    answering = RankAnswering(reading.form, reading.roles, fits, familiar)
    heads = open_ngrams(folder) if answering.layout.groups else None
    arrays = load_file(folder / f"{RANKS}.safetensors")
    ids = {name: place for place, name in enumerate(ranks.names)}
    table = Table(ids, ranks.absent, QuantisedRows(arrays["weights"], arrays["scales"]).rows(slice(None)))
    return RankerStudent(answering, table, heads, int(manifest.options["max_characters"]))
