"""Every personal data detector, found by looking, against the examples it brings and what all of them promise."""

from __future__ import annotations

import re

import pytest

from stepdown.curation.personal_data import detectors, find, mask

NAMES = detectors().names()


@pytest.fixture(params=NAMES)
def detector(request):
    return detectors().load(request.param)


def test_it_finds_exactly_what_its_examples_say(detector):
    assert detector.examples()
    for text, pieces in detector.examples():
        spans = [detector.locate(match) for match in detector.PATTERN.finditer(text)]
        assert [text[span[0] : span[1]] for span in spans if span] == pieces


def test_its_examples_include_something_to_leave_alone(detector):
    assert any(not pieces for _, pieces in detector.examples())
    assert any(pieces for _, pieces in detector.examples())


def test_the_public_functions_find_and_mask_it(detector):
    for text, pieces in detector.examples():
        masked = mask(text)
        assert all(piece not in masked for piece in pieces)
        if pieces:
            assert f"[{detector.PLACEHOLDER}]" in masked
        assert mask(masked) == masked


def test_its_trigger_stands_in_whatever_it_finds(detector):
    for text, pieces in detector.examples():
        if pieces and detector.TRIGGER:
            assert set(text) & set(detector.TRIGGER)


def test_its_pattern_is_bounded(detector):
    unescaped = re.sub(r"\\.|\[[^\]]*\]", "", detector.PATTERN.pattern)
    assert not re.search(r"[*+](?!\w)|\{\d+,\}", unescaped.replace("(?:", "("))


def test_placeholders_are_their_own():
    placeholders = [detectors().load(name).PLACEHOLDER for name in NAMES]
    assert len(set(placeholders)) == len(placeholders)
    assert not find(" ".join(f"[{placeholder}]" for placeholder in placeholders))
