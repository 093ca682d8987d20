from __future__ import annotations

import pytest

from stepdown.core.shown_rows import FEWEST, shown_rows

Counts = dict[tuple[str, str], int]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({("test", "gold"): 500, ("tune", "gold"): 900, ("certify", "gold"): 2000}, ("test", "gold")),
        ({("test", "gold"): FEWEST - 1, ("tune", "gold"): 900}, ("tune", "gold")),
        ({("test", "incumbent"): 500, ("tune", "gold"): 900, ("tune", "incumbent"): 900}, ("tune", "gold")),
        ({("test", "incumbent"): 500, ("tune", "gold"): 3, ("tune", "incumbent"): 900}, ("test", "incumbent")),
        ({("tune", "incumbent"): 40, ("certify", "incumbent"): 2000}, ("tune", "incumbent")),
        ({("test", "gold"): 5, ("tune", "incumbent"): 40}, ("test", "gold")),
        ({("certify", "gold"): 2000, ("train", "gold"): 2000}, None),
        ({("test", "gold"): 0}, None),
        ({}, None),
    ],
)
def test_figures_are_read_on_test_or_tune_and_never_on_the_evidence(
    counts: Counts, expected: tuple[str, str] | None
) -> None:
    assert shown_rows(counts) == expected
