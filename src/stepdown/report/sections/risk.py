"""Risk against coverage: what is gained by letting the students answer more, and where the certificate stands."""

from __future__ import annotations

from typing import Any

from stepdown.core.record import BuildRecord, CurvePoint
from stepdown.report import svg
from stepdown.report.charts import curve
from stepdown.report.format import PERCENT, plural, points, quantity
from stepdown.report.loss_words import loss_words
from stepdown.report.reading import curve_of_evidence, read
from stepdown.report.sentence import certified


def view(record: BuildRecord) -> dict[str, Any]:
    found = sorted(record.risk_coverage, key=lambda point: point.coverage)
    hidden = bool(found) and curve_of_evidence(record)
    if not found or hidden:
        return {"risk": None, "excess": None, "hidden": hidden}
    risk, excess = _risk(record, found), _excess(record, found)
    return {
        "risk": svg.both(lambda size: curve.draw(risk, size), svg.HALF, svg.NARROW),
        "excess": svg.both(lambda size: curve.draw(excess, size), svg.HALF, svg.NARROW),
        "points": plural(len(found), "point"),
        "rows": read(record).rows,
        "margin": points(record.contract.margin),
        "confidence": quantity(found[0].risk.confidence, PERCENT),
        "marked": any(point.certified for point in found),
        "certified": certified(record),
        "agreement": read(record).reference != "gold",
        "words": loss_words(record.loss),
    }


def _risk(record: BuildRecord, found: list[CurvePoint]) -> curve.Curve:
    lines = (curve.Line("incumbent, same requests", tuple(point.incumbent_risk for point in found), "level incumbent"),)
    words = loss_words(record.loss)
    loss = words.as_loss
    where = "where it answers itself" if words.measure else "on the requests it answers itself"
    return curve.Curve(
        name=f"{loss[:1].upper() + loss[1:]} on the requests the cascade answers itself, against coverage",
        axis=f"{loss} {where}, %",
        coverage=tuple(point.coverage for point in found),
        values=tuple(point.risk for point in found),
        lines=lines if read(record).reference == "gold" else (),
        chosen=_chosen(found),
        chosen_name=_chosen_name(record),
    )


def _excess(record: BuildRecord, found: list[CurvePoint]) -> curve.Curve:
    margin, excess = record.contract.margin, loss_words(record.loss).excess
    return curve.Curve(
        name=f"{excess} over all requests, against coverage, with the contract's margin",
        axis=f"{excess[:1].lower() + excess[1:]} over all requests, points",
        coverage=tuple(point.coverage for point in found),
        values=tuple(point.excess for point in found),
        lines=(
            curve.Line(f"margin {points(margin)}", (margin,), "level margin"),
            curve.Line("the incumbent", (0.0,), "level incumbent"),
        ),
        chosen=_chosen(found),
        chosen_name=_chosen_name(record),
    )


def _chosen(found: list[CurvePoint]) -> int | None:
    return next((index for index, point in enumerate(found) if point.certified), None)


def _chosen_name(record: BuildRecord) -> str:
    return "certified" if certified(record) else "chosen"
