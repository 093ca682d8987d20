# ruff: noqa: E501 (tables of words)
"""The words and the writing of each locale: amounts, dates, goods, names, sentences that say nothing of the fields."""

from __future__ import annotations

from datetime import date

MONTHS = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "de": [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    "fr": [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    "es": [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
}
MARKS = {
    "en-US": (",", "."),
    "en-GB": (",", "."),
    "de-DE": (".", ","),
    "de-CH": ("'", "."),
    "fr-FR": ("\u202f", ","),
    "es-ES": (".", ","),
}
GOODS = {
    "en": "Consulting,Hosting plan,Steel bracket,Printer paper A4,Desk lamp,Support hours,Cable 5 m,Licence,Freight,Filter"
    " cartridge,Toner,Workshop,Training day,Office chair,Cleaning,Paint 10 l,Gasket,Battery pack,Translation,Design work,"
    "Monitor 27,Coffee beans,Safety gloves,Storage box",
    "de": "Beratung,Hosting-Paket,Stahlwinkel,Druckerpapier A4,Schreibtischlampe,Wartung,Kabel 5 m,Lizenz,Fracht,"
    "Filterpatrone,Toner,Workshop,Schulungstag,Bürostuhl,Reinigung,Farbe 10 l,Dichtung,Akku,Übersetzung,Gestaltung,"
    "Monitor 27,Kaffeebohnen,Handschuhe,Lagerbox",
    "fr": "Conseil,Hébergement,Équerre acier,Papier A4,Lampe de bureau,Assistance,Câble 5 m,Licence,Transport,Cartouche,"
    "Toner,Atelier,Formation,Chaise,Nettoyage,Peinture 10 l,Joint,Batterie,Traduction,Graphisme,Écran 27,Café en grains,"
    "Gants,Bac de rangement",
    "es": "Consultoría,Alojamiento web,Escuadra de acero,Papel A4,Lámpara,Soporte,Cable 5 m,Licencia,Transporte,Filtro,"
    "Tóner,Taller,Formación,Silla,Limpieza,Pintura 10 l,Junta,Batería,Traducción,Diseño,Monitor 27,Café en grano,"
    "Guantes,Caja",
}
FIRMS = [
    "Harlow & Pike",
    "Nordbach GmbH",
    "Atelier Vauban",
    "Talleres Ibarra",
    "Quill Supplies",
    "Lindner Technik",
    "Maison Corot",
    "Grupo Alcor",
    "Bluefin Systems",
    "Kessler & Söhne",
    "Dubreuil SARL",
    "Ferrer Hermanos",
    "Oakridge Labs",
    "Weber Logistik",
    "Éts Moreau",
    "Soluciones Duero",
]
STREETS = {
    "en": "Mill Lane,Station Road,Elm Street,Harbor Drive",
    "de": "Hauptstraße,Lindenweg,Bahnhofstr.,Am Markt",
    "fr": "rue des Lilas,avenue Foch,bd Voltaire,chemin Vert",
    "es": "calle Mayor,avenida del Sol,calle Luna,paseo Norte",
}
TOWNS = {
    "en-US": "Dayton, OH 45402;Austin, TX 78701;Salem, OR 97301",
    "en-GB": "Leeds LS1 4AP;York YO1 7HH;Bath BA1 1LZ",
    "de-DE": "50667 Köln;80331 München;04109 Leipzig",
    "de-CH": "8001 Zürich;3011 Bern;9000 St. Gallen",
    "fr-FR": "69002 Lyon;31000 Toulouse;44000 Nantes",
    "es-ES": "28013 Madrid;41001 Sevilla;46002 Valencia",
}
FILLER = {
    "en": "Thank you for your business.|Please quote the reference above with every transfer.|Goods remain our property until"
    " paid in full.|Claims are accepted within 8 days of delivery.|For questions call our office on weekdays from 9 to 5.|"
    "Prices include packaging unless stated otherwise.|Registered office: see letterhead. Directors: J. Marsh, P. Ode.|"
    "This document was created electronically and is valid without a signature.",
    "de": "Vielen Dank für Ihren Auftrag.|Bitte geben Sie bei der Überweisung das Zeichen oben an.|Die Ware bleibt bis zur"
    " vollständigen Bezahlung unser Eigentum.|Beanstandungen bitte innerhalb von 8 Tagen nach Lieferung.|Rückfragen werktags"
    " von 9 bis 17 Uhr.|Preise inklusive Verpackung, sofern nicht anders angegeben.|Geschäftsführer: J. Marx, P. Ott."
    " Amtsgericht HRB 48213.|Dieses Schreiben wurde elektronisch erstellt und gilt ohne Unterschrift.",
    "fr": "Merci de votre confiance.|Merci de rappeler la référence ci-dessus lors du virement.|La marchandise reste notre"
    " propriété jusqu'au paiement complet.|Réclamations sous 8 jours après livraison.|Renseignements en semaine de 9 h à"
    " 17 h.|Prix emballage compris sauf mention contraire.|Gérants : J. Marchand, P. Aude. RCS 482 130 118.|Document établi"
    " par voie électronique, valable sans signature.",
    "es": "Gracias por su confianza.|Indique la referencia de arriba en la transferencia.|La mercancía es de nuestra propiedad"
    " hasta el pago completo.|Reclamaciones en un plazo de 8 días desde la entrega.|Consultas de lunes a viernes de 9 a 17"
    " h.|Precios con embalaje salvo indicación contraria.|Administradores: J. Marín, P. Oda. Registro Mercantil hoja"
    " 48213.|Documento emitido por medios electrónicos, válido sin firma.",
}


def money(cents: int, locale: str) -> str:
    """An amount without its currency."""
    thousands, mark = MARKS[locale]
    whole = f"{cents // 100:,}".replace(",", thousands)
    return f"{whole}{mark}{cents % 100:02d}"


def percent(rate: float, locale: str) -> str:
    digits = f"{rate:g}".replace(".", MARKS[locale][1])
    return f"{digits}%" if locale.startswith("en") else f"{digits} %"


def day(when: date, style: str) -> str:
    """A date in a layout's style: "named LANGUAGE", "short LANGUAGE", or strftime's."""
    kind, _, language = style.partition(" ")
    if kind == "american":
        return f"{MONTHS['en'][when.month - 1]} {when.day}, {when.year}"
    if kind == "named":
        name = MONTHS[language][when.month - 1]
        middle = {"de": f". {name} ", "es": f" de {name} de "}.get(language, f" {name} ")
        return f"{when.day}{middle}{when.year}"
    if kind == "short":
        return f"{when.day:02d} {MONTHS[language][when.month - 1][:3]} {when.year}"
    return when.strftime(style)
