"""crf: known values and word patterns mark what is copied, n-grams choose the rest. The cheap rung here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.errors import UsageError
from stepdown.core.extraction.writing import fitting
from stepdown.core.students import ArtefactManifest, Lineage, Predictions, TrainingContext, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.students.artefact import seal
from stepdown.students.encoders.tag_answering import SIGNAL_NAMES as ANSWERED
from stepdown.students.encoders.tag_answering import Answered, Answering
from stepdown.students.encoders.tag_layout import Units, layout_of
from stepdown.students.encoders.tag_preparing import align_all, unlearnable
from stepdown.students.form_files import FORM, FormFile, open_ngrams, read_json, require_scipy
from stepdown.students.ngram_table import NgramTable
from stepdown.students.patterns.chain import Chain
from stepdown.students.patterns.emission_table import EmissionTable
from stepdown.students.patterns.gazetteer_lists import Gazetteer
from stepdown.students.patterns.options import Options
from stepdown.students.patterns.reading import PatternReader
from stepdown.students.patterns.tokens import read_tokens
from stepdown.students.patterns.training import NGRAMS, PATTERNS, Values, train_chain, train_heads
from stepdown.students.quantised import QuantisedRows
from stepdown.students.ranking.suited import RANKED, why_not_ranked
from stepdown.students.targets import learned_from
from stepdown.students.tiny_extraction import tiny_extraction

FAMILIES = ("extract",)
EXTRA = "train"
COST_ORDER = 8.0
SIGNAL_NAMES = (*ANSWERED, "known", "listed")


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

    def answer(self, text: str) -> tuple[Answer, tuple[float, ...]]:
        """The values found and chosen, with their signals."""
        answered, seen = self._answer(text, parts=False)
        return answered.answer, (*answered.signals, *seen)

    def answer_many(self, texts: Sequence[str]) -> Predictions:
        """The same for many texts, with each field's chances."""
        found = [self._answer(text, parts=True) for text in texts]
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


def why_not(data: TrainingData) -> str:
    """Which fields of the answers can be neither found nor chosen, or that a ranker reads such texts; "" elsewhere."""
    return unlearnable(data) or ("" if why_not_ranked(data) else RANKED)


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Aligning and reading, the heads, then the epochs of the chain, for short texts."""
    tokens = size.read(options.max_tokens)
    return speed.slowness * (1.0 + tokens * (4e-5 + 4e-7 * options.iterations + 8e-6 * options.epochs))


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """The defaults, with fewer epochs where time is short; None below three."""
    for epochs in (Options().epochs, 6, 3):
        options = Options(epochs=epochs)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    """Align the answers, fit a head for each closed field and a chain of tags for the copied ones, round, seal.

    Raises NotEnoughData, MissingExtra; UsageError for data without a form.
    """
    started = time.perf_counter()
    if data.form is None:
        raise UsageError(
            f"A CRF student is to learn {data.task!r}, whose answers have no fields.",
            "It needs a form.",
            "Build from answers that have fields.",
        )
    context.progress("aligning", 0.0)
    aligned = align_all(data, data.form, data.roles)
    layout = layout_of(data.form, data.roles)
    require_scipy("Training a student on word patterns")
    parameters = {"unaligned": aligned.counted(), "fields": {role.field: role.role for role in data.roles}}
    if layout.groups:
        parameters |= train_heads(data, aligned, layout, options, context)
    if layout.copied:
        parameters |= train_chain(data, aligned, layout, options, context)
    (context.folder / FORM).write_bytes(canonical_json(FormFile(form=data.form, roles=data.roles)))
    rounded = Lineage(step="quantise", parameters={"weights": "int8 per row"})
    return seal(
        context.folder,
        ArtefactManifest(
            kind="crf",
            task=data.task,
            family=data.family,
            labels=data.labels,
            signal_names=SIGNAL_NAMES,
            files={},
            seed=context.seed,
            trained_s=time.perf_counter() - started,
            learned_from=learned_from(data),
            dataset_hash=data.dataset_hash,
            lineage=(Lineage(step="train", parameters=parameters), rounded),
            options=asdict(options),
        ),
    )


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> CrfStudent:
    """Read the form, the patterns and the n-grams. Raises TamperedError for what cannot be read."""
    from safetensors.numpy import load_file

    reading = read_json(folder, FORM, FormFile)
    layout = layout_of(reading.form, reading.roles)
    table = open_ngrams(folder, NGRAMS) if layout.groups else None
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


def examples() -> TrainingData:
    """A tiny task that this kind learns in a second."""
    return tiny_extraction()
