"""What of a CRF student's training can be chosen."""

from __future__ import annotations

from dataclasses import dataclass

from stepdown.core.options import Count, NotNegative, Positive, Share


@dataclass(frozen=True)
class Options:
    """How a CRF student is trained."""

    epochs: Count = 10
    """How often the chain of tags sees every text."""
    min_count: Count = 2
    """How often a word, an affix or a pair of words must stand in the texts to be learned."""
    max_features: Count = 150_000
    """At most this many patterns, the most frequent first; fewer where there are very many fields."""
    max_tokens: Count = 512
    """Longer texts, in words, are left to the incumbent: the signals `truncated` and `abstains` say so."""
    rate: Positive = 0.3
    """The chain's rate of learning."""
    dropout: Share = 0.1
    """The share of patterns that each step of the chain does without."""
    unknown: Share = 0.1
    """The share of values of which the chain sees but the shape, as it will of values that are new."""
    penalty: NotNegative = 1e-5
    """L2 penalty on the weights of the closed fields' heads, relative to the mean loss of a row."""
    iterations: Count = 35
    """At most this many steps of L-BFGS for each closed field."""
    incumbent_smoothing: Share = 0.1
    """How much to doubt a choice of the incumbent's: the probability spread over all choices."""
