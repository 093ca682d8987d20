"""How each kind of student is trained, one file each; `runtime/kinds/` has how it answers. The folder is the list.

Third parties add theirs by entry point, in one module that trains and opens.
"""

from __future__ import annotations

from stepdown.core.kinds import Kinds
from stepdown.core.students import StudentKind
from stepdown.runtime.kinds import FORMER


def student_kinds() -> Kinds[StudentKind]:
    """Every kind of student that is installed."""
    return Kinds("stepdown.students.kinds", "student", FORMER)
