"""A student of every kind, trained once for all batteries, whichever process of the test run comes first."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from stepdown.core.students import TrainingContext
from stepdown.students.kinds import student_kinds
from stepdown.students.train import train_student


def trained_folder(name: str, factory: pytest.TempPathFactory) -> Path:
    """The artefact of the kind `name`, trained on its own examples with seed 7. Never change it."""
    base = factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "trained"
    shared.mkdir(exist_ok=True)
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "manifest.json").exists():
            folder.mkdir(exist_ok=True)
            kind = student_kinds().load(name)
            data = kind.examples()
            options = kind.options_for(len(data.texts), len(data.labels), 60.0)
            train_student(name, data, options, TrainingContext(folder, shared, 7, 60.0, 2, lambda what, share: None))
    return folder
