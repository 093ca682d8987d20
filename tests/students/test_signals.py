"""Signals: what the single and the batched path say, against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepdown.runtime.signals import logit_signals, one_answer, softmax

LOGITS = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(2, 9)),
    elements=st.floats(-80, 80, width=32, allow_subnormal=False),
)


@settings(deadline=None)
@given(LOGITS)
def test_signals_follow_their_definitions(logits: np.ndarray) -> None:
    probabilities = softmax(logits)
    ordered = -np.sort(-probabilities, axis=1)
    logs = np.log(np.maximum(probabilities, 1e-300))
    entropy = -(probabilities * logs).sum(axis=1) / np.log(logits.shape[1])
    signals = logit_signals(logits)
    np.testing.assert_allclose(signals[:, 0], ordered[:, 0], atol=1e-6)
    np.testing.assert_allclose(signals[:, 1], ordered[:, 0] - ordered[:, 1], atol=1e-6)
    np.testing.assert_allclose(signals[:, 2], entropy, atol=1e-5)
    np.testing.assert_allclose(signals[:, 3], np.log(np.exp(logits.astype(np.float64)).sum(axis=1)), atol=1e-4)


@settings(deadline=None)
@given(LOGITS)
def test_one_answer_agrees_with_the_batch(logits: np.ndarray) -> None:
    batched = logit_signals(logits)
    for row, expected in zip(logits, batched, strict=True):
        best, *signals = one_answer(row)
        assert best == row.argmax()
        assert signals == pytest.approx(expected.tolist(), abs=1e-4)
