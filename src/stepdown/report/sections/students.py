"""Every option side by side: the incumbent, the cascade, each student; one measure a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import Quality, Speed, StudentMeasurement
from stepdown.core.record import BuildRecord, Dropped
from stepdown.report.format import (
    JOULES,
    MEGABYTES,
    PER_SECOND,
    PERCENT,
    SECONDS,
    USD,
    Shown,
    Unit,
    clean,
    count,
    duration,
    quantity,
    sample,
    show,
    wording,
)
from stepdown.report.loss_words import LossWords
from stepdown.report.reading import (
    MetricRow,
    Reading,
    incumbent_name,
    kind_in_words,
    metric_rows,
    read,
    rest_goes_to,
    rung_kinds,
)


@dataclass(frozen=True)
class Option:
    """One column."""

    name: str
    role: str
    words: str
    quality: tuple[Quality, ...]
    speed: Speed | None
    cost: Estimate | None
    latency: tuple[Estimate | None, Estimate | None]
    learned: str = ""
    trained: str = ""
    dominated_by: str = ""


@dataclass(frozen=True)
class Cell:
    """A figure with its interval, or a plain text."""

    value: str
    interval: str = ""
    n: str = ""
    estimated: bool = False


@dataclass(frozen=True)
class Measure:
    """One row: its name, how it was measured, and a cell per option."""

    name: str
    note: str
    cells: list[Cell | None]


def view(record: BuildRecord) -> dict[str, Any]:
    options, reading = _options(record), read(record)
    reasons = {option.name: why for option in options if (why := _reason_given(option, record.dropped))}
    reasons_given = set(reasons.values())
    return {
        "options": options,
        "measures": [measure for measure in _measures(record, options, reading) if any(measure.cells)],
        "rows": reading.rows,
        "dominated": [
            (option.name, _why_dominated(option, reasons, reading.words)) for option in options if option.dominated_by
        ],
        "dropped": [(clean(one.kind), clean(one.why)) for one in record.dropped if clean(one.why) not in reasons_given],
        "machine": clean(next((option.speed.machine for option in options if option.speed), "")),
    }


def _reason_given(option: Option, dropped: tuple[Dropped, ...]) -> str:
    """The build's reason for a dominated student; it names the one that dominates it."""
    reasons = (clean(one.why) for one in dropped if clean(one.kind) == option.name)
    return next((why for why in reasons if option.dominated_by and option.dominated_by in why), "")


def _why_dominated(option: Option, reasons: dict[str, str], words: LossWords) -> str:
    """The build's own reason, else the rule."""
    better = f"{words.more(-1.0)} {words.noun}"
    rule = f"{option.dominated_by} has {better}, beyond noise, and is neither slower nor dearer."
    return reasons.get(option.name, rule)


def _options(record: BuildRecord) -> list[Option]:
    incumbent = record.incumbent
    options = [
        Option(
            name=incumbent_name(record),
            role="incumbent",
            words="the model that does the task today",
            quality=incumbent.quality,
            speed=None,
            cost=incumbent.cost_per_1k,
            latency=(incumbent.latency_p50, incumbent.latency_p95),
        )
    ]
    if record.cascade is not None:
        cascade = record.cascade
        kinds = ", then ".join([*rung_kinds(record), rest_goes_to(record)])
        latency = (cascade.speed.latency_p50, cascade.speed.latency_p95)
        options.append(
            Option("Cascade", "cascade", kinds, cascade.quality, cascade.speed, cascade.cost_per_1k, latency)
        )
    return options + [_student(record, student) for student in record.students]


def _student(record: BuildRecord, student: StudentMeasurement) -> Option:
    speed = student.speed
    return Option(
        name=clean(student.kind),
        role="dominated" if student.dominated_by else "student",
        words=kind_in_words(record, student.kind),
        quality=student.quality,
        speed=speed,
        cost=speed.cost_per_1k,
        latency=(speed.latency_p50, speed.latency_p95),
        learned=learned_in_words(student.learned_from),
        trained=duration(student.trained_s),
        dominated_by=clean(student.dominated_by),
    )


def learned_in_words(learned_from: dict[str, int]) -> str:
    """ "9,003 of the incumbent's answers, 1,000 gold"."""
    words = {"incumbent": "of the incumbent's answers", "gold": "gold", "unlabelled": "without an answer"}
    parts = [f"{count(number)} {words.get(name, wording(name))}" for name, number in learned_from.items() if number]
    return ", ".join(parts) or "nothing recorded"


def _measures(record: BuildRecord, options: list[Option], reading: Reading) -> list[Measure]:
    return [
        _row(reading.error_name, options, PERCENT, lambda option: reading.shown_error(option.quality)),
        *(_metric(row, options, reading) for row in metric_rows(record)),
        _row("Agreement with the incumbent", options, PERCENT, lambda option: reading.agreement(option.quality)),
        _row("Latency p50", options, SECONDS, lambda option: option.latency[0]),
        _row("Latency p95", options, SECONDS, lambda option: option.latency[1]),
        _row("Throughput", options, PER_SECOND, lambda option: option.speed.throughput if option.speed else None),
        _row("Memory", options, MEGABYTES, lambda option: option.speed.memory_mb if option.speed else None),
        Measure("Size on disk", "", [_size(option) for option in options]),
        _row("Cost per 1,000 requests", options, USD, lambda option: option.cost),
        _row(
            "Energy per 1,000 requests",
            options,
            JOULES,
            lambda option: option.speed.energy_j_per_1k if option.speed else None,
        ),
        Measure("Trained in", "", [Cell(option.trained) if option.trained else None for option in options]),
        Measure("Learned from", "", [Cell(option.learned) if option.learned else None for option in options]),
    ]


def _metric(row: MetricRow, options: list[Option], reading: Reading) -> Measure:
    return _row(row.name, options, row.unit, lambda option: row.of(reading, option.quality))


def _row(name: str, options: list[Option], unit: Unit, pick: Callable[[Option], Estimate | None]) -> Measure:
    shown = [show(pick(option), unit) for option in options]
    known = [each for each in shown if each is not None]
    counts = {each.n for each in known if each.n > 0}
    one_n = sample(counts.pop()) if len(counts) == 1 else ""
    methods = list(dict.fromkeys(each.method for each in known if each.method))
    note = " · ".join(part for part in (one_n, "; ".join(methods[:2])) if part)
    return Measure(name, note, [_cell(each, bool(one_n)) for each in shown])


def _cell(shown: Shown | None, one_n: bool) -> Cell | None:
    if shown is None:
        return None
    return Cell(shown.value, shown.interval, "" if one_n else sample(shown.n), shown.estimated)


def _size(option: Option) -> Cell | None:
    return Cell(quantity(option.speed.size_mb, MEGABYTES)) if option.speed else None
