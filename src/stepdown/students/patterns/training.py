"""The two halves of a CRF student, trained and written: heads for closed fields, a chain for copied ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import needs
from stepdown.core.students import TrainingContext, TrainingData
from stepdown.runtime.form_files import NGRAMS
from stepdown.runtime.kinds.crf import PATTERNS, Values
from stepdown.runtime.patterns.chain import LEAST
from stepdown.runtime.patterns.tokens import Tokens, read_tokens
from stepdown.runtime.quantised import quantise_rows
from stepdown.runtime.tags.layout import Layout
from stepdown.students.encoders.tag_preparing import Aligned
from stepdown.students.logistic import LogisticOptions
from stepdown.students.ngrams import choose_vocabulary, count_ngrams, features
from stepdown.students.patterns.chain_examples import Limits, TrainingObjective, make_lesson
from stepdown.students.patterns.chain_training import ChainOptions, fit_chain
from stepdown.students.patterns.closed_heads import HeadTargets, fit_heads
from stepdown.students.patterns.options import Options
from stepdown.students.targets import INCUMBENT

MAX_WEIGHTS = 24_000_000


def train_heads(
    data: TrainingData, aligned: Aligned, layout: Layout, options: Options, context: TrainingContext
) -> dict[str, object]:
    """Heads on n-grams for all closed fields, in one table."""
    context.progress("counting n-grams", 0.1)
    counted = count_ngrams(data.texts, 2, 5)
    most = max(1_000, min(100_000, MAX_WEIGHTS // layout.labels))
    vocabulary, idf = choose_vocabulary(counted, options.min_count, most)
    matrix = features(counted.texts, vocabulary, idf)
    doubt = [options.incumbent_smoothing if source == INCUMBENT else 0.0 for source in data.sources]
    targets = HeadTargets(aligned.rows, np.array(doubt, dtype=np.float32), _weights(data, aligned))
    settings = LogisticOptions(options.penalty, options.iterations, threads=context.threads)
    weight, bias = fit_heads(
        matrix, layout, targets, settings, lambda share: context.progress("closed fields", 0.15 + 0.25 * share)
    )
    stored = quantise_rows(weight * idf[:, None])
    save_file(
        {"weights": stored.values, "scales": stored.scales, "squares": idf * idf, "bias": bias},
        context.folder / f"{NGRAMS}.safetensors",
    )
    (context.folder / f"{NGRAMS}.json").write_bytes(canonical_json(vocabulary.as_dict()))
    return {"ngrams": len(vocabulary)}


def train_chain(
    data: TrainingData, aligned: Aligned, layout: Layout, options: Options, context: TrainingContext
) -> dict[str, object]:
    """The chain of tags, and the gazetteer."""
    context.progress("reading words", 0.4)
    tokens: list[Tokens] = [read_tokens(text, options.max_tokens) for text in data.texts]
    most = max(1_000, min(options.max_features, MAX_WEIGHTS // layout.tags))
    weights = _weights(data, aligned).tolist()
    objective: TrainingObjective = make_lesson(
        tokens, aligned.rows, weights, layout, Limits(options.min_count, most, options.unknown), context.seed
    )
    settings = ChainOptions(options.epochs, rate=options.rate, dropout=options.dropout)
    weight, transitions = fit_chain(
        objective.sequences,
        layout.tags,
        settings,
        context.seed,
        lambda share: context.progress("copied fields", 0.45 + 0.55 * share),
        context.clock,
    )
    stored = quantise_rows(weight)
    save_file(
        {"weights": stored.values, "scales": stored.scales, "transitions": transitions},
        context.folder / f"{PATTERNS}.safetensors",
    )
    values = Values(names=objective.names, values=objective.values)
    (context.folder / f"{PATTERNS}.json").write_bytes(canonical_json(values))
    return {
        "patterns": len(objective.names),
        "listed": len(objective.values),
        "texts": len(objective.sequences),
        "spans": objective.spans,
        "spans_of_whole_words": objective.tagged,
    }


def _weights(data: TrainingData, aligned: Aligned) -> NDArray[np.float32]:
    weights = np.where([row is not None for row in aligned.rows], data.weights, 0.0)
    return (weights * (len(weights) / max(float(weights.sum()), LEAST))).astype(np.float32)


def require_scipy(purpose: str) -> None:
    """Raises MissingExtra where scipy is not installed. purpose: what it is needed for, as a sentence begins."""
    with needs("train", purpose):
        import scipy  # noqa: F401
