"""The inputs of the ROI: measured figures, replaced by those that the user states."""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.build.curate import Curated
from stepdown.build.job import Job
from stepdown.core.record import CascadeMeasurement, IncumbentMeasurement, Roi, RoiInput
from stepdown.evaluation.energy import incumbent_joules_per_1k
from stepdown.evaluation.roi import RoiInputs, machine_per_month, measured, roi, stated, unknown_volume

SETTINGS_FILE = "stepdown.toml"
HOUR_S = 3600.0
_STATED = {
    "calls_per_month": ("calls_per_month", "calls"),
    "licence_usd_per_month": ("licence_usd_per_month", "USD"),
    "infrastructure_usd_per_month": ("machine_usd_per_month", "USD"),
    "usd_per_label": ("usd_per_label", "USD"),
    "labels_bought": ("labels", "labels"),
    "engineer_hours": ("engineer_hours", "hours"),
    "engineer_usd_per_hour": ("usd_per_engineer_hour", "USD"),
    "monitoring_share": ("shadow_share", "share"),
}


def task_roi(
    job: Job, curated: Curated, incumbent: IncumbentMeasurement, cascade: CascadeMeasurement | None
) -> Roi | None:
    """The ROI of a certified cascade; None for a refusal, or where the incumbent's price is unknown."""
    if cascade is None or incumbent.cost_per_1k is None:
        return None
    inputs: dict[str, Any] = {
        "calls_per_month": _volume(incumbent),
        "offload": measured("offload", cascade.offload, "share"),
        "incumbent_usd_per_1k": measured("incumbent_usd_per_1k", incumbent.cost_per_1k, "USD"),
        "machine_usd_per_month": machine_per_month(job.machine),
        "machine_capacity": measured("machine_capacity", cascade.speed.throughput, "requests/s"),
        "build_machine_hours": stated(
            "build_machine_hours", sum(job.seconds.values()) / HOUR_S, "hours", "measured: this build"
        ),
        **_energy(curated, cascade),
        **_latency(incumbent, cascade),
        **_settings(job),
    }
    return roi(RoiInputs(**inputs), job.request.seed)


def _volume(incumbent: IncumbentMeasurement) -> RoiInput:
    if incumbent.calls_per_month is None:
        return unknown_volume()
    return measured("calls_per_month", incumbent.calls_per_month, "calls")


def _latency(incumbent: IncumbentMeasurement, cascade: CascadeMeasurement) -> dict[str, RoiInput]:
    if incumbent.latency_p50 is None:
        return {}
    return {
        "incumbent_latency_s": measured("incumbent_latency_s", incumbent.latency_p50, "s"),
        "own_latency_s": measured("own_latency_s", cascade.speed.latency_p50, "s"),
    }


def _energy(curated: Curated, cascade: CascadeMeasurement) -> dict[str, RoiInput]:
    summary = curated.summary
    if summary.prompt_tokens is None or summary.completion_tokens is None:
        return {}
    theirs = incumbent_joules_per_1k(summary.prompt_tokens, summary.completion_tokens, summary.calls)
    return {
        "incumbent_joules": measured("incumbent_joules", theirs.scaled(1e-3), "J"),
        "own_joules": measured("own_joules", cascade.speed.energy_j_per_1k.scaled(1e-3), "J"),
    }


def _settings(job: Job) -> dict[str, RoiInput]:
    """The inputs that the user states."""
    roi_settings = msgspec.structs.asdict(job.home.settings.roi)
    return {
        name: stated(name, float(roi_settings[key]), unit, SETTINGS_FILE)
        for key, (name, unit) in _STATED.items()
        if roi_settings[key] is not None
    }
