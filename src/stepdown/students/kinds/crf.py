"""crf: known values and word patterns mark what is copied, n-grams choose the rest. The cheap rung here."""

from __future__ import annotations

from stepdown.core.canonical import canonical_json
from stepdown.core.students import (
    Lineage,
    Trained,
    TrainingContext,
    TrainingData,
)
from stepdown.core.training_time import MachineSpeed, TrainingSize
from stepdown.runtime.form_files import FORM, FormFile
from stepdown.runtime.tags.layout import layout_of
from stepdown.students.encoders.tag_preparing import align_all, unlearnable
from stepdown.students.patterns.options import Options
from stepdown.students.patterns.training import require_scipy, train_chain, train_heads
from stepdown.students.ranking.suited import RANKED, why_not_ranked
from stepdown.students.targets import form_of
from stepdown.students.tiny_extraction import tiny_extraction

FAMILIES = ("extract",)
EXTRA = "train"
COST_ORDER = 8.0


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


def train(data: TrainingData, options: Options, context: TrainingContext) -> Trained:
    """Align the answers, fit a head for each closed field and a chain of tags for the copied ones, round.

    Raises NotEnoughData, MissingExtra; UsageError for data without a form.
    """
    form = form_of(data)
    context.progress("aligning", 0.0)
    aligned = align_all(data, form, data.roles)
    layout = layout_of(form, data.roles)
    require_scipy("Training a student on word patterns")
    parameters = {"unaligned": aligned.counted(), "fields": {role.field: role.role for role in data.roles}}
    if layout.groups:
        parameters |= train_heads(data, aligned, layout, options, context)
    if layout.copied:
        parameters |= train_chain(data, aligned, layout, options, context)
    (context.folder / FORM).write_bytes(canonical_json(FormFile(form=form, roles=data.roles)))
    rounded = Lineage(step="quantise", parameters={"weights": "int8 per row"})
    return Trained((Lineage(step="train", parameters=parameters), rounded))


def examples() -> TrainingData:
    """A tiny task that this kind learns in a second."""
    return tiny_extraction()
