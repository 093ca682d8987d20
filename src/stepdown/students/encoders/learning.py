"""How an encoder learns a task: all layers fine-tuned, some of them kept, and those taught by what all of them knew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stepdown.core.students import Lineage, TrainingContext
from stepdown.students.encoders.objective import Recipe, TrainingObjective
from stepdown.students.encoders.preparing import Prepared
from stepdown.students.encoders.threads import cores, torch_threads
from stepdown.students.shrink import prune

if TYPE_CHECKING:
    from stepdown.students.encoders.network import Encoder

SLOWER = 3.0
"""A plan is cut when this machine would take so many times longer than it may, and kept as it is below that: what is
measured must not change what a seed gives on machines that are fast enough, however busy they are."""
_THREADS_HELP = 0.6
"""n threads make an epoch n to this power times faster: two were measured to need 0.65 of the time of one."""
LEAST_EPOCHS = 2.0
"""Below this a network has not learned the task, and what it says would spoil the students it teaches."""


@dataclass(frozen=True)
class Plan:
    """layers: how many are kept, 0 for all. teacher: how all of them are fine-tuned first; 0 epochs: not at all."""

    layers: int
    teacher: Recipe
    student: Recipe


@dataclass(frozen=True)
class Learned:
    """A trained network and what was done to it."""

    network: Encoder
    lineage: tuple[Lineage, ...]


def learn(prepared: Prepared, objective: TrainingObjective, plan: Plan, context: TrainingContext) -> Learned:
    """Train `prepared.network`: all its layers, then those that are kept, by what the whole says.

    Where all are kept, they learn on from their own word. A teacher in the context is asked where the network does not
    teach itself. Unlabelled texts, prepared after the objective's own, are learned from by distillation alone.
    """
    with torch_threads(context.threads):
        network = prepared.network
        there = network.shape.layers
        kept = prune.spread(min(plan.layers or there, there), there)
        plan = _cut_to_time(network, objective, plan, len(kept), context)
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
    lineage.append(_train(network, objective, plan.student, context, (0.0, 0.95), "fine-tuning"))
    return Learned(network, tuple(lineage))


def _learn_from_all_layers(
    prepared: Prepared, objective: TrainingObjective, kept: list[int], plan: Plan, context: TrainingContext
) -> Learned:
    there = prepared.network.shape.layers
    work = plan.teacher.epochs * there, plan.student.epochs * len(kept)
    half = 0.05 + 0.9 * work[0] / sum(work)
    second = objective.second_opinion(prepared.network, prepared, context.seed)
    taught = _train(prepared.network, objective, plan.teacher, context, (0.05, half), "fine-tuning all layers")
    wider, shown = objective.shown_by_network(prepared.network, prepared, second)
    network, pruned = prune.layers(prepared.network, kept) if len(kept) < there else (prepared.network, None)
    what = f"distilling into {len(kept)} of {there} layers"
    trained = _train(network, wider, plan.student, context, (half, 0.95), what, new_heads=False)
    return Learned(network, (taught, *([pruned] if pruned else []), shown, trained))


def _train(
    network: Encoder,
    objective: TrainingObjective,
    recipe: Recipe,
    context: TrainingContext,
    span: tuple[float, float],
    what: str,
    new_heads: bool = True,
) -> Lineage:
    from stepdown.students.encoders.training import fine_tune

    if new_heads:
        objective.start_heads(network)
    start, end = span
    loss = fine_tune(
        network, objective, recipe, context.seed, lambda share: context.progress(what, start + (end - start) * share)
    )
    parameters = {
        "layers": network.shape.layers,
        "epochs": recipe.epochs,
        "rows": len(objective),
        "loss": round(loss, 4),
    }
    if recipe.epochs_planned is not None:
        parameters["epochs_planned"] = recipe.epochs_planned
    return Lineage(step="train", parameters=parameters)


def _cut_to_time(
    network: Encoder, objective: TrainingObjective, plan: Plan, kept: int, context: TrainingContext
) -> Plan:
    """The plan with fewer epochs where this machine is much slower than the one it was made for."""
    from stepdown.students.encoders.training import processor_seconds_per_epoch

    # In one thread: on a busy machine threads that wait for each other take ten times as long, in bursts fifty times.
    with torch_threads(1):
        alone = processor_seconds_per_epoch(network, objective, plan.teacher)
    epoch = alone / cores(context.threads) ** _THREADS_HELP
    needed = epoch * (plan.teacher.epochs + plan.student.epochs * kept / network.shape.layers)
    if needed <= SLOWER * context.seconds:
        return plan
    share = context.seconds / needed
    teacher = _shortened(plan.teacher, share) if plan.teacher.epochs else plan.teacher
    return replace(plan, teacher=teacher, student=_shortened(plan.student, share))


def _shortened(recipe: Recipe, share: float) -> Recipe:
    halves = max(LEAST_EPOCHS, float(np.floor(2.0 * share * recipe.epochs)) / 2.0)
    return replace(recipe, epochs=halves, epochs_planned=recipe.epochs) if halves < recipe.epochs else recipe
