"""Fields that follow from others: learned where answers keep the rule, filled in, doubted where it is broken."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import pytest

from stepdown.core.extraction.deriving import Terms, meant_terms, payment_terms, rule_violations
from stepdown.core.extraction.form import Form, Role
from stepdown.core.extraction.outlook import field_source, outlook, untrainable_reason
from stepdown.core.extraction.roles import learn_roles
from stepdown.core.extraction.spans import align, assemble
from stepdown.core.extraction.stated import infer

Rows = tuple[list[str], list[dict[str, Any]]]


def _bills(count: int = 240, tax_printed: float = 0.6, due_printed: float = 0.3) -> Rows:
    """Bills with the tax in some of them and the due date in some: elsewhere these follow."""
    dice = random.Random(3)
    texts, answers = [], []
    for _ in range(count):
        net = dice.randrange(10_000, 900_000)
        tax = round(net * dice.choice((0.07, 0.19)))
        day = date(2025, 1, 1) + timedelta(days=dice.randrange(600))
        days = dice.choice((10, 14, 30))
        lines = [f"Datum {day:%d.%m.%Y}", f"Netto {_de(net)} EUR"]
        lines += [f"MwSt {_de(tax)} EUR"] if dice.random() < tax_printed else []
        due = day + timedelta(days=days)
        lines += [f"Summe {_de(net + tax)} EUR"]
        lines += [f"Fällig am {due:%d.%m.%Y}" if dice.random() < due_printed else f"Zahlbar in {days} Tagen"]
        texts.append("\n".join(lines))
        found = {"date": day.isoformat(), "due": due.isoformat(), "currency": "EUR"}
        answers.append(found | {"net": net / 100, "tax": tax / 100, "total": (net + tax) / 100})
    return texts, answers


def _de(cents: int) -> str:
    return f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))


def _learned(rows: Rows) -> tuple[Form, dict[str, Role]]:
    texts, answers = rows
    form = infer(answers)
    return form, {role.field: role for role in learn_roles(form, texts, answers)}


def test_rules_are_learned_where_the_answers_keep_them() -> None:
    _, roles = _learned(_bills())
    assert roles["tax"].sums == {"net": -1, "total": 1}
    assert (roles["due"].base, roles["due"].role) == ("date", "copied")
    assert (roles["currency"].role, roles["currency"].whole) == ("derived", True)
    assert roles["tax"].unaligned == roles["due"].unaligned == 0
    assert field_source(roles["tax"]) == "read from the text (amount), else total - net"


def test_what_follows_is_filled_in_where_it_stands_nowhere() -> None:
    texts, answers = _bills()
    form, roles = _learned((texts, answers))
    for text, answer in zip(texts, answers, strict=True):
        found = align(form, list(roles.values()), text, answer)
        assert (found.unaligned, found.present) == ((), ())
        assert assemble(form, list(roles.values()), text, found.spans, found.choices) == answer


def test_a_field_that_never_stands_in_the_text_may_follow_altogether() -> None:
    texts, answers = _bills(tax_printed=0.0, due_printed=0.0)
    form, roles = _learned((texts, answers))
    assert (roles["tax"].role, roles["due"].role) == ("derived", "derived")
    assert untrainable_reason(form, list(roles.values()), texts, answers) == ""


def test_mistakes_of_the_large_model_do_not_hide_a_rule() -> None:
    texts, answers = _bills()
    for row, answer in enumerate(answers):
        if row % 20 == 0:
            answer["total"] = answer["net"]
        if row % 25 == 1:
            answer["due"] = "2031-01-01"
    _, roles = _learned((texts, answers))
    assert roles["tax"].sums == {"net": -1, "total": 1}
    assert roles["due"].base == "date"


def test_no_rule_is_learned_from_numbers_that_are_no_amounts() -> None:
    answers: list[dict[str, Any]] = [{"a": row, "b": 2 * row, "c": 3 * row} for row in range(1, 90)]
    texts = [f"a {row} b {2 * row} c {3 * row}" for row in range(1, 90)]
    _, roles = _learned((texts, answers))
    assert not any(role.sums for role in roles.values())


def test_a_rule_that_would_fill_in_what_answers_lack_is_none() -> None:
    texts, answers = _bills(tax_printed=0.6)
    for text, answer in zip(texts, answers, strict=True):
        if "MwSt" not in text:
            del answer["tax"]
    _, roles = _learned((texts, answers))
    assert not roles["tax"].sums


def test_an_answer_that_breaks_a_rule_is_doubted() -> None:
    form, roles = _learned(_bills(tax_printed=1.0))
    ruled = [role for role in roles.values() if role.checked or role.always]
    right = {"date": "2025-01-01", "due": "2025-01-11", "currency": "EUR", "net": 100, "tax": 19, "total": 119}
    assert rule_violations(form, ruled, "", right) == set()
    assert {"net", "tax", "total"} <= rule_violations(form, ruled, "", {**right, "total": 120})
    assert rule_violations(form, ruled, "", {key: value for key, value in right.items() if key != "date"}) == {"date"}


@pytest.mark.parametrize(
    ("text", "policy", "terms"),
    [
        ("Payment terms: net 30", "only", Terms(30)),
        ("2 % discount if paid in 10 days, net 30", "only", None),
        ("2 % discount if paid in 10 days, net 30", "longest", Terms(30)),
        ("Payable within 7 days\nClaims within 8 days of delivery", "only", Terms(7)),
        ("Delivery takes 5 days", "longest", None),
        ("Payment\n14 days", "only", Terms(14)),
        ("", "longest", None),
    ],
)
def test_which_terms_of_a_text_are_meant(text: str, policy: str, terms: Terms | None) -> None:
    assert meant_terms(text, policy) == terms


def test_terms_of_other_matters_are_none_of_payment() -> None:
    assert payment_terms("Zahlbar sofort\nBeanstandungen innerhalb von 8 Tagen") == (Terms(0),)


def test_a_field_that_can_be_had_in_some_rows_only_is_told_apart_row_by_row() -> None:
    texts, answers = _bills(due_printed=1.0)
    texts = [text.replace("Summe", "Zeile") if row % 3 else text.split("\nSumme")[0] for row, text in enumerate(texts)]
    for answer in answers:
        del answer["due"], answer["tax"]
    form, roles = _learned((texts, answers))
    assert (roles["total"].role, roles["total"].partly) == ("copied", True)
    found = align(form, list(roles.values()), texts[0], answers[0])
    assert (found.present, found.unaligned) == (("total",), ())
    seen = outlook(form, list(roles.values()), texts, answers)
    assert seen.share == pytest.approx(2 / 3, abs=0.02)
    assert untrainable_reason(form, list(roles.values()), texts, answers) == ""


def test_a_task_is_refused_with_the_share_that_is_left() -> None:
    texts, answers = _bills()
    for row, answer in enumerate(answers):
        if row % 20:
            answer["thought"] = f"number {row * 7919} is fine with me"
    form, roles = _learned((texts, answers))
    said = untrainable_reason(form, list(roles.values()), texts, answers)
    assert "'thought' is free text" in said
    assert "5% of the answers are left" in said
    few = [answer if row % 2 else {**answer, "thought": ""} for row, answer in enumerate(answers)]
    left = [{key: value for key, value in answer.items() if value != ""} for answer in few]
    form, roles = _learned((texts, left))
    assert untrainable_reason(form, list(roles.values()), texts, left) == ""
