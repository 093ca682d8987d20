from __future__ import annotations

import onnxruntime
import pytest

from stepdown.core.errors import InputError, TamperedError, UsageError
from stepdown.runtime.encoder import session
from stepdown.runtime.tokeniser import CHARACTERS_PER_TOKEN, Tokeniser


def test_a_text_that_does_not_fit_is_marked(tokenizer_content: str) -> None:
    tokeniser = Tokeniser(tokenizer_content, max_length=6)
    fits, too_long = "i want a book", "i want a book please"
    assert [tokeniser.encode(text)[1] for text in (fits, too_long)] == [False, True]
    sequences, truncated = tokeniser.encode_many([too_long, fits, ""])
    assert truncated.tolist() == [True, False, False]
    assert [len(sequence) for sequence in sequences] == [6, 6, 2]


def test_characters_beyond_the_limit_are_marked_even_when_few_tokens_come_of_them(tokenizer_content: str) -> None:
    tokeniser = Tokeniser(tokenizer_content, max_length=6)
    text = "book" + " " * 6 * CHARACTERS_PER_TOKEN
    assert tokeniser.encode(text)[1]
    assert tokeniser.encode_many([text])[1].tolist() == [True]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": 3}'])
def test_what_is_no_tokenizer_is_refused(content: str) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        Tokeniser(content, 10)


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(TamperedError, match="graph cannot be loaded"):
        session(b"not a graph")


def test_a_device_that_this_onnxruntime_lacks_is_refused_and_those_that_it_has_are_named() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the device")
    with pytest.raises(UsageError, match=r"'cuda'.*It has: cpu\."):
        session(b"", device="cuda")
