"""Names of the months in the languages of Europe that write with Latin letters, full, inflected and shortened."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

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
    found: dict[str, int] = {}
    for names in (*_NAMES.values(), *_SHORT.values()):
        for number, name in enumerate(names.split(), 1):
            for spelled in (name, unaccented(name), name.replace("ä", "ae"), name.replace("û", "u")):
                if spelled not in _UNCLEAR:
                    found.setdefault(spelled, number)
    return found


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
    found = [re.escape(letter) + _alternatives(node[letter]) for letter in sorted(node) if letter]
    if not found:
        return ""
    inner = found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"
    return f"(?:{inner})?" if "" in node else inner
