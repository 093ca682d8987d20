"""Dates of birth, where a label says that they are one."""

from __future__ import annotations

import re

PLACEHOLDER = "BIRTH_DATE"
RANK = 1
TRIGGER = "0123456789"
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
PATTERN = re.compile(
    r"(?i:\b(?:born|date of birth|birth ?date|birthday|d\.?o\.?b\.?|geboren|geburtsdatum|née? le|fecha de nacimiento))"
    r"(?:\s{1,2}(?:on|in|am|is|was|el))?[\s:=\"'\\*]{1,8}(?:the )?"
    r"(?P<date>\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ](?:\d{4}|\d{2})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})(?!\d)"
)


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    return match.span("date")


def examples() -> list[tuple[str, list[str]]]:
    return [
        ("DOB: 03/07/1985", ["03/07/1985"]),
        ("I was born on 3rd of July, 1985", ["3rd of July, 1985"]),
        ("date of birth is 1985-07-03.", ["1985-07-03"]),
        ('{"dob": "1985-07-03"}', ["1985-07-03"]),
        ("the invoice of 03/07/1985", []),
    ]
