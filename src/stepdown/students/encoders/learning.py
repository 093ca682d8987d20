"""How an encoder learns a task: all layers fine-tuned, some of them kept, and those taught by what all of them knew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from stepdown.core.students import Lineage, TrainingContext
from stepdown.core.training_time import MachineSpeed
from stepdown.students.encoders.checkpoints import Checkpoints
from stepdown.students.encoders.objective import Recipe, TrainingObjective
from stepdown.students.encoders.preparing import Prepared
from stepdown.students.encoders.threads import torch_threads
from stepdown.students.shrink import prune

if TYPE_CHECKING:
    from stepdown.students.encoders.network import Encoder
    from stepdown.students.encoders.training import Trained

LEAST_EPOCHS = 2.0
"""Below this a network has not learned the task, and what it says would spoil the students it teaches."""
PADDED = 1.1
"""Tokens that are read of each that is in a text: batches are padded."""
_READING = 1 / 3
"""What a layer costs that only reads, where one that learns costs 1."""
_DEPTH = 6
"""Layers of the default base."""
_ROUNDING = 0.05
"""Of a student's time, what is left for rounding it to int8 and looking at what it answers then."""


class FineTuningOptions(Protocol):
    """The options that `encoder` and `tagger` share."""

    @property
    def layers(self) -> int: ...
    @property
    def teacher_epochs(self) -> float: ...
    @property
    def epochs(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def frozen(self) -> int: ...
    @property
    def teacher_frozen(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def label_smoothing(self) -> float: ...


@dataclass(frozen=True)
class Plan:
    """layers: how many are kept, 0 for all. teacher: how all of them are fine-tuned first; 0 epochs: not at all."""

    layers: int
    teacher: Recipe
    student: Recipe

    def seconds(self, tokens: int, speed: MachineSpeed) -> float:
        """What the epochs of the layers that learn take on a default base, and what only reads. tokens: of an epoch,
        without padding."""
        kept, teacher, student = self.layers or _DEPTH, self.teacher, self.student
        reading = kept + student.frozen
        if teacher.epochs:
            reading += 2 * _DEPTH + teacher.frozen
        epochs = (_DEPTH - teacher.frozen) * teacher.epochs + (kept - student.frozen) * student.epochs
        return PADDED * tokens * speed.layer_s * (epochs + _READING * reading)


def plan_of(options: FineTuningOptions) -> Plan:
    """The teacher's recipe and the student's. What is distilled learns faster, and all the more into fewer layers."""
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


@dataclass(frozen=True)
class Learned:
    """A trained network and what was done to it."""

    network: Encoder
    lineage: tuple[Lineage, ...]


def learn(prepared: Prepared, objective: TrainingObjective, plan: Plan, context: TrainingContext) -> Learned:
    """Train `prepared.network`: all its layers, then those that are kept, by what the whole says.

    Where all are kept, they learn on from their own word. A teacher in the context is asked where the network does not
    teach itself. Unlabelled texts, prepared after the objective's own, are learned from by distillation alone. Where
    the clock leaves all layers too little time to have learned the task, what they say teaches nobody.
    """
    with torch_threads(context.threads):
        there = prepared.network.shape.layers
        kept = prune.spread(min(plan.layers or there, there), there)
        if not plan.teacher.epochs:
            return _learn_directly(prepared, objective, kept, plan, context)
        return _learn_from_all_layers(prepared, objective, kept, plan, context)


def _learn_directly(
    prepared: Prepared, objective: TrainingObjective, kept: list[int], plan: Plan, context: TrainingContext
) -> Learned:
    network, lineage = prepared.network, []
    if len(kept) < network.shape.layers:
        network, pruned = prune.layers(network, kept)
        lineage.append(pruned)
    taught = objective.shown_by_student(context.teacher, context.teacher_hash, prepared) if context.teacher else None
    if taught:
        objective, shown = taught
        lineage.append(shown)
    objective.start_heads(network)
    part = _Part("fine-tuning", "student", 1.0 - _ROUNDING, (0.0, 0.95))
    lineage.append(_train(network, objective, plan.student, context, part)[1])
    return Learned(network, tuple(lineage))


def _learn_from_all_layers(
    prepared: Prepared, objective: TrainingObjective, kept: list[int], plan: Plan, context: TrainingContext
) -> Learned:
    network, there = prepared.network, prepared.network.shape.layers
    work = plan.teacher.epochs * (there - plan.teacher.frozen), plan.student.epochs * (len(kept) - plan.student.frozen)
    share = work[0] / sum(work)
    checkpoints = Checkpoints(context.checkpoints, context.checkpoint_s)
    context.progress("asking the base", 0.02)
    second = checkpoints.remembered(
        "before-training", lambda: objective.second_opinion(network, prepared, context.seed)
    )
    objective.start_heads(network)
    half = 0.05 + 0.9 * share
    part = _Part("fine-tuning all layers", "teacher", share * (1.0 - _ROUNDING), (0.05, half))
    trained, taught = _train(network, objective, plan.teacher, context, part)
    steps = [taught]
    if trained.epochs >= min(LEAST_EPOCHS, plan.teacher.epochs):
        objective, shown = objective.shown_by_network(network, prepared, second)
        steps.append(shown)
    if len(kept) < there:
        network, pruned = prune.layers(network, kept)
        steps.insert(1, pruned)
    what = f"distilling into {len(kept)} of {there} layers"
    part = _Part(what, "student", 1.0 - _ROUNDING, (half, 0.95))
    return Learned(network, (*steps, _train(network, objective, plan.student, context, part)[1]))


@dataclass(frozen=True)
class _Part:
    """What to tell people, the phase's name, its share of the time that is left, and its span of the progress."""

    what: str
    phase: str
    share: float
    span: tuple[float, float]


def _train(
    network: Encoder, objective: TrainingObjective, recipe: Recipe, context: TrainingContext, part: _Part
) -> tuple[Trained, Lineage]:
    from stepdown.students.encoders.training import Phase, fine_tune

    start, end = part.span
    phase = Phase(
        name=part.phase,
        seed=context.seed,
        clock=context.clock,
        share=part.share,
        checkpoints=Checkpoints(context.checkpoints, context.checkpoint_s),
        progress=lambda share: context.progress(part.what, start + (end - start) * share),
    )
    trained = fine_tune(network, objective, recipe, phase)
    parameters: dict[str, Any] = {
        "layers": network.shape.layers,
        "frozen": recipe.frozen,
        "epochs": round(trained.epochs, 3),
        "rows": len(objective),
        "loss": round(trained.loss, 4),
    }
    if trained.steps < trained.planned:
        parameters |= {"steps": trained.steps, "steps_planned": trained.planned}
    return trained, Lineage(step="train", parameters=parameters)
