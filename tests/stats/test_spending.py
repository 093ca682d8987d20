import math

import pytest

from stepdown.stats.spending import attempt_error, budget_share, error_left


def test_shares_fall_and_sum_to_one() -> None:
    shares = [budget_share(attempt) for attempt in range(1, 5001)]
    assert shares == sorted(shares, reverse=True)
    rest = 0.25 * 6 / math.pi**2 / 5000  # the tail of the Basel series after k terms is close to 1 / k
    assert sum(shares) + rest == pytest.approx(1.0, abs=1e-6)
    assert sum(shares) < 1.0


def test_the_first_attempt_keeps_most_of_the_budget() -> None:
    assert attempt_error(0.05, 1) == pytest.approx(0.0375)
    assert attempt_error(0.05, 3) == pytest.approx(attempt_error(0.05, 2) / 4)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="attempt 0"):
        budget_share(0)
    with pytest.raises(ValueError, match="error"):
        attempt_error(1.0, 1)


def test_what_is_left_is_what_later_attempts_may_spend() -> None:
    assert error_left(0.05, 0) == pytest.approx(0.05)
    assert error_left(0.05, 1) == pytest.approx(0.0125)
    later = sum(attempt_error(0.05, attempt) for attempt in range(4, 20_000))
    assert error_left(0.05, 3) == pytest.approx(later, abs=1e-5)
