from __future__ import annotations

from stepdown.curation.leakage import leakage
from stepdown.curation.options import CurationOptions

OPTIONS = CurationOptions()


def test_learning_yields_to_evidence_and_evidence_stays(make_example):
    text = "my top up is still pending, what can I do about it"
    examples = [
        make_example("1", text),
        make_example("2", text + "!", split="certify"),
        make_example("3", text + "?", split="tune"),
        make_example("4", text.upper(), split="test"),
        make_example("5", "something else altogether"),
    ]
    outcome = leakage(examples, OPTIONS)
    assert [one.id for one in outcome.examples] == ["2", "4", "5"]
    assert {one.id: one.reason for one in outcome.excluded} == {"1": "leaks into evidence", "3": "leaks into evidence"}
    assert all(one.kin in ("2", "3", "4") for one in outcome.excluded)
    assert outcome.findings["removed_from"] == {"train": 1, "tune": 1}


def test_parts_of_a_group_that_was_cut_strictly_may_resemble_each_other(make_example):
    one, other = "order number 0000001 please", "order number 0000009 please"
    loose = [make_example("1", one), make_example("2", other, split="certify")]
    assert len(leakage(loose, CurationOptions(near_duplicate=0.6)).examples) == 1
    strict = [make_example("1", one, group="g@1.0"), make_example("2", other, group="h@1.0", split="certify")]
    assert len(leakage(strict, CurationOptions(near_duplicate=0.6)).examples) == 2


def test_nothing_leaks_where_nothing_is_alike(make_example):
    examples = [make_example("1", "lost card"), make_example("2", "exchange rate", split="test")]
    assert leakage(examples, OPTIONS).examples == examples
    assert leakage([], OPTIONS).examples == []
