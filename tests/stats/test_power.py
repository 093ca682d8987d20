import numpy as np
import pytest

from stepdown.stats import betting, binomial
from stepdown.stats.power import Goal, labels_for_betting, labels_for_binomial, labels_for_paired, power_of_paired

GOAL = Goal(margin=0.02, error=0.05, power=0.8)


@pytest.mark.parametrize(("worse", "better"), [(0.05, 0.08), (0.01, 0.01)])
def test_the_advised_number_of_pairs_has_the_power_asked_for(worse: float, better: float) -> None:
    labels = labels_for_paired(worse, better, GOAL)
    assert labels is not None
    generator = np.random.default_rng(0)
    assert power_of_paired(worse, better, labels, GOAL, generator, draws=120) == pytest.approx(0.8, abs=0.1)


def test_no_amount_will_do_at_or_above_the_margin() -> None:
    assert labels_for_paired(0.05, 0.03, GOAL) is None
    assert labels_for_paired(0.06, 0.03, GOAL) is None
    assert labels_for_binomial(0.02, GOAL) is None
    assert labels_for_betting(0.02, 0.1, GOAL) is None
    assert labels_for_paired(0.30, 0.2801, GOAL) is None  # above two million


def test_harder_goals_need_more() -> None:
    easy = labels_for_paired(0.05, 0.06, GOAL)
    nearer = labels_for_paired(0.055, 0.055, GOAL)
    surer = labels_for_paired(0.05, 0.06, Goal(0.02, 0.01, 0.8))
    noisier = labels_for_paired(0.10, 0.11, GOAL)
    assert easy < min(nearer, surer, noisier)


def test_nothing_ever_discordant_needs_few() -> None:
    assert 100 < labels_for_paired(0.0, 0.0, GOAL) < 200


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.01])
def test_the_advised_number_for_the_binomial_has_the_power_asked_for(rate: float) -> None:
    labels = labels_for_binomial(rate, GOAL)
    most = max(k for k in range(labels) if binomial.p_value(k, labels, 0.02) <= 0.05) if labels else 0
    assert binomial.probability_at_most(most, labels, rate) >= 0.8
    if rate == 0.0:
        assert labels == 149


@pytest.mark.parametrize(("worse", "better"), [(0.05, 0.06), (0.005, 0.002)])
def test_the_advised_number_for_betting_has_about_the_power_asked_for(worse: float, better: float) -> None:
    labels = labels_for_betting(worse - better, worse + better, GOAL)
    luck = np.random.default_rng(1).random((labels, 300))
    excess = (luck < worse).astype(float) - (luck > 1 - better)
    assert (betting.p_values(excess, 0.02) <= 0.05).mean() > 0.7


def test_betting_needs_more_than_the_exact_test() -> None:
    assert labels_for_betting(-0.01, 0.11, GOAL) > labels_for_paired(0.05, 0.06, GOAL)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="shares"):
        labels_for_paired(0.9, 0.9, GOAL)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Goal(0.02, power=1.0)
    with pytest.raises(ValueError, match="share between"):
        labels_for_binomial(-0.1, GOAL)
