"""What the certificate room reads of a split: losses by the contract's name, slices by the family's word."""

from __future__ import annotations

import numpy as np
import pytest

from stepdown.certificate.observations import Entrant
from stepdown.core.dataset import Example
from stepdown.core.errors import ContractError
from stepdown.core.family import families, loss_named
from stepdown.core.students import Predictions
from stepdown.loop.observing import Answered, Yardstick, observe

EXAMPLES = [
    Example(id="1", input="a table for two in Paris", incumbent={"city": "Paris", "people": 2}),
    Example(id="2", input="something in Rome", incumbent={"city": "Rome"}),
    Example(id="3", input="hello", incumbent={}),
]
ANSWERS = [{"city": "Paris", "people": 3}, {"city": "Rome"}, {"city": "hello"}]


def _observed(loss: str) -> tuple[list[float], str, tuple[dict[str, str], ...]]:
    said = Predictions(ANSWERS, np.zeros((3, 1)))
    yardstick = Yardstick(families().load("extract"), loss_named("extract", loss), ("label", "field"))
    seen = observe(
        Answered(EXAMPLES, (said,)),
        [Entrant(kind="a", artefact="1", signal_names=("top",))],
        yardstick,
        "agreement",
        None,
    )
    assert {name: rows.tolist() for name, rows in seen.slices_named("field").items()} == {
        "city": [True, True, False],
        "people": [True, False, False],
    }
    return seen.losses[0].tolist(), seen.support, seen.slices


def test_the_contract_names_the_loss_and_the_loss_its_support() -> None:
    assert _observed("")[:2] == _observed("exact-match")[:2] == ([1.0, 0.0, 1.0], "zero_one")
    assert _observed("field-f1")[:2] == ([0.5, 0.0, 1.0], "bounded")


def test_a_loss_that_the_family_lacks_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="exact-match, field-f1"):
        loss_named("extract", "field-f")
    with pytest.raises(ContractError, match="'classify' have: error"):
        loss_named("classify", "exact-match")


def test_the_slice_label_is_what_the_family_says() -> None:
    rows = [Example(id=str(n), input=f"text {n}", incumbent="ab"[n % 2]) for n in range(4)]
    said = Predictions(["a"] * 4, np.zeros((4, 1)))
    yardstick = Yardstick(families().load("classify"), loss_named("classify"), ("label",))
    seen = observe(Answered(rows, (said,)), [Entrant(kind="a", artefact="1")], yardstick, "agreement", None)
    assert [row["label"] for row in seen.slices] == ["a", "b", "a", "b"]
