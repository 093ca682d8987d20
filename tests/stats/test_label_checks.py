import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stepdown.stats import binomial
from stepdown.stats.label_checks import same_distribution, same_mean, same_ranks

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=40)


@given(rows)
def test_same_mean_is_fishers_exact_test(drawn: list[tuple[bool, int]]) -> None:
    labelled = np.array([flag for flag, _ in drawn])
    values = np.array([value > 1 for _, value in drawn], dtype=float)
    table = [[int((values[labelled == side] == value).sum()) for value in (0, 1)] for side in (True, False)]
    assert same_mean(labelled, values) == pytest.approx(stats.fisher_exact(table)[1], rel=1e-6)


@settings(max_examples=20)
@given(rows, st.integers(0, 2**32 - 1))
def test_same_distribution_is_a_probability_and_ignores_names(drawn: list[tuple[bool, int]], seed: int) -> None:
    labelled = np.array([flag for flag, _ in drawn])
    first = same_distribution(labelled, [value for _, value in drawn], np.random.default_rng(seed), 19)
    second = same_distribution(labelled, [f"name {9 - value}" for _, value in drawn], np.random.default_rng(seed), 19)
    assert 0.05 <= first == second <= 1.0


def test_same_distribution_agrees_with_the_chi_squared_test_where_that_is_good() -> None:
    generator = np.random.default_rng(0)
    category = generator.integers(0, 4, 2000)
    labelled = generator.random(2000) < np.where(category == 0, 0.24, 0.3)
    table = [np.bincount(category[labelled == side], minlength=4) for side in (True, False)]
    expected = stats.chi2_contingency(table)[1]
    assert 0.01 < expected < 0.5
    assert same_distribution(labelled, category.tolist(), generator, 1999) == pytest.approx(expected, abs=0.03)


def test_levels_are_kept_with_many_sparse_categories() -> None:
    generator = np.random.default_rng(1)
    runs, distribution, mean = 400, 0, 0
    for _ in range(runs):
        category = generator.zipf(1.5, 150)
        labelled = generator.permutation(150) < 40
        distribution += same_distribution(labelled, category.tolist(), generator, 99) <= 0.05
        mean += same_mean(labelled, generator.random(150) < 0.8) <= 0.05
    assert distribution / runs > 0.02
    assert binomial.probability_at_least(distribution, runs, 0.05) > 1e-3
    assert binomial.probability_at_least(mean, runs, 0.05) > 1e-3


def test_labels_only_where_the_incumbent_erred_are_noticed() -> None:
    """A twentieth of the rows, which are those that a person corrected: other labels, and less agreement."""
    generator = np.random.default_rng(2)
    category = generator.integers(0, 30, 1000)
    erred = generator.random(1000) < np.where(category < 10, 0.12, 0.01)
    agrees = generator.random(1000) < np.where(erred, 0.3, 0.9)
    assert same_mean(erred, agrees) < 1e-6
    assert same_distribution(erred, category.tolist(), generator) <= 0.01


def test_nothing_labelled_or_everything_shows_nothing() -> None:
    generator = np.random.default_rng(3)
    for flag in (True, False):
        labelled = np.full(5, flag)
        assert same_distribution(labelled, list("abcde"), generator) == 1.0
        assert same_mean(labelled, [0, 1, 1, 0, 1]) == 1.0


def test_nonsense_is_refused() -> None:
    generator = np.random.default_rng(4)
    with pytest.raises(ValueError, match="true or false"):
        same_mean([1, 0], [1, 0])
    with pytest.raises(ValueError, match="true or false"):
        same_distribution(np.array([True]), ["a", "b"], generator)
    with pytest.raises(ValueError, match="flags"):
        same_mean(np.array([True, False]), [0.5, 1.0])
    with pytest.raises(ValueError, match="at least 1"):
        same_distribution(np.array([True, False]), ["a", "b"], generator, 0)


def test_ranks_agree_with_an_independent_test_and_see_easy_calls_only() -> None:
    generator = np.random.default_rng(5)
    sure = generator.beta(5, 2, 600).round(2)
    labelled = generator.random(600) < 0.4
    ours = same_ranks(labelled, sure, generator, 4000)
    theirs = stats.mannwhitneyu(sure[labelled], sure[~labelled], alternative="two-sided").pvalue
    assert abs(ours - theirs) < 0.03
    easy = generator.random(600) < sure
    assert same_ranks(easy, sure, generator) == pytest.approx(0.001)


def test_ranks_keep_their_level() -> None:
    generator = np.random.default_rng(6)
    small = [
        same_ranks(generator.random(80) < 0.3, generator.integers(0, 5, 80), generator, 199) <= 0.05 for _ in range(400)
    ]
    assert sum(small) <= 34  # 20 expected; more than 34 of 400 has a chance below 0.002


def test_ranks_of_no_or_every_row_say_nothing() -> None:
    generator = np.random.default_rng(7)
    assert same_ranks(np.zeros(5, dtype=bool), np.arange(5), generator) == 1.0
    assert same_ranks(np.ones(5, dtype=bool), np.arange(5), generator) == 1.0
