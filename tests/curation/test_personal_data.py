from __future__ import annotations

import json
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.errors import StepdownError
from stepdown.curation.names import shipped_weights, tagged_names
from stepdown.curation.options import CurationOptions
from stepdown.curation.personal_data import find, mask, mask_json, personal_data


def test_masks_are_stable_and_typed():
    text = "Mail jo@example.com or call +44 20 7946 0958; card 4111 1111 1111 1111, IBAN GB82 WEST 1234 5698 7654 32."
    masked = mask(text)
    assert masked == "Mail [EMAIL] or call [PHONE]; card [CARD], IBAN [IBAN]."
    assert mask(masked) == masked


def test_overlapping_findings_become_one():
    found = find("postgres://jo:pw12345@db.example.com:5432/main")
    assert [one.kind for one in found] == ["URL_WITH_CREDENTIALS"]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_findings_are_in_order_within_the_text_and_never_overlap(text):
    ends = [0]
    for one in find(text):
        assert ends[-1] <= one.start < one.end <= len(text)
        ends.append(one.end)


@given(st.lists(st.sampled_from(["a@b.co", "4111 1111 1111 1111", "203.0.113.7", " ", "x", "[EMAIL]", "\n", "0"])))
def test_masking_twice_changes_nothing_more(pieces):
    once = mask("".join(pieces))
    assert mask(once) == once


@pytest.mark.parametrize(
    "text", ["9" * 20_000, "1 " * 20_000, "a@" * 20_000, "(0" * 20_000, "Aa " * 20_000, "x:" * 9_999]
)
def test_hostile_texts_end(text):
    assert isinstance(find(text), list)


def test_real_banking_queries_hold_none(banking):
    texts = [banking.task.template.cut(call.request) for call in banking.calls]
    assert len(texts) == 13_083
    assert sum(bool(find(text)) for text in texts) == 0


def test_real_queries_with_digits_are_left_alone(shared_data):
    rows = json.loads((shared_data / "clinc150" / "data_full.json").read_text())
    texts = [text for part in rows.values() for text, _ in part]
    assert len(texts) > 20_000
    assert sum(bool(find(text)) for text in texts) == 0


def test_counted_always_and_masked_only_on_demand(make_example):
    example = make_example("1", "write to jo@example.com", slices={"body": "jo@example.com"})
    counted = personal_data([example], CurationOptions())
    assert counted.examples == [example]
    assert counted.findings == {"found": {"EMAIL": 1}, "inputs_with_any": 1, "masked": False}
    masked = personal_data([example], CurationOptions(privacy="redact"))
    assert masked.examples[0].input == "write to [EMAIL]"
    assert masked.examples[0].slices == {"body": "[EMAIL]"}


def test_every_slot_is_masked(make_example):
    example = msgspec.structs.replace(make_example("1", ""), input={"from": "jo@example.com", "body": "hello"})
    masked = personal_data([example], CurationOptions(privacy="redact"))
    assert masked.examples[0].input == {"from": "[EMAIL]", "body": "hello"}


@pytest.mark.parametrize(
    "text",
    [
        '{"to": "jo@example.com"}',
        '{"to": "jo\\u0040example.com", "n": 5}',
        '{"to": "jo\\u0040example.com", "to": "nobody"}',
        '{"jo@example.com": [1, {"x": "jo@example.com"}]}',
        '{"inner": "{\\"to\\": \\"jo\\\\u0040example.com\\"}"}',
        "https://example.com/?to=jo%40example.com",
        "https://example.com/?to=jo%2540example.com",
        "write to jo\\u0040example.com",
        "write to jo&#64;example.com",
        "write to jo\uff20example.com",
    ],
)
def test_data_are_masked_however_they_are_written(text):
    masked = mask(text)
    assert "[EMAIL]" in masked or masked == '{"to": "nobody"}'
    assert "jo" not in masked
    assert mask(masked) == masked


def test_numbers_of_json_keep_their_size_alone():
    value = {"phone": 4155550123, "n": 5, "big": -(10**30), "rate": 0.123456789, "far": 1e300, "yes": True}
    coarse = {"phone": 10**9, "n": 5, "big": -(10**18), "rate": 0.123457, "far": 1e18, "yes": True}
    assert mask_json(value) == coarse
    assert json.loads(mask(json.dumps({"phone": 4155550123}))) == {"phone": 10**9}


def test_a_pipeline_for_names_that_cannot_be_had_lets_nothing_pass(monkeypatch):
    monkeypatch.setenv("STEPDOWN_NAMES", "no_such_pipeline")
    with pytest.raises(StepdownError):
        mask("ask Ada")


def test_a_pipeline_masks_the_names_it_finds(monkeypatch, tmp_path):
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    rules = [{"label": "PERSON", "pattern": "Ada Lovelace"}, {"label": "ORG", "pattern": "EMAIL"}]
    pipeline.add_pipe("entity_ruler").add_patterns([*rules, {"label": "GPE", "pattern": "London"}])
    pipeline.to_disk(tmp_path / "names")
    monkeypatch.setenv("STEPDOWN_NAMES", str(tmp_path / "names"))
    assert mask("Ada Lovelace of London, ada@example.com") == "[PERSON] of London, [EMAIL]"


def test_the_tagger_masks_names_and_leaves_what_is_none(monkeypatch):
    text = "Yesterday John Smith of Microsoft Corporation wrote to ada@example.com about the order."
    assert mask(text) == text.replace("ada@example.com", "[EMAIL]")
    monkeypatch.setenv("STEPDOWN_NAMES", "tagger")
    masked = mask(text)
    assert "Smith" not in masked
    assert "Microsoft" not in masked
    assert "[PERSON]" in masked
    assert masked.startswith("Yesterday ")
    assert "[EMAIL] about the order." in masked


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_names_are_in_order_within_the_text(text):
    ends = [0]
    for _, start, end in tagged_names(text, shipped_weights_once()):
        assert ends[-1] <= start < end <= len(text)
        ends.append(end)


@cache
def shipped_weights_once():
    return shipped_weights()


@pytest.mark.parametrize("place", [0, 40, 15_000, 15_360, 16_370, 16_384, 16_390, 32_760, 60_000])
def test_long_texts_are_looked_through_whole(place):
    for data, kind in (("jo@example.com", "EMAIL"), ("4111 1111 1111 1111", "CARD")):
        text = "word " * 20_000
        text = f"{text[:place]} {data} {text[place:]}"
        assert mask(text) == text.replace(data, f"[{kind}]")


@pytest.mark.parametrize(
    "text",
    [
        "jo@example.com \\ud83d\\ude00",
        "jo@example.com \\ud83d",
        '{"a": "jo@example.com \\ud83d"}',
        '["\\ud83d\\ude00", "jo@example.com"]',
    ],
)
def test_what_is_masked_can_be_written(text):
    masked = mask(text)
    assert "[EMAIL]" in masked
    assert masked.encode()
