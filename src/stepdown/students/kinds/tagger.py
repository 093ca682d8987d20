"""tagger: a small pretrained encoder that marks values in a text and chooses others, in one pass, rounded to int8."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.errors import UsageError
from stepdown.core.extraction.form import Form, Role
from stepdown.core.extraction.writing import fitting
from stepdown.core.students import ArtefactManifest, Lineage, Predictions, TrainingContext, TrainingData
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.students.artefact import seal
from stepdown.students.encoders.learning import Plan, learn
from stepdown.students.encoders.objective import Recipe
from stepdown.students.encoders.preparing import prepare, require_training
from stepdown.students.encoders.pretrained import DEFAULT, TOKENIZER, resolve
from stepdown.students.encoders.served import ServedEncoder, Tokeniser
from stepdown.students.encoders.tag_answering import SIGNAL_NAMES, Answered, Answering
from stepdown.students.encoders.tag_decoding import same_decisions
from stepdown.students.encoders.tag_layout import layout_of, units_of
from stepdown.students.encoders.tag_preparing import Aligned, align_all, make_lesson, unlearnable, words_fit
from stepdown.students.form_files import FORM, read_json
from stepdown.students.ranking.suited import RANKED, why_not_ranked
from stepdown.students.shrink import prune, quantise
from stepdown.students.targets import learned_from
from stepdown.students.tiny_extraction import tiny_extraction

FAMILIES = ("extract",)
EXTRA = "train"
COST_ORDER = 22.0
TEACHES = True
GRAPH = "encoder.onnx"
_START_S = 6.0
_TOKEN_S = 3e-4
"""Seconds to read, align, round and look at one token, whatever is learned from it."""
_PADDED = 1.1
_READING = 1 / 3
"""What a layer costs that only reads, where one that learns costs 1."""
_PIECE = re.compile(r"\w{1,4}|[^\w\s]")
_DEPTH = 6
"""Layers of the default base."""
_PLANS = ((6.0, 8.0), (5.0, 7.0), (4.0, 6.0), (3.0, 5.0), (3.0, 4.0), (2.0, 3.0), (0.0, 6.0), (0.0, 4.0), (0.0, 2.0))
"""Epochs of the teacher and of the student, the best first."""


@dataclass(frozen=True)
class Options:
    """How a tagger is trained and shrunk. `options_for` derives the epochs from the time there is."""

    base: str = DEFAULT
    """The pretrained encoder: a folder, or a name in the local hub cache, an installed package or the hub."""
    revision: str = "main"
    """The base's revision on the hub."""
    layers: int = 3
    """How many layers the student keeps; 0 for all of them."""
    teacher_epochs: float = 6.0
    """Epochs of fine-tuning all layers first, to distil from; 0 to fine-tune the kept layers at once."""
    epochs: float = 6.0
    """Epochs of training the layers that are kept."""
    learning_rate: float = 1.5e-4
    """The peak rate of the top layer while fine-tuning all layers; what is distilled learns at 1.5 times that where all
    layers are kept, at three times that where fewer are."""
    frozen: int = 0
    """So many of the layers that are kept, the lowest, stay as they are: each text passes them once."""
    teacher_frozen: int = 0
    """The same while all layers are fine-tuned."""
    batch: int = 32
    """Rows per step."""
    max_length: int = 256
    """Longer texts, in tokens, are left to the incumbent: the signals `truncated` and `abstains` say so."""
    vocabulary_min_count: int = 1
    """Pieces of the vocabulary that stand this often in the texts are kept; 0 keeps the whole vocabulary."""
    vocabulary_general: int = 8_000
    """So many of the most frequent pieces in general are kept as well."""
    label_smoothing: float = 0.1
    """The probability spread over all choices of a closed field in every target."""
    tag_smoothing: float = 0.02
    """The same for the tags of a text."""
    units: str = "auto"
    """What is tagged: "words", "pieces" of words, or "auto": words where nearly all values begin and end with them."""
    precision: str = "int8"
    """int8, or float32 for machines without fast int8 arithmetic."""


class _Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What `form.json` holds: how outputs are read."""

    form: Form
    roles: tuple[Role, ...]
    whole_words: bool


class TaggerStudent:
    """An opened tagger."""

    kind = "tagger"
    signal_names = SIGNAL_NAMES

    def __init__(self, answering: Answering, whole_words: bool, encoder: ServedEncoder) -> None:
        self._answering = answering
        self._whole_words = whole_words
        self._encoder = encoder

    def answer(self, text: str) -> tuple[Answer, tuple[float, ...]]:
        """The answer that is tagged and chosen, with its signals."""
        reading, outputs = self._encoder.read(text)
        units = units_of(reading, self._whole_words)
        answered = self._answering.answer(text, units, outputs, reading.truncated)
        return answered.answer, answered.signals

    def answer_many(self, texts: Sequence[str]) -> Predictions:
        """The same for many texts, with each field's chances."""
        answered: list[Answered] = []
        for text, (reading, outputs) in zip(texts, self._encoder.read_many(texts), strict=True):
            units = units_of(reading, self._whole_words)
            answered.append(self._answering.answer(text, units, outputs, reading.truncated, parts=True))
        signals = np.array([each.signals for each in answered], dtype=np.float64).reshape(-1, len(SIGNAL_NAMES))
        return Predictions([each.answer for each in answered], signals, parts=[each.parts for each in answered])


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
    kept = options.layers or _DEPTH
    learning = kept - options.frozen
    reading = kept + options.frozen
    if options.teacher_epochs:
        reading += 2 * _DEPTH + options.teacher_frozen
    epochs = (_DEPTH - options.teacher_frozen) * options.teacher_epochs + learning * options.epochs
    tokens = _PADDED * size.read(options.max_length)
    fixed = speed.slowness * (_START_S + _TOKEN_S * tokens)
    return fixed + tokens * speed.layer_s * (epochs + _READING * reading)


def options_for(size: TrainingSize, seconds: float, speed: MachineSpeed) -> Options | None:
    """Teacher and student with as many epochs as fit; then the student alone; None below two epochs."""
    for teacher, student in _PLANS:
        options = Options(teacher_epochs=teacher, epochs=student)
        if seconds_needed(size, options, speed) <= seconds:
            return options
    return None


def train(data: TrainingData, options: Options, context: TrainingContext) -> ArtefactManifest:
    """Align the answers, fine-tune all layers, distil into fewer, round, seal.

    Raises NotEnoughData, MissingExtra, InputError; UsageError for data without a form, or unknown units.
    """
    started = time.perf_counter()
    form, roles = _form_of(data, options), data.roles
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
    learned = learn(prepared, objective, _plan(options), context)
    context.progress("rounding to int8", 0.97)
    written = quantise.quantise(
        learned.network,
        prepared.sequences,
        quantise.Options(precision=options.precision),
        agree=partial(same_decisions, layout),
    )
    (context.folder / GRAPH).write_bytes(written.graph)
    (context.folder / TOKENIZER).write_text(prepared.tokenizer, encoding="utf-8")
    (context.folder / FORM).write_bytes(canonical_json(_Reading(form=form, roles=roles, whole_words=whole_words)))
    lineage = (*prepared.lineage, *learned.lineage, written.lineage)
    return seal(
        context.folder,
        ArtefactManifest(
            kind="tagger",
            task=data.task,
            family=data.family,
            labels=data.labels,
            signal_names=SIGNAL_NAMES,
            files={},
            seed=context.seed,
            trained_s=time.perf_counter() - started,
            learned_from=learned_from(data),
            dataset_hash=data.dataset_hash,
            lineage=_with_alignment(lineage, aligned, roles, whole_words),
            options={**asdict(options), "pretrained": base.described()},
        ),
    )


def open(folder: Path, manifest: ArtefactManifest, threads: int) -> TaggerStudent:
    """Read the form and the tokenizer, load the graph. Raises TamperedError for a form that cannot be read."""
    reading = read_json(folder, FORM, _Reading)
    tokeniser = Tokeniser((folder / TOKENIZER).read_text(encoding="utf-8"), int(manifest.options["max_length"]))
    encoder = ServedEncoder(folder / GRAPH, tokeniser, threads)
    fits = fitting(reading.form) if reading.form.schemas else None
    return TaggerStudent(Answering(reading.form, reading.roles, fits), reading.whole_words, encoder)


def examples() -> TrainingData:
    """A tiny task that this kind learns in seconds."""
    return tiny_extraction()


def _form_of(data: TrainingData, options: Options) -> Form:
    if data.form is None or options.units not in ("auto", "words", "pieces"):
        raise UsageError(
            f"A tagger is to learn {data.task!r} with {'no form' if data.form is None else options.units!r}.",
            "It needs a form, and units that are auto, words or pieces.",
            "Build from answers that have fields, or change the option.",
        )
    return data.form


def _with_alignment(
    lineage: Sequence[Lineage], aligned: Aligned, roles: Sequence[Role], whole_words: bool
) -> tuple[Lineage, ...]:
    """The steps, the first training among them with what was learned from which field, and what could not be."""
    fields = {role.field: {"role": role.role, "normaliser": role.normaliser, "aligned": role.aligned} for role in roles}
    parameters = {"fields": fields, "unaligned": aligned.counted(), "units": "words" if whole_words else "pieces"}
    first = next(place for place, step in enumerate(lineage) if step.step == "train")
    trained = msgspec.structs.replace(lineage[first], parameters={**lineage[first].parameters, **parameters})
    return (*lineage[:first], trained, *lineage[first + 1 :])


def _plan(options: Options) -> Plan:
    faster = 3.0 if options.layers else 1.5
    recipe = Recipe(
        epochs=options.teacher_epochs,
        learning_rate=options.learning_rate,
        batch=options.batch,
        label_smoothing=options.label_smoothing,
    )
    return Plan(
        layers=options.layers,
        teacher=replace(recipe, frozen=options.teacher_frozen),
        student=replace(
            recipe, epochs=options.epochs, learning_rate=faster * options.learning_rate, frozen=options.frozen
        ),
    )
