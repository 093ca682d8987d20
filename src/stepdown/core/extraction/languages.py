"""Which language a text is in, by its commonest words; good enough for the order of day and month."""

from __future__ import annotations

import re
from functools import lru_cache

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
