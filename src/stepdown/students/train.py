"""Train one student and seal what it wrote: what the kinds have in common stands here."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from stepdown.core.students import ArtefactManifest, TrainingContext, TrainingData
from stepdown.runtime.kinds import served_kinds
from stepdown.students.artefact import seal
from stepdown.students.kinds import student_kinds
from stepdown.students.targets import taught_by


def train_student(name: str, data: TrainingData, options: Any, context: TrainingContext) -> ArtefactManifest:
    """Train a student of the kind `name` and seal its files in context.folder. Returns the manifest.

    A kind whose options have `soft_share` learns the teacher's probabilities too. Raises NotEnoughData, MissingExtra,
    InputError, UsageError.
    """
    started = time.perf_counter()
    kind, served = student_kinds().load(name), served_kinds().load(name)
    if hasattr(options, "soft_share"):
        data = taught_by(data, context.teacher)
    trained = kind.train(data, options, context)
    manifest = ArtefactManifest(
        kind=name,
        runtime=served.RUNTIME.name,
        task=data.task,
        family=data.family,
        labels=data.labels,
        signal_names=served.SIGNAL_NAMES,
        files={},
        seed=context.seed,
        trained_s=time.perf_counter() - started,
        learned_from=dict(sorted(Counter(data.sources).items())),
        dataset_hash=data.dataset_hash,
        lineage=trained.lineage,
        options=asdict(options) | ({"pretrained": trained.pretrained} if trained.pretrained else {}),
    )
    return seal(context.folder, manifest)
