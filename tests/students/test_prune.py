from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepdown.core.errors import UsageError
from stepdown.runtime.tokeniser import Tokeniser
from stepdown.students.shrink import prune

TEXTS = ["I want to borrow a book", "when to return books?"]


def _tokenise(content: str, text: str) -> list[str]:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(content).encode(text).tokens


@pytest.fixture
def pruned(tokenizer_content: str) -> prune.Pruned:
    sequences, _ = Tokeniser(tokenizer_content, 30).encode_many(TEXTS)
    found = prune.vocabulary(tokenizer_content, sequences, prune.Options(min_count=1, general=2))
    assert found is not None
    return found


def test_seen_words_stay_whole_and_unseen_ones_fall_into_letters(tokenizer_content: str, pruned: prune.Pruned) -> None:
    for text in TEXTS:
        assert _tokenise(pruned.content, text) == _tokenise(tokenizer_content, text)
    assert "please" in _tokenise(tokenizer_content, "please")
    assert _tokenise(pruned.content, "please")[1:-1] == ["p", "##l", "##e", "##a", "##s", "##e"]
    assert pruned.lineage.parameters["vocabulary"] == len(pruned.kept) < pruned.lineage.parameters["of"]


def test_new_ids_are_rows_of_the_kept_ones(tokenizer_content: str, pruned: prune.Pruned) -> None:
    before, _ = Tokeniser(tokenizer_content, 30).encode(TEXTS[0])
    after, _ = Tokeniser(pruned.content, 30).encode(TEXTS[0])
    np.testing.assert_array_equal(pruned.kept[after], before)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
def test_no_text_breaks_that_did_not_break_before(tokenizer_content: str, pruned: prune.Pruned, text: str) -> None:
    assert _tokenise(pruned.content, text).count("[UNK]") == _tokenise(tokenizer_content, text).count("[UNK]")


def test_a_vocabulary_whose_pieces_depend_on_one_another_is_left_alone(tokenizer_content: str) -> None:
    other = json.loads(tokenizer_content)
    other["model"]["type"] = "BPE"
    assert prune.vocabulary(json.dumps(other), [], prune.Options()) is None


def test_layers_are_spread_from_first_to_last() -> None:
    assert prune.spread(3, 6) == [0, 2, 5]
    assert prune.spread(1, 6) == [5]
    assert prune.spread(6, 6) == [0, 1, 2, 3, 4, 5]


def test_a_layer_that_does_not_exist_is_refused(tmp_path, write_encoder) -> None:
    from stepdown.students.encoders.network import load_pretrained
    from stepdown.students.encoders.pretrained import resolve

    write_encoder(tmp_path)
    network = load_pretrained(resolve(str(tmp_path)), labels=2)
    for wrong in ([], [4]):
        with pytest.raises(UsageError, match="layers 0 to 3"):
            prune.layers(network, wrong)
