from __future__ import annotations

from stepdown.core.estimates import Estimate
from stepdown.core.measurements import Quality, Speed, StudentMeasurement
from stepdown.evaluation.dominance import explain_dominated, mark_dominated
from stepdown.evaluation.intervals import rate


def known(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, n=100, method="m")


def student(kind: str, wrong: int, latency: float, cost: float, reference: str = "gold") -> StudentMeasurement:
    speed = Speed(
        latency_p50=known(latency), latency_p95=known(latency), throughput=known(1.0), memory_mb=known(1.0),
        size_mb=1.0, energy_j_per_1k=known(1.0), cost_per_1k=known(cost), machine="m",
    )  # fmt: skip
    quality = Quality(split="tune", reference=reference, metrics={"error": rate(wrong, 1000)})
    return StudentMeasurement(kind=kind, artefact=kind, trained_s=1.0, learned_from={}, quality=(quality,), speed=speed)


def test_better_at_everything_beyond_noise_dominates() -> None:
    ladder = [
        student("linear", 90, 5e-5, 0.001),
        student("token_cnn", 140, 2e-4, 0.004),
        student("encoder", 50, 1e-3, 0.02),
    ]
    assert [each.dominated_by for each in mark_dominated(ladder)] == ["", "linear", ""]
    (dropped,) = explain_dominated(ladder)
    assert dropped.kind == "token_cnn"
    assert dropped.why.startswith(
        "linear is better at everything: 9.0% of its answers are wrong against 14.0% (n = 1000"
    )
    assert "0.05 ms against 0.2 ms" in dropped.why


def test_within_noise_or_dearer_dominates_nobody() -> None:
    close = [student("linear", 90, 5e-5, 0.001), student("token_cnn", 100, 2e-4, 0.004)]
    dear = [student("linear", 50, 5e-5, 0.005), student("token_cnn", 140, 2e-4, 0.004)]
    apart = [student("linear", 50, 5e-5, 0.001, "incumbent"), student("token_cnn", 140, 2e-4, 0.004)]
    for ladder in (close, dear, apart, []):
        assert mark_dominated(ladder) == ladder
        assert explain_dominated(ladder) == []


def test_the_best_of_several_is_named_and_never_one_that_is_dominated() -> None:
    ladder = [
        student("token_cnn", 200, 1e-3, 0.01),
        student("linear", 120, 5e-4, 0.005),
        student("tiny", 60, 1e-4, 0.001),
    ]
    assert [each.dominated_by for each in mark_dominated(ladder)] == ["tiny", "tiny", ""]
