"""The summary that scripts rely on: its figures are of rows that may be shown."""

from __future__ import annotations

from stepdown.build.summary import best_figure
from stepdown.core.estimates import Estimate
from stepdown.core.measurements import Quality, Speed, StudentMeasurement


def figure(value: float, n: int) -> Estimate:
    return Estimate(value=value, low=value, high=value, n=n, method="counted")


def student(**errors: tuple[float, int]) -> StudentMeasurement:
    """errors: (value, n) by split, against gold."""
    quality = tuple(
        Quality(split=split, reference="gold", metrics={"error": figure(*error)}) for split, error in errors.items()
    )
    timed = figure(0.001, 1)
    speed = Speed(
        latency_p50=timed,
        latency_p95=timed,
        throughput=timed,
        memory_mb=timed,
        size_mb=1.0,
        energy_j_per_1k=timed,
        cost_per_1k=timed,
        machine="",
    )
    return StudentMeasurement(kind="linear", artefact="a", trained_s=1.0, learned_from={}, quality=quality, speed=speed)


def error(measured: StudentMeasurement) -> float | None:
    return best_figure(measured, "error", ("gold", "incumbent"))


def test_test_comes_before_tune_where_it_has_rows_enough() -> None:
    assert error(student(tune=(0.1, 500), test=(0.2, 300))) == 0.2
    assert error(student(tune=(0.1, 500), test=(0.2, 30))) == 0.1


def test_a_figure_of_the_evidence_is_never_given() -> None:
    assert error(student(tune=(0.1, 500), certify=(0.3, 2000))) == 0.1
    assert error(student(certify=(0.3, 2000))) is None
