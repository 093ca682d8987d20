from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.curation.normal_text import normal_text, text_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is  my card?", "where is my card? "),
        ("caf\u00e9", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("nul\x00l", "null"),
        ("\u05e9\u05dc\u05d5\u05dd", " \u05e9\u05dc\u05d5\u05dd\n"),
    ],
)
def test_same_letters_are_the_same_text(one, other):
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(("one", "other"), [("👍🏽", "👍"), ("resume", "résumé"), ("pay 1", "pay 2")])
def test_other_letters_are_other_texts(one, other):
    assert text_key(one) != text_key(other)


@given(st.text())
def test_normal_text_is_a_fixed_point_and_blind_to_the_form_of_accents(text):
    assert normal_text(normal_text(text)) == normal_text(text)
    assert normal_text(unicodedata.normalize("NFD", text)) == normal_text(unicodedata.normalize("NFC", text))
