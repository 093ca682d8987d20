"""A build's record as a short table for the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepdown.core.estimates import Estimate
from stepdown.core.record import BuildRecord
from stepdown.core.statement import paragraphs
from stepdown.report.format import MEGABYTES, PERCENT, SECONDS, SPACE, USD, Unit, clean, quantity, show
from stepdown.report.notes import notes
from stepdown.report.reading import incumbent_name, read
from stepdown.report.sentence import certified, next_steps, verdict_sentence

COLUMNS = ("", "error", "agreement", "p50", "size", "$ per 1,000")


@dataclass(frozen=True)
class Line:
    """One option: its name, its figures, and "incumbent", "cascade", "student" or "dominated"."""

    cells: tuple[str, ...]
    role: str


def summary_table(record: BuildRecord) -> RenderableType:
    """The verdict, the options and what to do next, for a rich console. No markup in the record is obeyed."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(_error_name(record) if column == "error" else column for column in COLUMNS):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    styles = {"cascade": "bold", "dominated": "dim", "incumbent": "", "student": ""}
    for line in _lines(record):
        table.add_row(*(Text(cell) for cell in line.cells), style=styles[line.role])
    colour = "bold green" if certified(record) else "bold red"
    verdict = Text.assemble(
        ("Certified. " if certified(record) else "Not certified. ", colour), _terminal(verdict_sentence(record))
    )
    advice = [Text(f"{number}. {_terminal(step)}") for number, step in enumerate(next_steps(record), 1)]
    proved = [Text(_terminal(paragraph)) for paragraph in (*paragraphs(record.certificate), *notes(record))]
    return Group(verdict, Text(""), *proved, Text(""), table, Text(""), *advice)


def summary_lines(record: BuildRecord) -> list[str]:
    """The same as plain lines, aligned with spaces, for logs and pipes."""
    verdict = ("Certified. " if certified(record) else "Not certified. ") + _terminal(verdict_sentence(record))
    header = tuple(_error_name(record) if column == "error" else column for column in COLUMNS)
    rows = [header, *(line.cells for line in _lines(record))]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    table = [
        "  ".join(
            _pad(cell, width, index) for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    advice = [f"{number}. {_terminal(step)}" for number, step in enumerate(next_steps(record), 1)]
    proved = [_terminal(paragraph) for paragraph in (*paragraphs(record.certificate), *notes(record))]
    return [verdict, "", *proved, "", *table, *(["", *advice] if advice else [])]


def _error_name(record: BuildRecord) -> str:
    reading = read(record)
    if reading.words.measure or reading.reference == "gold":
        return _terminal(reading.words.noun)
    return "unlike the incumbent"


def _pad(cell: str, width: int, index: int) -> str:
    return cell.ljust(width) if index == 0 else cell.rjust(width)


def _lines(record: BuildRecord) -> list[Line]:
    reading, incumbent = read(record), record.incumbent
    theirs = reading.shown_error(incumbent.quality) if reading.reference == "gold" else None
    cells = (
        _terminal(incumbent_name(record)),
        _value(theirs, PERCENT),
        "",
        _value(incumbent.latency_p50, SECONDS),
        "",
        _value(incumbent.cost_per_1k, USD),
    )
    lines = [Line(cells, "incumbent")]
    measured = (
        [("cascade", "cascade", record.cascade.quality, record.cascade.speed, record.cascade.cost_per_1k)]
        if record.cascade
        else []
    )
    measured += [
        (
            _terminal(student.kind),
            "dominated" if student.dominated_by else "student",
            student.quality,
            student.speed,
            student.speed.cost_per_1k,
        )
        for student in record.students
    ]
    for name, role, quality, speed, cost in measured:
        cells = (
            name + (" (dominated)" if role == "dominated" else ""),
            _value(reading.shown_error(quality), PERCENT),
            _value(reading.agreement(quality), PERCENT),
            _value(speed.latency_p50, SECONDS),
            _plain(quantity(speed.size_mb, MEGABYTES)),
            _value(cost, USD),
        )
        lines.append(Line(cells, role))
    return lines


def _value(estimate: Estimate | None, unit: Unit) -> str:
    shown = show(estimate, unit)
    return _plain(shown.value) if shown else ""


def _plain(text: str) -> str:
    return text.replace(SPACE, " ")


def _terminal(text: str) -> str:
    """Text on one line, without characters that would steer a terminal or turn its direction."""
    steering = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029")
    joined = " ".join(_plain(clean(text)).split())
    return "".join(character for character in joined if character not in steering)
