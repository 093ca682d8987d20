"""The page: whole, harmless, self-contained, and true to the record, whatever the record holds."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stepdown.core.evidence_words import evidence_facts
from stepdown.core.extraction.form import Role, Span
from stepdown.core.measurements import Disagreement
from stepdown.core.record import BuildRecord
from stepdown.core.statement import claim_sentence, statement
from stepdown.report.format import clean
from stepdown.report.model_card import render_model_card
from stepdown.report.render import render

HARMLESS = {
    "abbr", "bdi", "body", "caption", "circle", "code", "dd", "details", "div", "dl", "dt", "em",
    "figcaption", "figure", "footer", "h1", "h2", "h3", "head", "header", "html", "li", "line", "main", "mark",
    "meta", "nav", "ol", "p", "polygon", "polyline", "rect", "section", "small", "span", "strong", "style",
    "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "title", "tr", "ul", "wbr", "a",
}  # fmt: skip


@cache
def rendered(records: ModuleType, sort: str) -> str:
    return render(records.every_sort()[sort])


def test_every_page_is_balanced_and_has_one_first_heading(records: ModuleType, page: ModuleType, sort: str) -> None:
    read = page.Page(rendered(records, sort))
    assert read.headings.count("h1") == 1
    assert read.headings[0] == "h1"
    assert len(read.ids) == len(set(read.ids))
    assert {name for name, _ in read.tags} <= HARMLESS
    assert read.named("html")[0]["lang"] == "en"
    assert len(read.named("main")) == len(read.named("nav")) == 1


def test_every_table_has_a_caption_and_every_chart_a_name(records: ModuleType, page: ModuleType, sort: str) -> None:
    read = page.Page(rendered(records, sort))
    assert len(read.named("table")) == len(read.named("caption"))
    charts = [chart for chart in read.named("svg") if "chart" in (chart.get("class") or "")]
    assert all(chart.get("role") == "img" and chart.get("aria-label") for chart in charts)
    assert all(cell.get("scope") in ("col", "row") for cell in read.named("th"))


def test_every_link_goes_to_a_section_of_the_page(records: ModuleType, page: ModuleType, sort: str) -> None:
    read = page.Page(rendered(records, sort))
    targets = [link["href"] for link in read.named("a")]
    assert len(targets) > 10
    assert all(target and target.startswith("#") and target[1:] in read.ids for target in targets)


def test_nothing_is_fetched_or_run(records: ModuleType, page: ModuleType, sort: str) -> None:
    markup = rendered(records, sort)
    read = page.Page(markup)
    for name, attributes in read.tags:
        assert not {"src", "srcset", "style", "action", "xlink:href"} & set(attributes), name
        assert not [attribute for attribute in attributes if attribute.startswith("on")], name
    style = re.search(r"<style>(.*?)</style>", markup, re.S)
    assert style is not None
    assert not re.search(r"url\(|@import|https?:", style[1])
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = read.named("meta")[1]["content"] or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert digest in policy


def test_charts_hold_only_finite_numbers(records: ModuleType, page: ModuleType, sort: str) -> None:
    geometry = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points", "viewBox"}
    for name, attributes in page.Page(rendered(records, sort)).tags:
        for attribute in geometry & set(attributes):
            values = re.split(r"[ ,]", attributes[attribute] or "")
            assert all(re.fullmatch(r"-?\d+(\.\d+)?|", value) for value in values), (name, attribute, values)
            assert attribute not in ("width", "height") or float(values[0]) >= 0


def test_markup_in_the_record_is_shown_and_not_obeyed(records: ModuleType, page: ModuleType) -> None:
    markup = render(records.everywhere(records.INJECTION))
    read = page.Page(markup)
    assert "<script" not in markup
    assert "<img" not in markup
    assert records.INJECTION in read.text
    assert "49" not in re.findall(r"\{\{ (\d+) \}\}", markup)


def test_fields_are_marked_with_their_names_and_who_says_so(records: ModuleType, page: ModuleType) -> None:
    read = page.Page(render(records.extraction()))
    kinds = {mark["class"] for mark in read.named("mark")}
    assert kinds == {"both", "student", "incumbent", "differ"}
    text = read.unbroken
    assert "the  artist (student)black keys artist" in text
    assert "Homogenic album (incumbent)" in text
    assert "مطعم  restaurant_name (incumbent)السلام restaurant_name" in text
    assert "abba artist (student) album (incumbent)" in text
    assert "Both say: intent PlayMusic" in text
    assert "both wrong" in text  # "nobody" stands nowhere in the text, and is listed beside it


def test_the_rows_of_fields_say_how_each_is_filled(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.extraction())).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Field by field" in text
    assert "copied, case and spaces 390 of 431 in the text" in text
    assert "one of 3 all 7,214 among them" in text
    assert (
        "Of 4,245 training values to be copied, 4,185 (98.6 %) stand in the text; the other 60 are not learned" in text
    )
    assert "In no answer here: “ slots. never_ seen”" in text or "In no answer here: “slots.never_seen”" in text
    assert "a list of objects" in text
    assert "Label by label" not in text
    assert "9 fields" not in text
    assert "10 fields" in text


def test_the_page_says_what_is_proved_and_what_the_evidence_was(
    records: ModuleType, page: ModuleType, sort: str
) -> None:
    certificate = records.every_sort()[sort].certificate
    read = page.Page(rendered(records, sort))
    assert " ".join(clean(claim_sentence(certificate)).split()) in read.text.split("Contents")[0]
    assert " ".join(clean(statement(certificate)).split()) in read.text
    assert "table" in {name for name, attributes in read.tags if attributes.get("class") == "evidence"}
    for name, value in evidence_facts(certificate):
        assert f"{name}{' '.join(clean(value).split())}" in " ".join(read.unbroken.split())


def test_figures_on_tune_say_that_they_are_a_little_optimistic(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.on_tune())).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Errors are read on the tune rows (n = 3,080; thresholds were chosen on these rows too" in text
    assert text.count("a little optimistic") > 3
    assert "Requests of the tune rows on which the two differ" in text
    assert "optimistic" not in page.Page(render(records.certified())).text


def test_what_an_older_version_read_on_the_evidence_is_not_shown(records: ModuleType, page: ModuleType) -> None:
    older = records.of_an_older_version()
    text = page.Page(render(older)).text
    assert "This build read its curve on the evidence" in text
    assert "This build took them from the evidence" in text
    assert not [one.text for one in older.disagreements if one.text in text]
    assert "certify rows" not in text
    card = render_model_card(older)
    assert "certify rows" not in card


def test_single_fields_are_said_to_be_estimates_and_only_where_there_are_some(
    records: ModuleType, page: ModuleType
) -> None:
    text = page.Page(render(records.extraction())).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "gives 81 % of the answers, and with them 79.4 % of all fields" in text
    assert "it would give 95.1 % of the fields" in text
    assert "84.2 % of the requests would be saved" in text
    assert "no certificate is about them" in text
    assert "Single fields" not in page.Page(render(records.certified())).text


def test_a_contract_about_exact_match_is_read_as_exact_match(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.extraction())).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "with at most 1.3 points less exact match at 95 % confidence" in text
    assert "Exact match lost, average over all calls" in text
    assert "Field F1" in text
    assert "Span F1" in text
    assert "Valid answers" in text
    assert "xcess error" not in text
    table = text[text.index("Students") :]
    assert "Exact match n = 3,080" in table


def test_a_refusal_about_field_f1_speaks_of_it(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.refused_extraction())).text.replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "the best cascade that was built has 7.1 points less mean field F1 where the contract allows 2 points" in text
    )
    assert "the contract allows 2 points less mean field F1 than" in text


def test_markup_in_fields_and_texts_is_shown_and_not_obeyed(records: ModuleType, page: ModuleType) -> None:
    evil = records.INJECTION
    said = msgspec.json.encode({evil: evil, "other": "x"}).decode()
    span = (Span(start=3, end=len(evil) - 4, field=evil),)
    shown = Disagreement(id="1", text=evil, student=said, incumbent="{}", gold=None, confidence=0.5, student_spans=span)
    role = Role(field=evil, role="copied", normaliser=evil, aligned=1)
    record = records.extraction(disagreements=(shown,), roles=(role,), refused={evil: evil}, loss=evil)
    markup = render(record)
    assert "<script" not in markup
    assert "<img" not in markup
    assert page.Page(markup).unbroken.count(evil) >= 4


def test_answers_that_are_no_objects_are_shown_as_they_are(records: ModuleType, page: ModuleType) -> None:
    broken = Disagreement(id="1", text="t", student="{" * 5000, incumbent="[1]", gold="null", confidence=0.5)
    text = page.Page(render(records.extraction(disagreements=(broken,)))).text
    assert "[1]" in text


def test_characters_that_no_page_may_hold_are_replaced(records: ModuleType) -> None:
    markup = render(records.everywhere(records.MIXED))
    assert "\x00" not in markup
    assert "\x1b" not in markup
    assert "تحويل" in markup


def test_the_same_record_gives_the_same_page(records: ModuleType) -> None:
    assert render(records.certified()) == render(records.certified())


def test_a_record_read_back_from_disk_gives_the_same_page(records: ModuleType) -> None:
    record = records.certified()
    again = msgspec.json.decode(msgspec.json.encode(record), type=BuildRecord)
    assert render(again) == render(record)


@pytest.mark.parametrize("number", [77, 10_000])
def test_the_page_stays_small(records: ModuleType, number: int) -> None:
    record = records.certified(dataset=records.dataset(number))
    quality = records.quality(0.063, 0.187, records.labels(number), 0.269)
    record = msgspec.structs.replace(record, cascade=msgspec.structs.replace(record.cascade, quality=quality))
    assert len(render(record).encode()) < 1_000_000


def test_all_labels_are_in_the_page_worst_first(records: ModuleType, page: ModuleType) -> None:
    record = records.certified()
    text = page.Page(render(record)).unbroken
    rows = record.cascade.quality[0].labels
    assert all(row.name in text for row in rows)
    # The section before it names labels too, in the claims.
    table = text[text.index("Label by label", text.index("Learned from")) :]
    worst = sorted(rows, key=lambda row: -row.error.value)
    assert table.index(worst[0].name) < table.index(worst[14].name)


def test_figures_that_rest_on_assumptions_are_marked(records: ModuleType, page: ModuleType) -> None:
    marked = [
        name
        for name, attributes in page.Page(render(records.certified())).tags
        if attributes.get("class") == "estimated"
    ]
    assert len(marked) >= 10


def test_what_was_left_out_and_dropped_is_said(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.certified())).text
    assert "Label noise 117" in text
    assert "Its 540 s of training would not fit" in text
    assert "linear has less error, beyond noise" in text


def test_the_splits_are_shares_of_their_own_rows(records: ModuleType, page: ModuleType) -> None:
    """Curation counts calls, exclusions and groups beside the splits."""
    totals = {"calls": 5442, "examples": 5359, "excluded": 83, "groups": 5101, "excluded: unparsable": 83}
    splits = {"train": 3688, "tune": 500, "certify": 900, "test": 271}
    dataset = msgspec.structs.replace(records.dataset(), counts=totals | splits)
    record = records.certified(dataset=dataset)
    text = page.Page(render(record)).text.replace("\N{NO-BREAK SPACE}", " ")
    table = text[text.index("The splits.") : text.index("Permission to train")]
    assert "train 3,688 68.8 %" in table
    assert not [name for name in ("calls 5,442", "examples 5,359", "excluded 83", "groups 5,101") if name in table]
    assert "- calls:" not in render_model_card(record).lower()


@pytest.mark.parametrize(
    ("holds", "beside"),
    [(True, "as allowed; no tighter bound was worked out"), (False, "allowed; no bound was worked out")],
)
def test_a_limit_that_stands_for_a_bound_is_not_shown_as_one(
    records: ModuleType, page: ModuleType, holds: bool, beside: str
) -> None:
    """A test in several looks compares with the limit alone."""
    first, *others = records.certificate().claims
    first = msgspec.structs.replace(first, bound=first.limit, p_value=0.027 if holds else 0.2, holds=holds)
    record = records.certified(certificate=records.certificate(claims=(first, *others)))
    text = page.Page(render(record)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert beside in text
    assert text.count("not worked out") == 1
    assert "not worked out" in render_model_card(record)
    assert "not worked out" not in page.Page(render(records.certified())).text


def test_without_gold_the_incumbent_has_no_error(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.agreement())).text
    assert "There is no gold" in text
    assert "how often Qwen3-30B-A3B itself is right is not known" in text


def test_without_prices_no_saving_is_made_up(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.unpriced())).text
    assert "No price is known for the incumbent" in text
    assert "Saving per month" not in text


def test_a_refusal_says_why_and_what_next(records: ModuleType, page: ModuleType) -> None:
    text = page.Page(render(records.refused_for_want_of_evidence())).text
    assert "Not certified" in text
    assert "140 gold labels bound the excess error" in text
    assert "Label about 620 more calls that stepdown drew" in text


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
TEXTS = st.text(max_size=30)


@st.composite
def shaken(draw: st.DrawFn) -> dict[str, Any]:
    """Replacements of numbers and texts, drawn anew for each, keyed by how deep and where they stand."""
    return {
        "floats": draw(st.lists(FLOATS, min_size=8, max_size=8)),
        "texts": draw(st.lists(TEXTS, min_size=8, max_size=8)),
    }


@given(with_=shaken(), every=st.integers(min_value=2, max_value=23), start=st.integers(min_value=0, max_value=22))
# A page takes a tenth of a second: a failing record is shown as it was drawn, without minutes of shrinking.
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_record_breaks_the_page(
    records: ModuleType, page: ModuleType, with_: dict[str, Any], every: int, start: int
) -> None:
    whole = msgspec.to_builtins(records.every_sort()["drawn"])
    shaken_parts = {name: part for name, part in whole.items() if name not in ("contract", "created_at")}
    whole |= _shake(shaken_parts, with_, every, [start])
    page.Page(render(msgspec.convert(whole, BuildRecord, strict=False)))


def _shake(value: Any, with_: dict[str, Any], every: int, seen: list[int]) -> Any:
    """The same shape with every so many floats and texts replaced; verdicts stay one of the two."""
    if isinstance(value, dict):
        return {key: inner if key == "verdict" else _shake(inner, with_, every, seen) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shake(inner, with_, every, seen) for inner in value]
    if isinstance(value, float | str):
        seen[0] += 1
        if seen[0] % every == 0:
            kind = "floats" if isinstance(value, float) else "texts"
            return with_[kind][seen[0] // every % 8]
    return value
