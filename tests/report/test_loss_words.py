"""The contract's loss by its name: an error, or what is lost of a measure."""

from __future__ import annotations

import pytest

from stepdown.core.certificate import Claim
from stepdown.report.loss_words import ERROR, loss_words
from stepdown.report.sentence import claim_in_words

EXACT, FIELD = loss_words("exact-match"), loss_words("field-f1")


def claim(estimate: float, bound: float) -> Claim:
    return Claim(
        name="excess-loss", estimate=estimate, bound=bound, limit=0.02, p_value=0.01, holds=True, n=9, method="m"
    )


@pytest.mark.parametrize(
    ("name", "worse", "better", "excess", "as_loss"),
    [
        ("error", "more error", "less error", "Excess error", "error"),
        ("exact-match", "less exact match", "more exact match", "Exact match lost", "1 − exact match"),
        ("field-f1", "less mean field F1", "more mean field F1", "Mean field F1 lost", "1 − mean field F1"),
        ("word_edits", "more word edits loss", "less word edits loss", "Excess word edits loss", "word edits loss"),
    ],
)
def test_a_loss_in_words(name: str, worse: str, better: str, excess: str, as_loss: str) -> None:
    words = loss_words(name)
    assert words.difference(0.02).replace("\N{NO-BREAK SPACE}", " ") == f"2 points {worse}"
    assert words.difference(-0.02).replace("\N{NO-BREAK SPACE}", " ") == f"2 points {better}"
    assert (words.excess, words.as_loss) == (excess, as_loss)


def test_a_claim_about_a_measure() -> None:
    def said(estimate: float, bound: float, evidence: str = "gold", words: object = EXACT) -> str:
        found = claim_in_words(claim(estimate, bound), 0.95, evidence, words)  # type: ignore[arg-type]
        return found.replace("\N{NO-BREAK SPACE}", " ")

    sure = "at 95 % confidence"
    assert said(0.004, 0.013) == f"at most 1.3 points less exact match {sure}"
    assert said(-0.03, -0.01) == f"at least 1 point more exact match {sure}"
    assert said(-0.03, 0.0, words=FIELD) == f"no less mean field F1 {sure}"
    assert said(0.01, 0.018, "agreement").startswith("answers unlike the incumbent's on at most 1.8 % of calls")
    assert said(0.01, 0.018, "agreement", FIELD).startswith(
        "a mean field F1 of at least 98 % against the incumbent's own"
    )


def test_the_words_of_an_error_are_those_of_every_older_record() -> None:
    assert loss_words("error") == ERROR
