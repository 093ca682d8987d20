import numpy as np
import pytest

from stepdown.stats import betting, binomial
from stepdown.stats.betting import Bounds
from stepdown.stats.prediction_powered import judged_evidence, prediction_powered_mean


def draw(generator: np.random.Generator, gold: int, judged: int, bias: float = 0.05):
    """Losses in [0, 1] with mean 0.2, and a judge who is too kind but follows them."""
    losses = (generator.random(gold + judged) < 0.2).astype(float)
    verdicts = np.where(generator.random(gold + judged) < bias, 0.0, losses)
    return judged_evidence(losses[:gold], verdicts[:gold], verdicts[gold:], Bounds(0.0, 1.0))


def test_a_good_judge_narrows_and_a_useless_one_does_no_harm() -> None:
    generator = np.random.default_rng(0)
    evidence = draw(generator, 300, 5000)
    assert 0.7 < prediction_powered_mean(evidence, 0.25, 0.05).judge_weight <= 1.0
    gold_alone = evidence.gold.mean() + 1.645 * evidence.gold.std(ddof=1) / 300**0.5
    narrow = prediction_powered_mean(evidence, 0.25, 0.05)
    assert narrow.upper - narrow.estimate < 0.7 * (gold_alone - evidence.gold.mean())
    shuffled = judged_evidence(evidence.gold, generator.permutation(evidence.judged_on_gold), evidence.judged)
    useless = prediction_powered_mean(shuffled, 0.25, 0.05)
    assert useless.judge_weight < 0.2
    assert useless.upper == pytest.approx(gold_alone, abs=0.01)


def test_the_normal_form_by_hand() -> None:
    evidence = draw(np.random.default_rng(1), 200, 2000)
    result = prediction_powered_mean(evidence, 0.25, 0.05)
    rectifier = evidence.gold - result.judge_weight * evidence.judged_on_gold
    assert result.estimate == pytest.approx(result.judge_weight * evidence.judged.mean() + rectifier.mean(), abs=0.005)
    at_its_bound = prediction_powered_mean(evidence, result.upper, 0.05)
    assert at_its_bound.p_value == pytest.approx(0.05)
    assert (result.method, result.asymptotic) == ("power_tuned", True)
    assert (result.gold_count, result.judged_count) == (200, 2000)


@pytest.mark.parametrize("method", ["power_tuned", "finite_sample"])
def test_the_bound_covers_although_the_judge_is_biased(method: str) -> None:
    generator = np.random.default_rng(2)
    runs = 500 if method == "power_tuned" else 40
    missed = sum(
        prediction_powered_mean(draw(generator, 300, 1500, bias=0.5), 0.2, 0.1, method).upper < 0.2 for _ in range(runs)
    )
    allowed = 0.12 if method == "power_tuned" else 0.1  # the normal approximation is a little short for skewed losses
    assert binomial.probability_at_least(missed, runs, allowed) > 1e-3


def test_finite_sample_p_value_and_bound_are_the_same_statement() -> None:
    evidence = draw(np.random.default_rng(3), 400, 4000)
    result = prediction_powered_mean(evidence, 0.30, 0.05, "finite_sample")
    assert not result.asymptotic
    assert result.estimate < result.upper
    above = prediction_powered_mean(evidence, result.upper + 0.002, 0.05, "finite_sample")
    below = prediction_powered_mean(evidence, result.upper - 0.002, 0.05, "finite_sample")
    assert above.p_value <= 0.05 < below.p_value
    assert result.upper > prediction_powered_mean(evidence, 0.30, 0.05).upper


def test_finite_sample_gains_from_a_good_judge() -> None:
    generator = np.random.default_rng(4)
    gains = []
    for _ in range(8):
        evidence = draw(generator, 2000, 20_000, bias=0.01)
        result = prediction_powered_mean(evidence, 0.25, 0.05, "finite_sample")
        gains.append(betting.upper_bound(evidence.gold, 0.05, Bounds(0.0, 1.0)) - result.upper)
    assert np.mean(gains) > 0.0


def test_no_variation_is_not_certainty() -> None:
    evidence = judged_evidence(np.zeros(100), np.zeros(100), np.zeros(1000), Bounds(0.0, 1.0))
    result = prediction_powered_mean(evidence, 0.01, 0.05)
    assert 0.02 < result.upper < 0.03  # the exact bound for no failure in 100 is 0.0295
    assert result.p_value > 0.05
    assert prediction_powered_mean(evidence, 0.05, 0.05).p_value < 0.05


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        judged_evidence([0.0, 1.0], [0.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="Label more"):
        judged_evidence([0.0], [0.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="within"):
        judged_evidence([0.0, 2.0], [0.0, 1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="method"):
        prediction_powered_mean(judged_evidence([0.0, 1.0], [0.0, 1.0], [0.0, 1.0]), 0.1, 0.05, "magic")
