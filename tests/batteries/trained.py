"""A student of every kind, trained once for all batteries, whichever process of the test run comes first."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fixture_cache import KeptFolder

from stepdown.core.students import TrainingContext
from stepdown.core.training_time import REFERENCE
from stepdown.students.kinds import student_kinds
from stepdown.students.train import train_student


def trained_folder(name: str, kept_folder: KeptFolder, fresh: bool = False) -> Path:
    """The artefact of the kind `name`, trained on its own examples with seed 7. Never change it. fresh: in this run."""
    source = inspect.getsourcefile(sys.modules[student_kinds().load(name).train.__module__])
    assert source is not None
    return kept_folder(f"trained-{name}", train, name, Path(source), fresh=fresh)


def train(folder: Path, name: str, source: Path) -> None:
    """source: of the kind, which need not be stepdown's own; what is kept belongs to it."""
    kind = student_kinds().load(name)
    data = kind.examples()
    options = kind.options_for(data.size, 60.0, REFERENCE)
    with TemporaryDirectory() as home:
        context = TrainingContext(folder, Path(home), 7, 60.0, 2, lambda what, share: None)
        train_student(name, data, options, context)
