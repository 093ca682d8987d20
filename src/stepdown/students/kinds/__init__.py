"""The kinds of student, one file each; the folder is the list. Third parties add theirs by entry point."""

from __future__ import annotations

from stepdown.core.kinds import Kinds
from stepdown.core.students import StudentKind

FORMER = {"gazetteer": "crf", "static": "token_cnn"}
"""Names of kinds in artefacts, cascades and settings of earlier versions."""


def student_kinds() -> Kinds[StudentKind]:
    """Every kind of student that is installed."""
    return Kinds("stepdown.students.kinds", "student", FORMER)
