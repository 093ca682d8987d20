"""ranker: candidates that each field's rule reads in a document, ranked by the words round them; for pages of lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.deriving import MOST_CHARACTERS
from stepdown.core.extraction.spans import Alignment
from stepdown.core.options import Count, NotNegative, Share
from stepdown.core.students import (
    Lineage,
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.form_files import FORM, FormFile
from stepdown.runtime.kinds.ranker import RANKS, Ranks
from stepdown.runtime.quantised import quantise_rows
from stepdown.runtime.ranking.candidates import candidates
from stepdown.runtime.ranking.rank_answering import RankAnswering
from stepdown.runtime.ranking.strangeness import learn_familiar
from stepdown.runtime.ranking.surroundings import describe
from stepdown.students.encoders.tag_preparing import Aligned, align_all, unlearnable
from stepdown.students.patterns.options import Options as HeadOptions
from stepdown.students.patterns.training import require_scipy, train_heads
from stepdown.students.ranking.rank_training import Question, fit_field, vocabulary
from stepdown.students.ranking.suited import why_not_ranked
from stepdown.students.targets import form_of
from stepdown.students.tiny_documents import tiny_documents

FAMILIES = ("extract",)
EXTRA = "train"
COST_ORDER = 200.0


@dataclass(frozen=True)
class Options:
    """How a ranker is trained."""

    min_count: Count = 3
    """In how many texts what is seen of a candidate must stand to be learned."""
    max_features: Count = 60_000
    """At most so many, the most frequent first."""
    penalty: NotNegative = 2e-5
    """L2 penalty on the weights, relative to the mean loss of a row."""
    iterations: Count = 80
    """At most this many steps of L-BFGS for each field."""
    incumbent_smoothing: Share = 0.1
    """How much to doubt a choice of the incumbent's: the probability spread over all choices."""
    closed_penalty: NotNegative = 1e-5
    """The same penalty for the closed fields' heads."""
    max_characters: Count = MOST_CHARACTERS
    """Longer texts are left to the incumbent: the signals `truncated` and `abstains` say so."""


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


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Align the answers, fit a head for each closed field and a ranking for each copied one, round.

    Raises NotEnoughData, MissingExtra; UsageError for data without a form.
    """
    form = form_of(data)
    require_scipy("Training a student on the words round values")
    context.progress("aligning", 0.0)
    aligned = align_all(data, form, data.roles)
    answering = RankAnswering(form, data.roles)
    parameters: dict[str, Any] = {
        "unaligned": aligned.counted(),
        "fields": {role.field: role.role for role in data.roles},
    }
    if answering.layout.groups:
        heads = HeadOptions(penalty=options.closed_penalty, incumbent_smoothing=options.incumbent_smoothing)
        parameters |= train_heads(data, aligned, answering.layout, heads, context)
    parameters |= _train_ranks(data, aligned, answering, options, context)
    (context.folder / FORM).write_bytes(canonical_json(FormFile(form=form, roles=data.roles)))
    rounded = Lineage(step="quantise", parameters={"weights": "int8 per row"})
    return Trained((Lineage(step="train", parameters=parameters), rounded))


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
    ranks = Ranks(
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


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_documents()
