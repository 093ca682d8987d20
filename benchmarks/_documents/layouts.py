"""Ten ways to lay an invoice out. Two are held out: students never see them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from benchmarks._documents.invoice import DAYS, Invoice, Line, invoice
from benchmarks._documents.words import FILLER, FIRMS, GOODS, STREETS, TOWNS, day, money, percent

SCANNED = 0.12
"""Of the documents, that were scanned: letters in words without digits are misread, and spaces doubled or lost."""
MISREAD = str.maketrans(
    {"l": "I", "I": "l", "e": "c", "a": "o", "u": "v", "n": "r", "t": "f", "é": "e", "ä": "a", "m": "rn"}
)

Write = Callable[[Invoice, "Layout"], list[str]]


@dataclass(frozen=True)
class Layout:
    """style: how dates are written. sign: how an amount is written with its currency. write: the document's lines."""

    name: str
    locale: str
    style: str
    sign: str
    write: Write
    held_out: bool = False
    days: tuple[int, ...] = DAYS
    end_of_month: float = 0.0

    @property
    def language(self) -> str:
        return self.locale[:2]

    def document(self, number: int) -> tuple[str, Invoice]:
        """The text of the layout's n-th document, and what it says."""
        made = invoice(f"{self.name}-{number}", self.locale, self.days, self.end_of_month)
        lines = self.write(made, self)
        return "\n".join(scanned(lines, made.dice) if made.dice.random() < SCANNED else lines), made

    def day(self, made: Invoice, later: int = 0) -> str:
        return day(made.day + timedelta(days=later), self.style)

    def due(self, made: Invoice) -> str:
        return day(made.due, self.style)

    def money(self, cents: int) -> str:
        return self.sign.format(money(cents, self.locale))

    def head(self, made: Invoice) -> list[str]:
        dice = made.dice
        return [
            dice.choice(FIRMS),
            f"{dice.choice(STREETS[self.language].split(','))} {dice.randrange(1, 99)}, {self.town(made)}",
        ]

    def town(self, made: Invoice) -> str:
        return made.dice.choice(TOWNS[self.locale].split(";"))

    def goods(self, line: Line) -> str:
        return GOODS[self.language].split(",")[line.name]

    def filler(self, made: Invoice, most: int) -> list[str]:
        said = FILLER[self.language].split("|")
        return made.dice.sample(said, made.dice.randrange(most - 1, len(said) + 1))

    def table(self, made: Invoice, row: str) -> list[str]:
        return [
            row.format(
                at=at,
                name=self.goods(line),
                quantity=line.quantity,
                price=money(line.price, self.locale),
                amount=money(line.amount, self.locale),
            )
            for at, line in enumerate(made.lines, 1)
        ]


def scanned(lines: list[str], dice: random.Random) -> list[str]:
    """The lines as a middling scanner reads them. Figures stay, so that gold can be told from what is read."""
    return [" ".join(_scanned_word(word, dice) for word in line.split(" ")) for line in lines]


def _scanned_word(word: str, dice: random.Random) -> str:
    if any(letter.isdigit() for letter in word) or word.upper() == word:
        return word
    read = "".join(letter.translate(MISREAD) if dice.random() < 0.03 else letter for letter in word)
    return read + (" " if dice.random() < 0.03 else "")


def said(made: Invoice, *ways: str) -> str:
    """One of several ways to say the same, the first more often than the others."""
    return made.dice.choice((*ways, ways[0]))


def _american(made: Invoice, by: Layout) -> list[str]:
    """Net terms, no due date; digits with the month first."""
    order = [f"P.O. Number: {made.order}"] if made.order else []
    terms = "Due on receipt" if not made.days else f"Net {made.days}"
    return [
        *by.head(made),
        "INVOICE",
        f"{said(made, 'Invoice #', 'Invoice No.', 'Inv. number')}: {made.number}",
        f"{said(made, 'Date', 'Invoice date')}: {by.day(made)}",
        *order,
        f"Terms: {terms}",
        f"Ship Date: {by.day(made, -made.dice.randrange(1, 9))}",
        f"Bill To: {made.dice.choice(FIRMS)}",
        "Description | Qty | Rate | Amount",
        *by.table(made, "{name} | {quantity} | {price} | {amount}"),
        f"Subtotal: {by.money(made.net)}",
        f"Sales Tax ({percent(made.rate, by.locale)}): {by.money(made.tax)}",
        f"{said(made, 'TOTAL', 'Balance due', 'Amount due')}: {by.money(made.total)}",
        *by.filler(made, 4),
    ]


def _british(made: Invoice, by: Layout) -> list[str]:
    """The due date is printed; digits with the day first."""
    order = [f"Your order no.: {made.order}"] if made.order else []
    return [
        *by.head(made),
        f"VAT Reg No GB {made.dice.randrange(100_000_000, 999_999_999)}",
        f"Invoice to: {made.dice.choice(FIRMS)}, {by.town(made)}",
        f"Tax invoice {made.number}",
        f"Invoice date: {by.day(made)}",
        *order,
        f"Account: {made.dice.randrange(1000, 9999)}",
        "Item  Quantity  Unit price  Amount",
        *by.table(made, "{name}   {quantity}   {price}   {amount}"),
        f"{said(made, 'Net total', 'Total excl. VAT')}   {by.money(made.net)}",
        f"VAT @ {percent(made.rate, by.locale)}   {by.money(made.tax)}",
        f"{said(made, 'Total to pay', 'Total incl. VAT', 'Gross total')}   {by.money(made.total)}",
        f"{said(made, 'Payment is due by', 'Please pay by')} {by.due(made)}. "
        f"Sort code 20-45-{made.dice.randrange(10, 99)}.",
        *by.filler(made, 5),
    ]


def _receipt(made: Invoice, by: Layout) -> list[str]:
    """A till receipt: tax is printed, what is taxed is not."""
    order = [f"Order {made.order}"] if made.order else []
    return [
        made.dice.choice(FIRMS).upper(),
        f"Store {made.dice.randrange(10, 999)} Register {made.dice.randrange(1, 12)}",
        f"RECEIPT {made.number}   {by.day(made)}   {made.dice.randrange(8, 21)}:{made.dice.randrange(10, 59)}",
        *order,
        *by.table(made, "{quantity} x {name} @ {price} = {amount}"),
        f"TAX {percent(made.rate, by.locale)}   {by.money(made.tax)}",
        f"AMOUNT DUE   {by.money(made.total)}",
        "Charged to account." if made.days else "Paid by card, due on receipt.",
        *([f"Payable within {made.days} days."] if made.days else []),
        f"Returns accepted until {by.day(made, 60)} with this receipt.",
        *by.filler(made, 3),
    ]


def _german(made: Invoice, by: Layout) -> list[str]:
    """Terms with a discount for paying sooner; no due date."""
    order = [f"Ihre Bestellnummer: {made.order}"] if made.order else []
    terms = "Zahlbar sofort ohne Abzug." if not made.days else f"Zahlbar innerhalb von {made.days} Tagen netto."
    if made.days > 20 and made.dice.random() < 0.5:
        terms = f"Bei Zahlung innerhalb von 10 Tagen 2 % Skonto, {made.days} Tage netto."
    return [
        *by.head(made),
        f"An {made.dice.choice(FIRMS)}, {by.town(made)}",
        f"Rechnung Nr. {made.number}",
        f"{said(made, 'Rechnungsdatum', 'Datum')}: {by.day(made)}",
        f"Lieferdatum: {by.day(made, -made.dice.randrange(1, 12))}",
        f"Kundennummer: {made.dice.randrange(10_000, 99_999)}",
        *order,
        "Pos. Bezeichnung Menge Einzelpreis Gesamtpreis",
        *by.table(made, "{at}. {name}  {quantity}  {price}  {amount}"),
        f"Zwischensumme netto: {by.money(made.net)}",
        f"zzgl. {percent(made.rate, by.locale)} MwSt.: {by.money(made.tax)}",
        f"{said(made, 'Gesamtbetrag', 'Zu zahlen', 'Bruttobetrag')}: {by.money(made.total)}",
        terms,
        f"IBAN DE{made.dice.randrange(10, 99)} 3704 0044 0532 {made.dice.randrange(1000, 9999)} 00",
        *by.filler(made, 4),
    ]


def _german_short(made: Invoice, by: Layout) -> list[str]:
    """Two-digit years, tax not printed: net and gross alone."""
    order = [f"Auftrag {made.order}"] if made.order else []
    return [
        f"{made.dice.choice(FIRMS)} · {by.town(made)}",
        f"RECHNUNG {made.number} vom {by.day(made)}",
        *order,
        f"Leistungszeitraum bis {by.day(made, -1)}",
        "",
        *by.table(made, "{quantity} Stk. {name} à {price}: {amount}"),
        "",
        f"Summe netto {by.money(made.net)}",
        f"Rechnungsbetrag inkl. {percent(made.rate, by.locale)} USt. {by.money(made.total)}",
        f"Fällig am {by.due(made)}",
        *by.filler(made, 5),
    ]


def _swiss(made: Invoice, by: Layout) -> list[str]:
    """Apostrophes in thousands, francs, dates with the month's name."""
    order = [f"Referenz: {made.order}"] if made.order else []
    return [
        *by.head(made),
        f"{by.town(made)[5:]}, {by.day(made)}",
        f"Rechnung {made.number}",
        *order,
        f"MWST-Nr. CHE-{made.dice.randrange(100, 999)}.{made.dice.randrange(100, 999)}.{made.dice.randrange(100, 999)}",
        *by.table(made, "{name} / {quantity} / {price} / {amount}"),
        f"Total exkl. MWST: {by.money(made.net)}",
        f"MWST {percent(made.rate, by.locale)}: {by.money(made.tax)}",
        f"Total inkl. MWST: {by.money(made.total)}",
        f"Zahlungsfrist: {made.days} Tage" if made.days else "Zahlungsfrist: sofort fällig",
        *by.filler(made, 5),
    ]


def _french(made: Invoice, by: Layout) -> list[str]:
    """Named months; terms to the end of the month."""
    order = [f"Commande n° {made.order}"] if made.order else []
    terms = f"{made.days} jours" if made.days else "comptant"
    if made.end_of_month:
        terms += " fin de mois"
    return [
        *by.head(made),
        f"SIRET {made.dice.randrange(100, 999)} {made.dice.randrange(100, 999)} {made.dice.randrange(100, 999)} 00012",
        f"{said(made, 'Facture n°', 'N° de facture :')} {made.number}",
        f"Date de facturation : {by.day(made)}",
        *order,
        f"Client : {made.dice.choice(FIRMS)}, {by.town(made)}",
        "Désignation ; Qté ; PU HT ; Montant HT",
        *by.table(made, "{name} ; {quantity} ; {price} ; {amount}"),
        f"Total HT : {by.money(made.net)}",
        f"TVA {percent(made.rate, by.locale)} : {by.money(made.tax)}",
        f"{said(made, 'Total TTC', 'Net à payer')} : {by.money(made.total)}",
        f"Conditions de règlement : {terms}",
        *by.filler(made, 5),
    ]


def _spanish(made: Invoice, by: Layout) -> list[str]:
    """The due date is printed, in digits; a delivery note has a date too."""
    order = [f"Pedido: {made.order}"] if made.order else []
    return [
        *by.head(made),
        f"CIF B{made.dice.randrange(10_000_000, 99_999_999)}",
        f"Factura: {made.number}   Fecha: {by.day(made)}",
        f"Albarán {made.dice.randrange(1000, 9999)} de {by.day(made, -made.dice.randrange(2, 20))}",
        *order,
        f"Cliente: {made.dice.choice(FIRMS)}",
        "Concepto - Uds. - Precio - Importe",
        *by.table(made, "{name} - {quantity} - {price} - {amount}"),
        f"Base imponible {by.money(made.net)}",
        f"IVA {percent(made.rate, by.locale)} {by.money(made.tax)}",
        f"{said(made, 'Total factura', 'Importe total')} {by.money(made.total)}",
        f"{said(made, 'Vencimiento', 'Fecha de vencimiento', 'Pagar antes del')}: {by.due(made)}",
        *by.filler(made, 5),
    ]


def _french_letter(made: Invoice, by: Layout) -> list[str]:
    """Held out: as a letter, tax not printed."""
    order = [f"Votre commande : {made.order}"] if made.order else []
    terms = f"Paiement à {made.days} jours date de facture." if made.days else "Paiement comptant."
    return [
        made.dice.choice(FIRMS),
        f"Facture {made.number} du {by.day(made)}",
        *order,
        "Madame, Monsieur, veuillez trouver le détail de vos achats :",
        *by.table(made, "- {quantity} × {name} : {amount}"),
        f"Montant HT : {by.money(made.net)}",
        f"Montant TTC (TVA {percent(made.rate, by.locale)}) : {by.money(made.total)}",
        terms,
        *by.filler(made, 5),
    ]


def _spanish_terms(made: Invoice, by: Layout) -> list[str]:
    """Held out: named months, terms in days, totals first."""
    order = [f"N.º de pedido: {made.order}"] if made.order else []
    terms = f"{made.days} días fecha factura" if made.days else "al contado"
    return [
        f"TOTAL A PAGAR: {by.money(made.total)}",
        f"Número de factura: {made.number}",
        f"Fecha de emisión: {by.day(made)}",
        f"Forma de pago: transferencia, {terms}",
        *order,
        *by.head(made),
        *by.table(made, "{at}) {name}: {quantity} x {price} = {amount}"),
        f"Importe neto: {by.money(made.net)}",
        f"Cuota IVA ({percent(made.rate, by.locale)}): {by.money(made.tax)}",
        *by.filler(made, 5),
    ]


LAYOUTS = (
    Layout("american", "en-US", "%m/%d/%Y", "${}", _american),
    Layout("british", "en-GB", "%d/%m/%Y", "£{}", _british),
    Layout("receipt", "en-US", "american", "${}", _receipt, days=(0, 0, 14, 30)),
    Layout("german", "de-DE", "%d.%m.%Y", "{} EUR", _german),
    Layout("german-short", "de-DE", "%d.%m.%y", "{} €", _german_short),
    Layout("swiss", "de-CH", "named de", "CHF {}", _swiss),
    Layout("french", "fr-FR", "named fr", "{} €", _french, end_of_month=0.3),
    Layout("spanish", "es-ES", "%d/%m/%Y", "{} €", _spanish),
    Layout("french-letter", "fr-FR", "%d/%m/%Y", "{} €", _french_letter, held_out=True),
    Layout("spanish-terms", "es-ES", "named es", "{} EUR", _spanish_terms, held_out=True),
)
