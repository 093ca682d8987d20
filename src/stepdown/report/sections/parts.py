"""One row per label or field, worst first, beside the incumbent; of fields also how a student gets each."""

from __future__ import annotations

from typing import Any

from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Role
from stepdown.core.extraction.outlook import field_source
from stepdown.core.measurements import FieldEscalation, FieldRow, LabelRow, Quality
from stepdown.core.record import BuildRecord
from stepdown.report.bars import error_bar, share_bar
from stepdown.report.format import PERCENT, SCORE, clean, count, plural, points, quantity, sample, show, signed_points
from stepdown.report.reading import best_student, incumbent_name, read, rows_in_words

SHOWN = 15
MOST = 500
MOST_NAMED = 8


def view(record: BuildRecord) -> dict[str, Any]:
    subject, quality = _measured(record)
    rows = sorted(quality.labels, key=lambda row: (-row.error.value, -row.n, row.name)) if quality else []
    most = max(
        (_end(estimate) for row in rows for estimate in (row.error, row.incumbent_error) if estimate), default=1.0
    )
    ways = _ways(record)
    written = [_row(row, most, ways.get(row.name, ("", ""))) for row in rows[:MOST]]
    part = record.part
    return {
        "part": part,
        "who": subject,
        "incumbent": incumbent_name(record),
        "compared": any(row.incumbent_error is not None for row in rows),
        "confused": any(row.most_confused_with for row in rows),
        "rows": written[:SHOWN],
        "more": written[SHOWN:],
        "more_in_words": plural(len(written) - SHOWN, f"more {part}") if len(written) > SHOWN else "",
        "left_out": plural(len(rows) - MOST, part) if len(rows) > MOST else "",
        "better": sum(1 for row in rows if row.incumbent_error and row.error.value <= row.incumbent_error.value),
        "total": plural(len(rows), part),
        "read_on": read(record).rows,
        "most": quantity(most, PERCENT, 2),
        "alignment": _alignment(record.roles),
        "unseen": _named([role.field for role in record.roles if role.field not in {row.name for row in rows}]),
        "refused": [(clean(name), clean(why)) for name, why in list(record.refused.items())[:MOST]],
    }


def _measured(record: BuildRecord) -> tuple[str, Quality | None]:
    reading = read(record)
    if record.cascade is not None:
        quality = reading.of(record.cascade.quality)
        if quality is not None and quality.labels:
            return "the cascade", quality
    student = best_student(record)
    return (f"the student {clean(student.kind)}", reading.of(student.quality)) if student else ("", None)


def _end(estimate: Estimate) -> float:
    return estimate.value


def _row(row: LabelRow, most: float, way: tuple[str, str]) -> dict[str, Any]:
    error, theirs = show(row.error, PERCENT), show(row.incumbent_error, PERCENT)
    return {
        "name": clean(row.name),
        "n": count(row.n),
        "error": error,
        "theirs": theirs,
        "worse": row.incumbent_error is not None and row.error.low > row.incumbent_error.value,
        "bar": error_bar(row.error, row.incumbent_error, most),
        "precision": quantity(row.precision, PERCENT),
        "recall": quantity(row.recall, PERCENT),
        "f1": f"{row.f1:.3f}",
        "confused": clean(row.most_confused_with),
        "way": way[0],
        "taught": way[1],
    }


def _ways(record: BuildRecord) -> dict[str, tuple[str, str]]:
    """For each field how a student gets it, and how many of the training answers that have it could teach it."""
    ways = dict.fromkeys(record.refused, ("left to the incumbent", ""))
    return ways | {role.field: (_way(role), _taught(role)) for role in record.roles}


def _way(role: Role) -> str:
    if role.role == "copied" and not role.follows:
        return f"copied, {clean(role.normaliser)}"
    return clean(field_source(role))


def _taught(role: Role) -> str:
    total = role.aligned + role.unaligned
    if not total:
        return "not in the training answers"
    where = "among them" if role.role == "closed" else "in the text, or following" if role.follows else "in the text"
    if not role.unaligned:
        return f"all {count(total)} {where}"
    return f"{count(role.aligned)} of {count(total)} {where}"


def _alignment(roles: tuple[Role, ...]) -> str:
    """How much of what is to be copied stands in its text, over all fields, and where most is missing."""
    copied = [role for role in roles if role.role == "copied"]
    aligned, unaligned = sum(role.aligned for role in copied), sum(role.unaligned for role in copied)
    if not aligned + unaligned:
        return ""
    share = quantity(aligned / (aligned + unaligned), PERCENT)
    counts = (
        f"Of {plural(aligned + unaligned, 'training value')} to be copied, {count(aligned)} ({share}) stand in the text"
    )
    if not unaligned:
        return counts + "."
    worst = sorted((role for role in copied if role.unaligned), key=lambda role: (-role.unaligned, role.field))[:3]
    named = ", ".join(f"“{clean(role.field)}” {count(role.unaligned)}" for role in worst)
    return f"{counts}; the other {count(unaligned)} are not learned from (most of them: {named})."


def _named(names: list[str]) -> str:
    shown = ", ".join(f"“{clean(name)}”" for name in names[:MOST_NAMED])
    return shown + (f" and {count(len(names) - MOST_NAMED)} more" if len(names) > MOST_NAMED else "")


def single_fields_view(record: BuildRecord) -> dict[str, Any] | None:
    """None where no student says how sure it is of single fields."""
    escalations = [each for each in record.field_escalation if each.split != "certify"]
    if not escalations:
        return None
    best = best_student(record)
    chosen = next(
        (escalation for escalation in escalations if best is not None and escalation.artefact == best.artefact),
        escalations[-1],
    )
    rows = [_field_row(row) for row in chosen.rows[:MOST]]
    return {
        "incumbent": incumbent_name(record),
        "kind": clean(chosen.kind),
        "margin": points(chosen.margin),
        "whole": _share(chosen.answers_whole.value),
        "fields_whole": _share(chosen.fields_whole),
        "fields_single": _share(chosen.fields_single),
        "complete": _share(chosen.answers_complete.value),
        "lacking": [
            (f"{clean(number)} left" if number != "0" else "none left", _share(share), share_bar(share))
            for number, share in list(chosen.lacking.items())[:10]
        ],
        "options": [_option(escalation) for escalation in escalations],
        "rows": rows[:SHOWN],
        "more": rows[SHOWN:],
        "read_on": rows_in_words(chosen.split, chosen.reference, 0),
        "n": sample(chosen.n),
    }


def _option(each: FieldEscalation) -> dict[str, Any]:
    return {
        "kind": clean(each.kind),
        "whole": show(each.answers_whole, PERCENT),
        "complete": show(each.answers_complete, PERCENT),
        "fields_whole": _share(each.fields_whole),
        "fields_single": _share(each.fields_single),
        "excess_whole": signed_points(each.excess_whole.value),
        "excess_single": signed_points(each.excess_single.value),
    }


def _field_row(row: FieldRow) -> dict[str, Any]:
    return {
        "name": clean(row.name),
        "n": count(row.n),
        "error": show(row.error, PERCENT),
        "accepted": _share(row.accepted),
        "bar": share_bar(row.accepted),
        "calibration": quantity(row.calibration_error, SCORE, 2),
    }


def _share(value: float) -> str:
    return quantity(value, PERCENT)
