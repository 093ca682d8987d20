"""ranker: candidates that each field's rule reads in a document, ranked by the words round them; for pages of lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.errors import UsageError
from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.deriving import MOST_CHARACTERS
from stepdown.core.extraction.spans import Alignment
from stepdown.core.extraction.writing import fitting
from stepdown.core.students import ArtefactManifest, Lineage, Predictions, TrainingContext, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.students.artefact import seal
from stepdown.students.encoders.tag_preparing import Aligned, align_all, unlearnable
from stepdown.students.form_files import FORM, FormFile, open_ngrams, read_json, require_scipy
from stepdown.students.ngram_table import NgramTable
from stepdown.students.patterns.options import Options as HeadOptions
from stepdown.students.patterns.training import NGRAMS, train_heads
from stepdown.students.quantised import QuantisedRows, quantise_rows
from stepdown.students.ranking.candidates import candidates
from stepdown.students.ranking.rank_answering import SIGNAL_NAMES, RankAnswering, Ranked
from stepdown.students.ranking.rank_training import Question, fit_field, vocabulary
from stepdown.students.ranking.scoring import Table, offer
from stepdown.students.ranking.strangeness import Familiar, learn_familiar
from stepdown.students.ranking.suited import why_not_ranked
from stepdown.students.ranking.surroundings import describe
from stepdown.students.targets import learned_from
from stepdown.students.tiny_documents import tiny_documents

FAMILIES = ("extract",)
EXTRA = "train"
COST_ORDER = 200.0
RANKS = "ranks"


@dataclass(frozen=True)
class Options:
    """How a ranker is trained."""

    min_count: int = 3
    """In how many texts what is seen of a candidate must stand to be learned."""
    max_features: int = 60_000
    """At most so many, the most frequent first."""
    penalty: float = 2e-5
    """L2 penalty on the weights, relative to the mean loss of a row."""
    iterations: int = 80
    """At most this many steps of L-BFGS for each field."""
    incumbent_smoothing: float = 0.1
    """How much to doubt a choice of the incumbent's: the probability spread over all choices."""
    closed_penalty: float = 1e-5
    """The same penalty for the closed fields' heads."""
    max_characters: int = MOST_CHARACTERS
    """Longer texts are left to the incumbent: the signals `truncated` and `abstains` say so."""


class _Ranks(msgspec.Struct, frozen=True, kw_only=True):
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

    def answer(self, text: str) -> tuple[Answer, tuple[float, ...]]:
        """The values read and chosen, with their signals."""
        ranked = self._answer(text)
        return ranked.answer, ranked.signals

    def answer_many(self, texts: Sequence[str]) -> Predictions:
        """The same for many texts, with each field's chances."""
        found = [self._answer(text) for text in texts]
        signals = np.array([each.signals for each in found], dtype=np.float64).reshape(-1, len(SIGNAL_NAMES))
        return Predictions([each.answer for each in found], signals, parts=[each.parts for each in found])

    def _answer(self, text: str) -> Ranked:
        logits = self._heads.logits(text)[0] if self._heads else self._nothing
        read = text[: self._longest]
        offered, known = offer(self._answering, self._table, read)
        return self._answering.answer(read, offered, logits, known, len(text) > self._longest)


def why_not(data: TrainingData) -> str:
    """Which fields of the answers cannot be had, or why these texts are no documents; "" where a ranker can learn."""
    return why_not_ranked(data) or unlearnable(data)


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Reading, aligning and describing pages, then the steps for each field."""
    return speed.slowness * (1.0 + size.tokens * (4e-5 + 2.4e-7 * options.iterations))


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """The defaults, with fewer steps where time is short; None below 30."""
    for iterations in (Options().iterations, 50, 30):
        options = Options(iterations=iterations)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    """Align the answers, fit a head for each closed field and a ranking for each copied one, round, seal.

    Raises NotEnoughData, MissingExtra; UsageError for data without a form.
    """
    started = time.perf_counter()
    if data.form is None:
        raise UsageError(
            f"A ranker is to learn {data.task!r}, whose answers have no fields.",
            "It needs a form.",
            "Build from answers that have fields.",
        )
    require_scipy("Training a student on the words round values")
    context.progress("aligning", 0.0)
    aligned = align_all(data, data.form, data.roles)
    answering = RankAnswering(data.form, data.roles)
    parameters: dict[str, Any] = {
        "unaligned": aligned.counted(),
        "fields": {role.field: role.role for role in data.roles},
    }
    if answering.layout.groups:
        heads = HeadOptions(penalty=options.closed_penalty, incumbent_smoothing=options.incumbent_smoothing)
        parameters |= train_heads(data, aligned, answering.layout, heads, context)
    parameters |= _train_ranks(data, aligned, answering, options, context)
    (context.folder / FORM).write_bytes(canonical_json(FormFile(form=data.form, roles=data.roles)))
    rounded = Lineage(step="quantise", parameters={"weights": "int8 per row"})
    return seal(
        context.folder,
        ArtefactManifest(
            kind="ranker",
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


def _train_ranks(
    data: TrainingData, aligned: Aligned, answering: RankAnswering, options: Options, context: TrainingContext
) -> dict[str, Any]:
    from safetensors.numpy import save_file

    rows = [
        row
        for row, each in enumerate(aligned.rows)
        if each is not None and len(data.texts[row]) <= options.max_characters
    ]
    answers = [flat(data.targets[row]) for row in rows]
    questions: dict[int, Question] = {}
    for (rule, types), places in answering.rules().items():
        context.progress("reading candidates", 0.2 + 0.3 * len(questions) / max(1, len(answering.copied)))
        found = [candidates(rule, data.texts[row], types) for row in rows]
        described = [describe(rule, data.texts[row], each) for row, each in zip(rows, found, strict=True)]
        for place in places:
            name = answering.copied[place].field
            marked = [{span.field for span in aligned.rows[row].spans} for row in rows]  # type: ignore[union-attr]
            questions[place] = Question(
                found,
                described,
                # What follows from other fields need not be marked: there it is to be found nowhere.
                [answer.get(name) if name in own else None for answer, own in zip(answers, marked, strict=True)],
                [name not in aligned.rows[row].unaligned for row in rows],  # type: ignore[union-attr]
                [float(data.weights[row]) for row in rows],
            )
    names = vocabulary(list(questions.values()), options.min_count, options.max_features)
    ids = {name: place for place, name in enumerate(names)}
    weights = np.zeros((max(1, len(names)), max(1, len(questions))), dtype=np.float32)
    absent = [0.0] * len(questions)
    for place, question in sorted(questions.items()):
        context.progress("ranking", 0.5 + 0.5 * place / len(questions))
        weights[: len(names), place], absent[place] = fit_field(question, ids, options.penalty, options.iterations)
    stored = quantise_rows(weights)
    save_file({"weights": stored.values, "scales": stored.scales}, context.folder / f"{RANKS}.safetensors")
    familiar = learn_familiar((data.texts[row], _starts(aligned.rows[row])) for row in rows)
    ranks = _Ranks(
        names=names,
        absent=tuple(round(each, 4) for each in absent),
        contexts=tuple(sorted(familiar.contexts)),
        most=familiar.most,
    )
    (context.folder / f"{RANKS}.json").write_bytes(canonical_json(ranks))
    return {"features": len(names), "texts": len(rows)}


def _starts(row: Alignment | None) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for span in row.spans if row else ():
        found.setdefault(span.field, []).append(span.start)
    return found


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> RankerStudent:
    """Read the form, the ranks and the n-grams. Raises TamperedError for what cannot be read."""
    from safetensors.numpy import load_file

    reading = read_json(folder, FORM, FormFile)
    ranks = read_json(folder, f"{RANKS}.json", _Ranks)
    fits = fitting(reading.form) if reading.form.schemas else None
    familiar = Familiar(frozenset(ranks.contexts), ranks.most)
    answering = RankAnswering(reading.form, reading.roles, fits, familiar)
    heads = open_ngrams(folder, NGRAMS) if answering.layout.groups else None
    arrays = load_file(folder / f"{RANKS}.safetensors")
    ids = {name: place for place, name in enumerate(ranks.names)}
    table = Table(ids, ranks.absent, QuantisedRows(arrays["weights"], arrays["scales"]).rows(slice(None)))
    return RankerStudent(answering, table, heads, int(manifest.options["max_characters"]))


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_documents()
