"""National identity, tax and insurance numbers whose check digits python-stdnum knows.

Those that are bare digits pass their check by chance too often (one in ten), so they count only after a label.
"""

from __future__ import annotations

import re
from types import ModuleType

from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

PLACEHOLDER = "NATIONAL_ID"
RANK = 0
TRIGGER = "0123456789"
_WRITTEN: dict[str, tuple[str, ModuleType]] = {
    "ssn": (r"\d{3}-\d{2}-\d{4}", ssn),
    "cpf": (r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf),
    "dni": (r"\d{8}-?[A-Z]", dni),
    "nie": (r"[XYZ]-?\d{7}-?[A-Z]", nie),
    "codicefiscale": (r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", codicefiscale),
    "pan": (r"[A-Z]{3}[ABCFGHLJPTK][A-Z]\d{4}[A-Z]", pan),
    "personnummer": (r"\d{6}[-+]\d{4}", personnummer),
    "nir": (r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}", nir),
}
_DIGITS: tuple[ModuleType, ...] = (ssn, sin, nhs, bsn, pesel, idnr, cpf, aadhaar)
_LABEL = (
    r"(?i:\b(?:ssn|social security|social insurance|sin|nhs|bsn|burgerservicenummer|pesel|aadhaar|cpf|"
    r"steuer-?id(?:entifikationsnummer)?|tax id|national id|national insurance|id number)\b)"
    r"(?:[ -]?(?:number|nummer|no\.?|nr\.?))?(?:\s{1,2}is)?\W{1,4}"
)
PATTERN = re.compile(
    r"(?<![\w.-])(?:"
    + "|".join(f"(?P<{name}>{shape})" for name, (shape, _) in _WRITTEN.items())
    + rf")(?![\w-])|{_LABEL}(?P<labelled>\d(?:[ .-]?\d){{8,11}})(?!\w)"
)


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    if match["labelled"]:
        valid = any(module.is_valid(match["labelled"]) for module in _DIGITS)
        return match.span("labelled") if valid else None
    return match.span() if match.lastgroup and _WRITTEN[match.lastgroup][1].is_valid(match[0]) else None


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("my SSN: 536-90-4399", ["536-90-4399"]),
        ("codice RCCMNL83S18D969H grazie", ["RCCMNL83S18D969H"]),
        ("DNI 54362315-K", ["54362315-K"]),
        ("BSN 111222333", ["111222333"]),
        ("my order is 111222333", []),
        ("ticket 666-00-0000", []),
    ]
