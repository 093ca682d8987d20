"""Exporting a build: its students as files that run without stepdown, compared, measured and certified again."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import stepdown
from stepdown.build.export_folder import (
    REQUIREMENTS,
    check_target,
    drafted,
    folders_of,
    hashes,
    publish,
    requirements,
    write_cascade,
    write_json,
    write_models,
)
from stepdown.build.export_rows import Compared, Rows, ask_export, ask_parents, compare, rows_of, said_different
from stepdown.build.export_source import Source, source_of
from stepdown.build.job import machine_price
from stepdown.build.recertify import recertify
from stepdown.certificate.files import seal
from stepdown.core.canonical import canonical_json, digest_of
from stepdown.core.certificate import Certificate
from stepdown.core.exports import MANIFEST, Comparison, ExportedModel, ExportedRung, ExportManifest
from stepdown.core.store import Store
from stepdown.core.students import Progress
from stepdown.curation.dataset_file import read_dataset
from stepdown.evaluation.cost import own_cost_per_1k
from stepdown.evaluation.intervals import quantile, resampled_mean
from stepdown.evaluation.speed import describe_machine, size_on_disk
from stepdown.project.builds import latest
from stepdown.project.home import Home, write_whole
from stepdown.report.exported_card import render_exported_card
from stepdown.students.exporter import exporters


@dataclass(frozen=True)
class ExportRequest:
    """What to export, as what, and where to. uncertified: write it even where no certificate speaks of it."""

    task: str
    format: str
    to: Path
    force: bool = False
    uncertified: bool = False


@dataclass(frozen=True)
class Exported:
    """How an export ended. manifest: None where nothing was written, and `why` says why not.

    differences: the file with every row on which the exported models are not their parents, where there are any.
    """

    comparison: Comparison
    manifest: ExportManifest | None = None
    why: str = ""
    differences: Path | None = None


def export(home: Home, request: ExportRequest, progress: Progress) -> Exported:
    """Export the build that answers a task. One that differs from its parent, or is not certified, is not written.

    Raises UsageError for a format or a target, StepdownError for a build that is not certified, MissingExtra …
    """
    exporters().load(request.format)  # an unknown format is said before anything is locked or made
    target = request.to.absolute()
    check_target(target, request.force)
    latest(home, request.task)  # a task that has no build is said before anything is locked or made
    with home.store() as store, home.building(request.task):
        source = source_of(home, request.task, request.uncertified)
        with drafted(target) as draft:
            progress("exporting", 0.0)
            rows = rows_of(read_dataset(source.folder.dataset), source.parent.evidence)
            models = write_models(home, source.spec, request.format, draft, rows.texts)
            progress("comparing with the parent", 0.0)
            compared = _compare(home, source, rows, models, draft)
            if compared.found.differences:
                return Exported(
                    compared.found, None, said_different(compared.found), _keep_rows(source, compared.found)
                )
            return _finish(home, store, request, source, (models, compared, draft))


def _finish(
    home: Home,
    store: Store,
    request: ExportRequest,
    source: Source,
    made: tuple[list[ExportedModel], Compared, Path],
) -> Exported:
    models, compared, draft = made
    places = zip(models, folders_of(source.spec), compared.said, strict=True)
    rungs = tuple(_rung_speed(home, model, folder, one.seconds) for model, folder, one in places)
    why, spec, certificate = source.why, source.spec, None
    if not why:
        certificate, evidence = recertify(store, source.parent, rungs, compared, home.clock())
        why = _why_refused(certificate)
        if why and not request.uncertified:
            return Exported(compared.found, None, why)
        if not why:
            spec = evidence.candidate.cascade(certificate.chosen)
            write_whole(
                source.folder.path / "exports" / f"{certificate.digest[:16]}.evidence.jsonl", evidence.to_bytes()
            )
            write_json(draft / "certificate.json", seal(certificate))
    write_cascade(draft, source, spec, rungs, None if why else certificate)
    manifest = _manifest(home, request, source, rungs, compared.found, why)
    if certificate and not why:
        manifest = msgspec.structs.replace(manifest, certificate=certificate.digest, cascade=certificate.cascade_hash)
    (draft / REQUIREMENTS).write_text(requirements(manifest.requires, manifest.versions), encoding="utf-8")
    (draft / "model-card.md").write_text(
        render_exported_card(source.record, manifest, certificate, source.origin), encoding="utf-8"
    )
    files = hashes(draft)
    manifest = msgspec.structs.replace(manifest, files=files, size_bytes=size_on_disk(draft))
    write_json(draft / MANIFEST, manifest)
    fact = {"format": request.format, "verdict": manifest.verdict, "certificate": manifest.certificate}
    store.append("exported", manifest.task, {**fact, **manifest.parents}, at=home.clock())
    publish(draft, request.to.absolute())
    return Exported(compared.found, manifest, why)


def _compare(home: Home, source: Source, rows: Rows, models: Sequence[ExportedModel], draft: Path) -> Compared:
    write_cascade(draft, source, source.spec, None, None)
    parents = ask_parents(home, source.spec, rows, source.parent.evidence)
    requires = sorted({name for model in models for name in model.requires})
    said = ask_export(draft, requires, rows, np.random.default_rng(source.record.seed))
    return Compared(rows, said, compare(source.spec, rows, parents, said))


def _rung_speed(home: Home, model: ExportedModel, folder: str, seconds: NDArray[np.float64]) -> ExportedRung:
    """An exported rung with its latency and cost. seconds: (n,) of single answers, NaN where none was timed.

    Measured once for a model, a machine and its price: an export that is made again then asks the same question of the
    evidence, down to what a rung costs, and spends no more of it.
    """
    machine = machine_price(home)
    key = digest_of((model.digest, machine, describe_machine(), folder))
    path = home.state / "cache" / "speed" / f"exported-{key}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExportedRung)
    except (OSError, msgspec.DecodeError):
        pass
    taken = seconds[~np.isnan(seconds)]
    rung = ExportedRung(
        folder=folder,
        model=model,
        latency_p50=quantile(taken, 0.5, "s"),
        latency_p95=quantile(taken, 0.95, "s"),
        cost_per_1k=own_cost_per_1k(resampled_mean(taken, np.random.default_rng(0), "s"), machine),
    )
    write_whole(path, canonical_json(rung))
    return rung


def _manifest(
    home: Home, request: ExportRequest, source: Source, rungs: tuple[ExportedRung, ...], found: Comparison, why: str
) -> ExportManifest:
    requires = tuple(sorted({name for rung in rungs for name in rung.model.requires}))
    versions = {name: importlib.metadata.version(name) for name in requires}
    certificate = source.parent.certificate
    return ExportManifest(
        task=source.spec.task,
        family=source.record.family,
        format=request.format,
        verdict="uncertified" if why else "certified",
        why_uncertified=why,
        rungs=rungs,
        comparison=found,
        parents={"parent_cascade": certificate.cascade_hash, "parent_certificate": certificate.digest},
        requires=requires,
        versions={**versions, "python": platform.python_version(), "stepdown": stepdown.__version__},
        size_bytes=0,
        files={},
        created_at=home.clock(),
    )


def _why_refused(certificate: Certificate) -> str:
    if certificate.verdict == "certified":
        return ""
    attempt = f"attempt {certificate.attempt}, tested at {certificate.error_share:.2g}"
    return f"the export's own certificate was refused ({attempt}): {' '.join(certificate.reasons)}"


def _keep_rows(source: Source, found: Comparison) -> Path:
    path = source.folder.path / "exports" / "differences.jsonl"
    write_whole(path, b"".join(canonical_json(one) + b"\n" for one in found.differences))
    return path
