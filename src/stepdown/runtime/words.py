"""Words, phrases and character n-grams of a text. Nothing but the standard library: exported models carry this file.

A text's features are its distinct words and phrases, and the character n-grams of its distinct words. What a word adds
through its n-grams depends on the word alone, so that whatever is linear in the features can be added up word by word.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 20_000
"""What is read of a text; the rest is cut and the signal "truncated" says so."""

# A run of letters is cut at 32 so that text without spaces, and text that is one endless word, stay bounded.
_WORD = re.compile(r"\w{1,32}|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Words and punctuation marks in order, in lower case."""
    return _WORD.findall(text[:MAX_CHARACTERS].lower())


def phrases(words: list[str]) -> list[str]:
    """Pairs of neighbours, with the text's start and end, and pairs with one word between them."""
    neighbours = [f"{left} {right}" for left, right in zip(["^", *words], [*words, "$"], strict=True)]
    return neighbours + [f"{left} * {right}" for left, right in zip(words, words[2:], strict=False)]


def character_ngrams(word: str, shortest: int, longest: int) -> list[str]:
    """The n-grams of a word with a space on either side; a padded word shorter than n counts once, whole."""
    padded = f" {word} "
    found: list[str] = []
    for length in range(shortest, longest + 1):
        if len(padded) <= length:
            found.append(padded)
            break
        found += [padded[start : start + length] for start in range(len(padded) - length + 1)]
    return found
