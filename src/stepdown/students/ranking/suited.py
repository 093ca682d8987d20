"""Whether texts are documents, whose values are told by the words beside them, and not messages of a few sentences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from stepdown.core.students import TrainingData

LEAST_LINES, LEAST_CHARACTERS = 5, 100
"""Of the middle text. In what is shorter the order of words says more than places do."""


RANKED = "These inputs are documents, which a ranker reads: of pages a chain of words learns little."


def why_not_ranked(data: TrainingData) -> str:
    """Why candidates cannot be ranked for these texts and answers; "" where they can."""
    form = data.form
    if form is None:
        return "Its answers have no fields."
    if form.tools:
        return "A ranker fills in objects, and these answers call tools."
    many = next((field.name for field in form.fields if field.many), "")
    if many:
        return f"A ranker finds one value for a field, and {many!r} is a list of them."
    if not are_documents(data.texts):
        return (
            f"A ranker reads documents; half of these inputs have fewer than {LEAST_LINES} lines, or "
            f"{LEAST_CHARACTERS} characters."
        )
    return ""


def are_documents(texts: Sequence[str]) -> bool:
    """Whether half of the texts or more have several lines, and are long."""
    if not texts:
        return False
    lines = statistics.median_low([text.count("\n") + 1 for text in texts])
    return lines >= LEAST_LINES and statistics.median_low([len(text) for text in texts]) >= LEAST_CHARACTERS
