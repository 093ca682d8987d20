"""The rungs of an export on disk: each model in its folder, one program, and the cascade that it follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepdown.runtime.cascade import CascadeSpec
from stepdown.core.certificate import Certificate
from stepdown.core.exports import ExportedModel, ExportedRung
from stepdown.curation.options import CurationOptions
from stepdown.build.export_folder import write_json
from stepdown.build.export_source import Source
from stepdown.project.home import Home
from stepdown.students.exporter import export_student, run_program


def write_models(home: Home, spec: CascadeSpec, format_name: str, draft: Path) -> list[ExportedModel]:
    """Every rung's model, and the program that asks them. Raises as `export_student` does."""
    (draft / "run.py").write_text(run_program(), encoding="utf-8")
    return [
        export_student(home.artefacts / rung.artefact, format_name, draft / folder, draft)
        for rung, folder in zip(spec.rungs, folders_of(spec), strict=True)
    ]


def folders_of(spec: CascadeSpec) -> list[str]:
    """Where each rung lies: at the top where there is one, else in folders that sort in their order."""
    return ["."] if len(spec.rungs) == 1 else [f"{place}-{rung.kind}" for place, rung in enumerate(spec.rungs, start=1)]


def write_cascade(
    draft: Path,
    source: Source,
    spec: CascadeSpec,
    rungs: Sequence[ExportedRung] | None,
    certificate: Certificate | None,
) -> None:
    """What `run.py` reads: rungs with thresholds and calibrators, and until when (s since 1970) that is certified."""
    described = [
        {"folder": folder, "kind": rung.kind, "threshold": rung.threshold, "calibrator": rung.calibrator}
        for rung, folder in zip(spec.rungs, folders_of(spec), strict=True)
    ]
    for place, one in enumerate(rungs or ()):
        described[place] |= {"model": one.model.digest, "parent": one.model.parent}
    cascade = {
        "task": spec.task,
        "family": source.record.family,
        "most_characters": CurationOptions.max_characters,
        "certified_until": certificate.expires_at if certificate else None,
        "rungs": described,
    }
    write_json(draft / "cascade.json", cascade)
