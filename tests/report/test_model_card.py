"""The model card."""

from __future__ import annotations

from types import ModuleType

from stepdown.report.model_card import render_model_card

HEADINGS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
]


def test_every_card_has_the_headings_in_order(records: ModuleType, sort: str) -> None:
    card = render_model_card(records.every_sort()[sort])
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == HEADINGS
    assert sum(line.startswith("# ") for line in card.splitlines()) == 1


def test_every_row_of_a_table_has_as_many_cells_as_its_head(records: ModuleType, sort: str) -> None:
    width = 0
    for line in render_model_card(records.every_sort()[sort]).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = line.replace("\\|", "").count("|")
        assert width in (0, cells), line
        width = cells


def test_markup_in_the_record_stays_text(records: ModuleType) -> None:
    card = render_model_card(records.everywhere(records.INJECTION))
    assert "<script" not in card
    assert "<img" not in card
    assert "&lt;script&gt;" in card


def test_a_certified_card_says_what_was_measured(records: ModuleType) -> None:
    card = render_model_card(records.certified())
    assert "| Answered without the incumbent | 97.4 % | 96.7 to 98.1 % | 2,010 | Clopper-Pearson |" in card
    assert (
        "| Excess error, average over all calls | −2.1 points | +1.3 points | +2 points | &lt; 0.0001 | 2,000 | holds |"
        in card
    )
    assert "off\\_schema" in card or "off schema 105" in card
