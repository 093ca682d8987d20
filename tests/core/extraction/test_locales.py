"""Amounts, dates, currencies and terms as any locale writes them: what is written is read back, and doubt is not."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.extraction.amounts import CODES, amount, currency, decimal_mark, written
from stepdown.core.extraction.dates import (
    DAY_FIRST,
    FORMATS,
    FULL_NAMES,
    MONTH_FIRST,
    MONTHS,
    date_as,
    date_of,
    language_of,
    read_date,
    unaccented,
    usual_order,
)
from stepdown.core.extraction.deriving import Terms, read_terms
from stepdown.core.extraction.values import date_rule, places, value_of

CENTS = st.integers(-(10**12), 10**12).map(lambda cents: Decimal(cents) / 100)
DAYS = st.dates(date(1969, 1, 1), date(2068, 12, 31))
LOCALES = {
    "en": (",", "."),
    "de": (".", ","),
    "fr": ("\u202f", ","),
    "fr, plain": (" ", ","),
    "sv": ("\u00a0", ","),
    "de-CH": ("'", "."),
    "de-CH, curly": ("’", "."),
    "none": ("", "."),
    "none, comma": ("", ","),
}
NUMBER, TEXT = ("number",), ("string",)


@pytest.mark.parametrize("locale", LOCALES)
@given(value=CENTS)
def test_an_amount_is_read_back_in_every_locale(locale: str, value: Decimal) -> None:
    assert amount(written(value, *LOCALES[locale])) == value


@given(value=st.integers(1000, 999_999).map(Decimal), others=st.lists(CENTS.map(abs), min_size=1, max_size=5))
@pytest.mark.parametrize("locale", ["en", "de"])
def test_whole_thousands_are_told_by_the_other_amounts(locale: str, value: Decimal, others: list[Decimal]) -> None:
    piece = written(value, LOCALES[locale][0], "", decimals=0)
    text = " | ".join([*(written(each, *LOCALES[locale]) for each in others), piece])
    assert amount(piece, text) == value
    assert amount(piece) is None


@pytest.mark.parametrize(
    ("piece", "value"),
    [
        ("1.234,56", "1234.56"),
        ("1,23,456.00", "123456"),
        ("(12.00)", "-12"),
        ("12,00-", "-12"),
        ("0.125", "0.125"),
        ("1.234.567", "1234567"),
        ("7,5", "7.5"),
        ("1.234", None),
        ("1,234", None),
        ("1.23.4", None),
        ("12.", None),
        ("", None),
        ("9" * 50, None),
    ],
)
def test_amounts(piece: str, value: str | None) -> None:
    assert amount(piece) == (None if value is None else Decimal(value))


def test_amounts_that_contradict_one_another_tell_nothing() -> None:
    assert decimal_mark("12,50 and 12.50") == ""
    assert decimal_mark("on 03.04.2025, no. 12-500, 4,50") == ","


@pytest.mark.parametrize("language", FULL_NAMES)
@given(day=DAYS)
def test_a_named_date_is_read_back_in_every_language(language: str, day: date) -> None:
    name = FULL_NAMES[language][day.month - 1]
    for spelled in (name, name.capitalize(), name.upper(), unaccented(name)):
        for piece in (f"{day.day} {spelled} {day.year}", f"{day.day}. {spelled} {day.year}"):
            assert read_date(piece, "") == day, piece
    assert read_date(f"{day.day} de {name} de {day.year}", "") == day
    assert read_date(f"{name} {day.day}, {day.year}", "") == day


@given(day=DAYS)
def test_a_date_in_digits_is_read_where_its_order_is_known(day: date) -> None:
    assert read_date(f"{day:%d.%m.%Y}", "") == read_date(f"{day:%d.%m.%y}", "") == day
    assert read_date(f"{day:%d/%m/%Y}", DAY_FIRST) == read_date(f"{day:%m/%d/%Y}", MONTH_FIRST) == day
    assert read_date(f"{day:%d-%m-%y}", DAY_FIRST) == read_date(f"{day:%m-%d-%y}", MONTH_FIRST) == day
    assert read_date(f"{day:%d/%m/%Y}", "") == (day if day.day > 12 or day.day == day.month else None)


@pytest.mark.parametrize("form", FORMATS)
@given(day=DAYS)
def test_an_answers_date_is_read_back_in_every_form(form: str, day: date) -> None:
    assert date_of(form, date_as(form, day)) == day


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("Date: 03/04/25\nDue: 25/04/25", DAY_FIRST),
        ("Date: 03/04/25\nDue: 04/25/25", MONTH_FIRST),
        ("Date: 03/04/25", ""),
        ("The invoice is due on 03/04/25\nTotal: $ 12.00", MONTH_FIRST),
        ("The invoice is due on 03/04/25\nTotal: £12.00", DAY_FIRST),
        ("La factura con fecha 03/04/25, el total del pedido\nTotal: $ 12.00", DAY_FIRST),
        ("Date: 25/04/25\nDue: 04/25/25", ""),
    ],
)
def test_the_order_of_day_and_month_is_told_by_the_rest_of_the_text(text: str, order: str) -> None:
    assert usual_order(text) == order


def test_an_unclear_date_is_not_read() -> None:
    by_custom = date_rule("by custom", "ISO")
    assert value_of(by_custom, "03/04/25", TEXT, "Date 03/04/25") is None
    assert value_of(by_custom, "03/04/25", TEXT, "Date 03/04/25, due 25/04/25") == "2025-04-03"
    assert value_of(date_rule(MONTH_FIRST, "DD.MM.YYYY"), "03/04/25") == "04.03.2025"
    assert read_date("30 February 2024", "") is None


def test_no_name_stands_for_two_months() -> None:
    for number in range(1, 13):
        for names in FULL_NAMES.values():
            assert MONTHS[names[number - 1]] == MONTHS[unaccented(names[number - 1])] == number


@pytest.mark.parametrize("code", CODES)
def test_a_currencys_code_is_itself(code: str) -> None:
    assert currency(code) == currency(code.lower()) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [("€ 12", "EUR"), ("12,00€", "EUR"), ("US$5", "USD"), ("R$ 9,90", "BRL"), ("12 zł", "PLN"), ("CHF 3.–", "CHF")],
)
def test_a_sign_stands_for_a_code(text: str, code: str) -> None:
    assert len(places("currency", text, code)) == 1


@pytest.mark.parametrize(
    ("piece", "terms"),
    [
        ("Net 30", Terms(30)),
        ("n/30", Terms(30)),
        ("14 days", Terms(14)),
        ("10-day", Terms(10)),
        ("30 Tagen", Terms(30)),
        ("45 jours fin de mois", Terms(45, end_of_month=True)),
        ("Net 60 EOM", Terms(60, end_of_month=True)),
        ("60 días", Terms(60)),
        ("due on receipt", Terms(0)),
        ("al contado", Terms(0)),
        ("30", None),
        ("30 euros", None),
    ],
)
def test_terms(piece: str, terms: Terms | None) -> None:
    assert read_terms(piece) == terms


def test_the_end_of_the_month_is_after_the_days() -> None:
    assert Terms(30, end_of_month=True).after(date(2024, 1, 15)) == date(2024, 2, 29)
    assert Terms(5).after(date(9999, 12, 31)) is None


@given(day=DAYS, cents=st.integers(1, 10**9))
def test_minor_units_and_two_decimals_are_written_as_the_answers_have_them(day: date, cents: int) -> None:
    piece = written(Decimal(cents) / 100, ".", ",")
    assert value_of("amount, minor units", piece, ("integer",)) == cents
    assert value_of("amount, two decimals", piece) == f"{cents / 100:.2f}"
    assert value_of("amount, 1,234.56", piece) == f"{cents / 100:,.2f}"
    assert value_of("amount, 1.234,56", f"{cents / 100:,.2f}") == piece
    assert value_of("amount, 1.234,56", "1.2345") is None
    assert value_of("amount", piece, NUMBER) == cents / 100


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Please pay the total of this invoice within 30 days", "en"),
        ("Bitte zahlen Sie den Betrag der Rechnung innerhalb von 30 Tagen", "de"),
        ("Veuillez régler le montant de la facture sous 30 jours", "fr"),
        ("El importe total de la factura y los gastos", "es"),
        ("A fatura e o valor do pagamento em 30 dias", "pt"),
        ("XK-4711", ""),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language
