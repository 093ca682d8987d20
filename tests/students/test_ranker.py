"""The ranker beyond what the battery asks: what it reads, when it holds back, and which students read documents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.batteries.trained import trained_folder
from tests.fixture_cache import KeptFolder

from stepdown.core.extraction.answers import flat
from stepdown.core.extraction.form import Field, Form
from stepdown.core.inputs import Input
from stepdown.runtime.artefact import open_student
from stepdown.runtime.kinds.ranker import RankerStudent
from stepdown.runtime.ranking.candidates import MOST, candidates
from stepdown.runtime.ranking.rank_answering import options_of
from stepdown.runtime.ranking.strangeness import learn_familiar
from stepdown.runtime.ranking.surroundings import describe
from stepdown.students.kinds import crf as gazetteer
from stepdown.students.kinds import ranker, tagger
from stepdown.students.tiny_documents import tiny_documents
from stepdown.students.tiny_extraction import tiny_extraction

pytest.importorskip("scipy", reason="training needs the extra 'train'")


@pytest.fixture(scope="module")
def student(kept_folder: KeptFolder) -> RankerStudent:
    opened = open_student(trained_folder("ranker", kept_folder))
    assert isinstance(opened, RankerStudent)
    return opened


def _signals(student: RankerStudent, text: str) -> dict[str, float]:
    return dict(zip(student.signal_names, student.answer(Input(text))[1], strict=True))


def test_it_reads_a_document_that_it_never_saw(student: RankerStudent) -> None:
    text = tiny_documents().texts[1].replace("Beleg Nr. ", "Beleg Nr. X-").replace("Kunde 41", "Kunde 499")
    answer, _ = student.answer(Input(text))
    assert answer["number"].startswith("X-")
    assert {"due", "currency", "kind"} <= answer.keys()
    assert _signals(student, text)["abstains"] == 0.0


def test_it_holds_back_where_amounts_do_not_add_up(student: RankerStudent) -> None:
    text = tiny_documents().texts[0]
    total = next(line for line in text.split("\n") if line.startswith("Total"))
    assert _signals(student, text)["abstains"] == 0.0
    assert _signals(student, text.replace(total, "Total £999,999.99"))["abstains"] == 1.0


def test_it_holds_back_where_the_order_of_day_and_month_is_unclear(student: RankerStudent) -> None:
    data = tiny_documents()
    text = data.texts[1]
    day = next(line for line in text.split("\n") if line.startswith("Datum"))
    words = text.replace(day, "Datum: 03/04/25")
    unclear = "\n".join(line for line in words.split("\n") if line.startswith(("Datum", "Netto", "MwSt", "Summe")))
    assert _signals(student, unclear)["abstains"] == 1.0


def test_every_field_has_a_chance(student: RankerStudent) -> None:
    data = tiny_documents()
    found = student.answer_many(data.inputs[:20])
    assert found.parts is not None
    for answer, parts in zip(found.answers, found.parts, strict=True):
        # The currency is read off the whole text: there is nothing to be unsure of.
        assert flat(answer).keys() - {"currency"} <= parts.keys()
        assert all(0.0 < chance <= 1.0 for chance in parts.values())


@pytest.mark.slow
def test_documents_are_a_rankers_and_messages_are_not() -> None:
    documents, messages = tiny_documents(), tiny_extraction()
    assert ranker.why_not(documents) == ""
    assert "documents" in gazetteer.why_not(documents)
    assert "documents" in tagger.why_not(documents)
    assert tagger.why_not(messages) == ""
    assert gazetteer.why_not(messages) == ""
    assert "list" in ranker.why_not(messages)
    single = Form(fields=(Field(name="member"),))
    assert "documents" in ranker.why_not(replace(messages, form=single))
    assert "longer than the 256 tokens" in tagger.why_not(
        replace(documents, inputs=[Input(8 * text) for text in documents.texts])
    )


def test_candidates_of_one_value_count_together() -> None:
    text = "Total 12.00\nPaid 12.00\nTax 2.00"
    found = candidates("amount", text, ("number",))
    assert [each.value for each in found] == [12, 12, 2]
    first, *_ = options_of(found, [0.0, 0.0, 0.5], -9.0)
    assert first.candidate is not None
    assert first.candidate.value == 12
    assert first.chance > 0.5
    assert len(describe("amount", text, found)) == 3


def test_what_is_read_of_a_text_is_bounded() -> None:
    for rule in ("as written", "amount", "date in any language, by custom, as ISO"):
        for text in ("1 " * 30_000, "a1\n" * 10_000, "x" * 50_000, "1.1.2025 " * 5_000):
            found = candidates(rule, text, ("string",))
            assert len(found) <= MOST
            assert len(describe(rule, text, found)) == len(found)


def test_a_document_is_strange_where_its_values_stand_beside_new_words(tmp_path: Path) -> None:
    texts = [f"Invoice no. {number}\nDate {number}" for number in range(100)]
    familiar = learn_familiar((text, {"number": [12], "date": [text.rindex(" ") + 1]}) for text in texts)
    assert familiar.strange(texts[0], {"number": 12, "date": texts[0].rindex(" ") + 1}) == 0.0
    assert familiar.strange("Facture 12", {"number": 8}) == 1.0 > familiar.most
