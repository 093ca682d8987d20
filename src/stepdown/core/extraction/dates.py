"""Dates as documents of many languages write them, and the forms that answers are written in.

In digits alone the order of day and month differs from place to place. It is read off the date itself (a day above 12,
points between the numbers), else off the other dates of its text, else off its language and currency; where nothing
decides, the date is not read. A language is known by its commonest words, which is enough for the order. Names of
months are those of the European languages in Latin letters: full, inflected and shortened.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any

_WORDS = {
    "en": "the of and to for is on by from invoice date due total tax amount your please number order receipt days"
    " payment net subtotal bill thank within account",
    "de": "der die das und von zu für ist im am vom bis bitte rechnung rechnungsdatum datum summe betrag nummer gesamt"
    " gesamtbetrag mwst netto brutto ihre zahlbar fällig tagen innerhalb bestellung kunde",
    "fr": "le la les des et du pour est au en par facture date montant total numéro votre échéance jours tva ht ttc"
    " commande paiement à sous reçu client net",
    "es": "el la los las y del para es por en factura fecha importe total número su vencimiento días iva pedido pago"
    " base imponible cliente recibo plazo a",
    "pt": "o os as e do da dos para é por em fatura data valor total número sua vencimento dias nota pedido pagamento"
    " cliente recibo prazo à",
    "it": "il lo gli e di del della per è in fattura data importo totale numero scadenza giorni iva ordine pagamento"
    " cliente imponibile",
    "nl": "de het een en van voor is op factuur datum bedrag totaal nummer vervaldatum dagen btw bestelling betaling"
    " klant binnen",
}
_OF_WORD: dict[str, tuple[str, ...]] = {
    word: tuple(language for language, words in _WORDS.items() if word in words.split())
    for word in {word for words in _WORDS.values() for word in words.split()}
}
_LETTERS = re.compile(r"[^\W\d_]+")
_READ = 6_000
_LEAST = 2.0
_AHEAD = 1.5


@lru_cache(64)
def language_of(text: str) -> str:
    """The code of the language that most of a text's known words are of; "" where too few are, or two are as likely.

    A word of several languages counts for each by its share.
    """
    scores = dict.fromkeys(_WORDS, 0.0)
    for match in _LETTERS.finditer(text[:_READ].lower()):
        languages = _OF_WORD.get(match.group(), ())
        for language in languages:
            scores[language] += 1.0 / len(languages)
    best, second = sorted(scores, key=lambda language: -scores[language])[:2]
    return best if scores[best] >= max(_LEAST, _AHEAD * scores[second]) else ""


_NAMES = {
    "en": "january february march april may june july august september october november december",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "sv": "januari februari mars april maj juni juli augusti september oktober november december",
    "da": "januar februar marts april maj juni juli august september oktober november december",
    "pl": "styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień",
    "pl genitive": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "cs genitive": "ledna února března dubna května června července srpna září října listopadu prosince",
    "fi": "tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu marraskuu joulukuu",
    "fi partitive": "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta"
    " lokakuuta marraskuuta joulukuuta",
    "ro": "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "hu": "január február március április május június július augusztus szeptember október november december",
    "tr": "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
    "de-at": "jänner feber märz april mai juni juli august september oktober november dezember",
}
_SHORT = {
    "en": "jan feb mar apr may jun jul aug sep oct nov dec",
    "de": "jan feb mär apr mai jun jul aug sep okt nov dez",
    "fr": "janv févr mars avr mai juin juil août sept oct nov déc",
    "es": "ene feb mar abr may jun jul ago sep oct nov dic",
    "pt": "jan fev mar abr mai jun jul ago set out nov dez",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "nl": "jan feb mrt apr mei jun jul aug sep okt nov dec",
    "sv": "jan feb mars apr maj juni juli aug sept okt nov dec",
    "pl": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "hu": "jan febr márc ápr máj jún júl aug szept okt nov dec",
    "more": "janv fév mrz avr mai jui jul aoû sept oct nov dic",
}
_UNCLEAR = {"jui"}
"""French for June or July: not read."""


def unaccented(text: str) -> str:
    """Without accents and other marks on letters; "ł" and "ı" become plain letters too."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text.replace("ł", "l").replace("ı", "i"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _numbers() -> dict[str, int]:
    numbers: dict[str, int] = {}
    for names in (*_NAMES.values(), *_SHORT.values()):
        for number, name in enumerate(names.split(), 1):
            for spelled in (name, unaccented(name), name.replace("ä", "ae"), name.replace("û", "u")):
                if spelled not in _UNCLEAR:
                    numbers.setdefault(spelled, number)
    return numbers


MONTHS: dict[str, int] = _numbers()
"""The number of a month by its name in lower case, with its accents and without them."""
FULL_NAMES: dict[str, tuple[str, ...]] = {
    language: tuple(names.split()) for language, names in _NAMES.items() if " " not in language
}
"""The twelve full names by language."""


def pattern() -> str:
    """A regular expression for any of the names; names that begin alike share their beginning, or it would be slow."""
    root: dict[str, Any] = {}
    for name in MONTHS:
        node = root
        for letter in name:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _alternatives(root)


def _alternatives(node: dict[str, Any]) -> str:
    branches = [re.escape(letter) + _alternatives(node[letter]) for letter in sorted(node) if letter]
    if not branches:
        return ""
    inner = branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
    return f"(?:{inner})?" if "" in node else inner


_MONTH = rf"(?P<name>{pattern()})\.?"
_YEAR = r"(?P<year>\d{4}|['’]\d{2}|\d{2})"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|re|º|ª|°|\.)?"
_OF = r"(?:[ \t\-./]*(?:(?:de|del|of|of the|d['’])[ \t]+)?)"
_DIGITS = r"(?P<first>\d{1,2})(?P<mark>[./\-])[ ]?(?P<second>\d{1,2})(?P=mark)[ ]?(?P<year>\d{4}|\d{2})"
_EDGE = r"(?![\w]|[./\-]\d)"
ISO = rf"(?<![\w./\-])(?P<year>\d{{4}})[./\-](?P<month>\d{{1,2}})[./\-](?P<day>\d{{1,2}}){_EDGE}"
SIGNED = r"(?<!\d)(?P<year>\d{4})[年년][ ]?(?P<month>\d{1,2})[月월][ ]?(?P<day>\d{1,2})[日일]"
NAMED = (
    rf"(?<![\w./]){_DAY}{_OF}{_MONTH}(?:[ \t,\-./]*(?:(?:de|del|of)[ \t]+)?){_YEAR}{_EDGE}",
    rf"(?<!\w){_MONTH}[ \t\-]*(?:the[ \t]+)?{_DAY}(?:,[ \t]*|[ \t\-]+(?:of[ \t]+)?){_YEAR}{_EDGE}",
)
DIGITS = rf"(?<![\w./\-]){_DIGITS}{_EDGE}"
DATES = (ISO, SIGNED, *NAMED, DIGITS)
"""What a date looks like, the clearest forms first."""
_COMPILED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in DATES)
_IN_DIGITS = _COMPILED[-1]
_MOST_EVIDENCE = 200
_DOLLAR = re.compile(r"(?<![A-Za-z])(?:US)?\$|\bUSD\b|\b[A-Z]{2} \d{5}(?:-\d{4})?\b")
_OTHER_MONEY = re.compile(r"[€£]|\b(?:EUR|GBP|AUD|NZD|INR|VAT|GST|ABN)\b|A\$|NZ\$")
DAY_FIRST, MONTH_FIRST = "day first", "month first"


@lru_cache(64)
def shown_order(text: str) -> str:
    """The order of day and month that a text's dates in digits show, "day first" or "month first"; "" for neither."""
    orders = set()
    for count, match in enumerate(_IN_DIGITS.finditer(text)):
        if count == _MOST_EVIDENCE:
            break
        first, second = int(match["first"]), int(match["second"])
        if first > 12 >= second:
            orders.add(DAY_FIRST)
        elif second > 12 >= first:
            orders.add(MONTH_FIRST)
    return orders.pop() if len(orders) == 1 else ""


@lru_cache(64)
def usual_order(text: str) -> str:
    """What the dates of a text show, else the custom of where it seems to be from; "" where that is not clear.

    Of the languages that `language_of` knows only American English puts the month first (CLDR 44, dateFormats short).
    """
    shown = shown_order(text)
    if shown:
        return shown
    language = language_of(text)
    if language and language != "en":
        return DAY_FIRST
    dollars, others = bool(_DOLLAR.search(text)), bool(_OTHER_MONEY.search(text))
    if dollars == others:
        return ""
    return MONTH_FIRST if dollars and language else DAY_FIRST if others else ""


def read_date(piece: str, order: str) -> date | None:
    """The day that a piece of text names, all of it. order: of day and month in digits, "" where it is not known."""
    piece = piece.strip()
    if len(piece) > 40:
        return None
    for compiled in _COMPILED:
        match = compiled.fullmatch(piece)
        if match:
            parts = match.groupdict()
            numbers = _in_digits(parts, order) if "first" in parts else _named(parts)
            return None if numbers is None else _day(*numbers)
    return None


def _named(parts: dict[str, str]) -> tuple[int, int, int] | None:
    if parts.get("name"):
        name = parts["name"].lower()
        month = MONTHS.get(name) or MONTHS.get(unaccented(name))
        return (_year(parts["year"]), month, int(parts["day"])) if month else None
    return int(parts["year"]), int(parts["month"]), int(parts["day"])


def _in_digits(parts: dict[str, str], order: str) -> tuple[int, int, int] | None:
    first, second, year = int(parts["first"]), int(parts["second"]), _year(parts["year"])
    if first > 12 or parts["mark"] == "." or first == second:
        return year, second, first
    if second > 12:
        return year, first, second
    if order == DAY_FIRST:
        return year, second, first
    return (year, first, second) if order == MONTH_FIRST else None


def _year(digits: str) -> int:
    """Two digits are of 1969 to 2068, as POSIX has it."""
    number = int(digits.strip("'’"))
    return number if number > 99 else number + (2000 if number < 69 else 1900)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


FORMATS: dict[str, tuple[str, str]] = {
    "ISO": ("%Y-%m-%d", r"\d{4}-\d\d-\d\d"),
    "DD.MM.YYYY": ("%d.%m.%Y", r"\d\d\.\d\d\.\d{4}"),
    "DD/MM/YYYY": ("%d/%m/%Y", r"\d\d/\d\d/\d{4}"),
    "MM/DD/YYYY": ("%m/%d/%Y", r"\d\d/\d\d/\d{4}"),
    "DD-MM-YYYY": ("%d-%m-%Y", r"\d\d-\d\d-\d{4}"),
    "YYYYMMDD": ("%Y%m%d", r"\d{8}"),
    "YYYY/MM/DD": ("%Y/%m/%d", r"\d{4}/\d\d/\d\d"),
}
"""Forms that an answer's dates may have: how they are written, and what they look like."""
ORDERS: dict[str, Callable[[str], str]] = {
    "as shown": shown_order,
    "by custom": usual_order,
    DAY_FIRST: lambda text: shown_order(text) or DAY_FIRST,
    MONTH_FIRST: lambda text: shown_order(text) or MONTH_FIRST,
}
"""How the order of day and month is told, the most careful way first."""


def date_as(form: str, day: date) -> str:
    """A day in one of the FORMATS; years before 1000 have four digits too."""
    pattern = FORMATS[form][0]
    return pattern.replace("%Y", f"{day.year:04d}").replace("%m", f"{day.month:02d}").replace("%d", f"{day.day:02d}")


def date_of(form: str, value: str) -> date | None:
    """`date_as`, backwards."""
    pattern, looks = FORMATS[form]
    if not re.fullmatch(looks, value, re.ASCII):
        return None
    digits = re.findall(r"\d+", value) if "Y%m" not in pattern else [value[:4], value[4:6], value[6:]]
    numbers = dict(zip(re.findall(r"%(.)", pattern), map(int, digits), strict=True))
    return _day(numbers["Y"], numbers["m"], numbers["d"])
