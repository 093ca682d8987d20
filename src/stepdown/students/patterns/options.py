"""What of a CRF student's training can be chosen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How a CRF student is trained."""

    epochs: int = 10
    """How often the chain of tags sees every text."""
    min_count: int = 2
    """How often a word, an affix or a pair of words must stand in the texts to be learned."""
    max_features: int = 150_000
    """At most this many patterns, the most frequent first; fewer where there are very many fields."""
    max_tokens: int = 512
    """Longer texts, in words, are left to the incumbent: the signals `truncated` and `abstains` say so."""
    rate: float = 0.3
    """The chain's rate of learning."""
    dropout: float = 0.1
    """The share of patterns that each step of the chain does without."""
    unknown: float = 0.1
    """The share of values of which the chain sees but the shape, as it will of values that are new."""
    penalty: float = 1e-5
    """L2 penalty on the weights of the closed fields' heads, relative to the mean loss of a row."""
    iterations: int = 35
    """At most this many steps of L-BFGS for each closed field."""
    incumbent_smoothing: float = 0.1
    """How much to doubt a choice of the incumbent's: the probability spread over all choices."""
