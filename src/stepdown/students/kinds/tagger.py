"""tagger: a small pretrained encoder that marks values in a text and chooses others, in one pass, rounded to int8."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import UsageError
from stepdown.core.extraction.form import Role
from stepdown.core.options import Count, NotNegative, Positive, Share, Whole
from stepdown.core.students import (
    Lineage,
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.encoder import GRAPH
from stepdown.runtime.form_files import FORM
from stepdown.runtime.kinds.tagger import TaggerForm
from stepdown.runtime.tags.decoding import same_decisions
from stepdown.runtime.tags.layout import layout_of
from stepdown.runtime.tokeniser import TOKENIZER
from stepdown.students.encoders.learning import PADDED, learn, plan_of
from stepdown.students.encoders.preparing import prepare, require_training
from stepdown.students.encoders.pretrained import DEFAULT, resolve
from stepdown.students.encoders.tag_preparing import Aligned, align_all, make_lesson, unlearnable, words_fit
from stepdown.students.ranking.suited import RANKED, why_not_ranked
from stepdown.students.shrink import prune, quantise
from stepdown.students.targets import form_of
from stepdown.students.tiny_extraction import tiny_extraction

FAMILIES = ("extract",)
EXTRA = "train"
COST_ORDER = 22.0
TEACHES = True
_START_S = 6.0
_TOKEN_S = 3e-4
"""Seconds to read, align, round and look at one token, whatever is learned from it."""
_PIECE = re.compile(r"\w{1,4}|[^\w\s]")
_PLANS = ((6.0, 8.0), (5.0, 7.0), (4.0, 6.0), (3.0, 5.0), (3.0, 4.0), (2.0, 3.0), (0.0, 6.0), (0.0, 4.0), (0.0, 2.0))
"""Epochs of the teacher and of the student, the best first."""


@dataclass(frozen=True)
class Options:
    """How a tagger is trained and shrunk. `options_for` derives the epochs from the time there is."""

    base: str = DEFAULT
    """The pretrained encoder: a folder, or a name in the local hub cache, an installed package or the hub."""
    revision: str = "main"
    """The base's revision on the hub."""
    layers: Whole = 3
    """How many layers the student keeps; 0 for all of them."""
    teacher_epochs: NotNegative = 6.0
    """Epochs of fine-tuning all layers first, to distil from; 0 to fine-tune the kept layers at once."""
    epochs: Positive = 6.0
    """Epochs of training the layers that are kept."""
    learning_rate: Positive = 1.5e-4
    """The peak rate of the top layer while fine-tuning all layers; what is distilled learns at 1.5 times that where all
    layers are kept, at three times that where fewer are."""
    frozen: Whole = 0
    """So many of the layers that are kept, the lowest, stay as they are: each text passes them once."""
    teacher_frozen: Whole = 0
    """The same while all layers are fine-tuned."""
    batch: Count = 32
    """Rows per step."""
    max_length: Count = 256
    """Longer texts, in tokens, are left to the incumbent: the signals `truncated` and `abstains` say so."""
    vocabulary_min_count: Whole = 1
    """Pieces of the vocabulary that stand this often in the texts are kept; 0 keeps the whole vocabulary."""
    vocabulary_general: Whole = 8_000
    """So many of the most frequent pieces in general are kept as well."""
    label_smoothing: Share = 0.1
    """The probability spread over all choices of a closed field in every target."""
    tag_smoothing: Share = 0.02
    """The same for the tags of a text."""
    units: Literal["auto", "words", "pieces"] = "auto"
    """What is tagged: "words", "pieces" of words, or "auto": words where nearly all values begin and end with them."""
    precision: Literal["int8", "float32"] = "int8"
    """int8, or float32 for machines without fast int8 arithmetic."""


def why_not(data: TrainingData) -> str:
    """Which fields of the answers cannot be tagged or chosen, or that the texts are documents or too long; "" else."""
    reason = unlearnable(data) or _too_long(data.texts)
    return reason or ("" if why_not_ranked(data) else RANKED)


def _too_long(texts: Sequence[str]) -> str:
    """Roughly: a piece for every four letters or digits of a word, and one for each mark."""
    limit = Options().max_length
    long = sum(sum(1 for _ in _PIECE.finditer(text, 0, 40 * limit)) > limit - 2 for text in texts)
    if long * 2 <= len(texts):
        return ""
    return f"{long / len(texts):.0%} of the inputs are longer than the {limit:,} tokens that a tagger reads."


def seconds_needed(size: TrainingSize, options: Options, speed: MachineSpeed) -> float:
    """Reading and aligning, then the epochs of the layers that learn, and what only reads."""
    tokens = size.read(options.max_length)
    fixed = speed.slowness * (_START_S + _TOKEN_S * (PADDED * tokens))
    return fixed + plan_of(options).seconds(tokens, speed)


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """Teacher and student with as many epochs as fit; then the student alone; None below two epochs."""
    for teacher, student in _PLANS:
        options = Options(teacher_epochs=teacher, epochs=student)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Align the answers, fine-tune all layers, distil into fewer, round.

    Raises NotEnoughData, MissingExtra, InputError; UsageError for data without a form, or unknown units.
    """
    form, roles = form_of(data), data.roles
    if options.units not in ("auto", "words", "pieces"):
        raise UsageError(
            f"A tagger is to tag {options.units!r}.", "Units are auto, words or pieces.", "Change the option."
        )
    aligned = align_all(data, form, roles)
    require_training()
    context.progress("reading the base", 0.0)
    base = resolve(options.base, options.revision, network=context.network)
    layout = layout_of(form, roles)
    pruning = prune.Options(options.vocabulary_min_count, options.vocabulary_general)
    texts = [*data.texts, *data.extra_texts]
    prepared = prepare(
        base, texts, layout.labels, options.max_length, pruning, tags=layout.tags, learned=options.max_length
    )
    readings = prepared.tokeniser.read_many(texts)
    whole_words = options.units == "words" if options.units != "auto" else words_fit(aligned, readings, layout)
    objective = make_lesson(data, aligned, readings, layout, whole_words, options.tag_smoothing)
    learned = learn(prepared, objective, plan_of(options), context)
    context.progress("rounding to int8", 0.97)
    written = quantise.quantise(
        learned.network,
        prepared.sequences,
        quantise.Options(precision=options.precision),
        agree=partial(same_decisions, layout),
    )
    (context.folder / GRAPH).write_bytes(written.graph)
    (context.folder / TOKENIZER).write_text(prepared.tokenizer, encoding="utf-8")
    (context.folder / FORM).write_bytes(canonical_json(TaggerForm(form=form, roles=roles, whole_words=whole_words)))
    lineage = (*prepared.lineage, *learned.lineage, written.lineage)
    return Trained(_with_alignment(lineage, aligned, roles, whole_words), base.described())


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_extraction()


def _with_alignment(
    lineage: Sequence[Lineage], aligned: Aligned, roles: Sequence[Role], whole_words: bool
) -> tuple[Lineage, ...]:
    """The steps, the first training among them with what was learned from which field, and what could not be."""
    fields = {role.field: {"role": role.role, "normaliser": role.normaliser, "aligned": role.aligned} for role in roles}
    parameters = {"fields": fields, "unaligned": aligned.counted(), "units": "words" if whole_words else "pieces"}
    first = next(place for place, step in enumerate(lineage) if step.step == "train")
    trained = msgspec.structs.replace(lineage[first], parameters={**lineage[first].parameters, **parameters})
    return (*lineage[:first], trained, *lineage[first + 1 :])
