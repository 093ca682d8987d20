from __future__ import annotations

import numpy as np
import pytest

from stepdown.certificate.calibrate import choose_reference, confidences, fit_confidence
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import NotEnoughData
from stepdown.runtime.cascade import open_confidence


def test_one_answer_and_many_get_the_same_confidence(rng: np.random.Generator) -> None:
    signals = rng.normal(size=(200, 3))
    loss = (rng.random(200) > 1 / (1 + np.exp(-signals[:, 0]))).astype(float)
    fitted = fit_confidence(signals, loss, "gold")
    one = open_confidence(fitted)
    assert np.allclose(confidences(fitted, signals), [one(tuple(row)) for row in signals], atol=1e-12)
    assert canonical_json(fitted)  # plain numbers, as the cascade keeps them
    assert fitted["reference"] == "gold"
    assert fitted["rows"] == 200


def test_surer_signals_give_higher_confidence_and_the_mean_is_right(rng: np.random.Generator) -> None:
    signals = rng.random((3000, 1))
    loss = (rng.random(3000) > signals[:, 0]).astype(float)
    sure = confidences(fit_confidence(signals, loss, "gold"), signals)
    assert np.corrcoef(sure, signals[:, 0])[0, 1] > 0.95
    assert sure.mean() == pytest.approx(1 - loss.mean(), abs=0.01)


def test_rows_without_a_reference_are_left_out() -> None:
    signals, loss = np.arange(6.0)[:, None], np.array([0.0, 1.0, np.nan, 0.0, np.nan, 0.0])
    assert fit_confidence(signals, loss, "gold")["rows"] == 4
    with pytest.raises(NotEnoughData, match="no row with a reference"):
        fit_confidence(signals, np.full(6, np.nan), "gold")


@pytest.mark.parametrize(
    ("gold", "rows", "expected"),
    [(0, 1000, "agreement"), (99, 1000, "agreement"), (100, 1000, "gold"), (40, 40, "gold"), (0, 0, "agreement")],
)
def test_gold_is_tuned_on_where_there_is_enough_of_it(gold: int, rows: int, expected: str) -> None:
    assert choose_reference(gold, rows) == expected


def test_a_student_that_abstains_has_no_confidence_and_teaches_the_calibrator_nothing(rng: np.random.Generator) -> None:
    signals = np.column_stack([rng.random(400), rng.random(400) < 0.3])
    loss = (rng.random(400) > signals[:, 0]).astype(float)
    abstained = signals[:, 1] == 1.0
    loss[abstained] = 0.0  # right by luck: it must not make the others look surer
    fitted = fit_confidence(signals, loss, "gold", ("top", "abstains"))
    alone = fit_confidence(signals[~abstained], loss[~abstained], "gold", ("top", "abstains"))
    sure = confidences(fitted, signals)
    assert (sure[abstained] == 0.0).all()
    assert (sure[~abstained] > 0.0).all()
    assert np.allclose(sure[~abstained], confidences(alone, signals[~abstained]))
    one = open_confidence(fitted)
    assert np.allclose(sure, [one(tuple(row)) for row in signals])
    assert fitted["rows"] == int((~abstained).sum())


def test_a_student_that_always_abstains_is_calibrated_to_nothing() -> None:
    signals = np.column_stack([np.linspace(0.1, 0.9, 20), np.ones(20)])
    fitted = fit_confidence(signals, np.zeros(20), "gold", ("top", "abstains"))
    assert (confidences(fitted, signals) == 0.0).all()
