from typing import get_args

import numpy as np
import pytest

from stepdown.stats import betting, binomial, excess_loss, paired_binary
from stepdown.stats.excess_loss import Support, excess_interval, excess_p_value, excess_upper_bound

DISAGREEMENTS = np.repeat([1.0, 0.0], [6, 494])
DIFFERENCES = np.repeat([1.0, -1.0, 0.0], [20, 24, 456])


def test_the_declared_support_chooses_the_test() -> None:
    assert excess_p_value(DISAGREEMENTS, 0.03, "zero_one") == binomial.p_value(6, 500, 0.03)
    counts = paired_binary.PairedCounts(20, 24, 500)
    assert excess_p_value(DIFFERENCES, 0.03, "paired") == paired_binary.p_value(counts, 0.03)
    assert excess_p_value(DIFFERENCES, 0.03, "bounded") == betting.p_value(DIFFERENCES, 0.03)


@pytest.mark.parametrize("support", get_args(Support))
def test_bound_interval_and_p_value_agree(support: Support) -> None:
    upper = excess_upper_bound(DISAGREEMENTS, 0.05, support)
    assert excess_p_value(DISAGREEMENTS, upper + 1e-6, support) <= 0.05 + 1e-9
    lower, wider = excess_interval(DISAGREEMENTS, 0.05, support)
    assert lower < DISAGREEMENTS.mean() < upper < wider
    assert support in excess_loss.METHODS


def test_knowing_more_of_the_support_certifies_more() -> None:
    exact, betting_only = (excess_upper_bound(DIFFERENCES, 0.05, support) for support in ("paired", "bounded"))
    assert exact < betting_only
    assert (
        excess_upper_bound(DISAGREEMENTS, 0.05, "zero_one") <= excess_upper_bound(DISAGREEMENTS, 0.05, "paired") + 1e-3
    )


def test_values_outside_the_support_are_refused() -> None:
    with pytest.raises(ValueError, match="zero_one"):
        excess_p_value(DIFFERENCES, 0.02, "zero_one")
    with pytest.raises(ValueError, match="-1, 0 and 1"):
        excess_p_value([0.5], 0.02, "paired")
    with pytest.raises(ValueError, match="expected one of zero_one, paired, bounded"):
        excess_p_value([0.0], 0.02, "trinomial")  # type: ignore[arg-type]
