"""stepdown export: a build's students as files that run without stepdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stepdown.build.export import Exported, ExportRequest, export
from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.exports import ExportedRung
from stepdown.project.home import open_home
from stepdown.students.exporter import exporters


@click.command()
@click.argument("task")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
@click.option("--format", "format_name", required=True, help=f"One of: {', '.join(exporters().names())}.")
@click.option("--force", is_flag=True, help="Replace an earlier export in that folder.")
@click.option("--uncertified", is_flag=True, help="Write it even where no certificate speaks of it.")
@common
def command(
    task: str, to: Path, format_name: str, force: bool, uncertified: bool, home: Path | None, console: Console
) -> int:
    """Write the newest build of TASK as models with a short program that runs them, measured and certified again.

    Ends with 1 where the exported models differ from the build, or are not certified, and nothing is written then.
    """
    request = ExportRequest(task, format_name, to, force, uncertified)
    with console.progress() as progress:
        done = export(open_home(home), request, progress)
    console.result(_result(request, done))
    if done.manifest is None:
        where = f" All of them: {done.differences}." if done.differences else ""
        console.note(f"stepdown: {task!r} was not exported: {done.why}.{where} Nothing was written to {to}.")
        return 1
    _show(console, request, done)
    return 0


def _show(console: Console, request: ExportRequest, done: Exported) -> None:
    manifest = done.manifest
    assert manifest is not None
    for rung in manifest.rungs:
        console.say(
            f"{rung.model.kind}: p50 {rung.latency_p50.value * 1e3:.3g} ms, p95 {rung.latency_p95.value * 1e3:.3g} ms"
        )
    console.say(f"Compared on {done.comparison.rows:,} rows: no answer differs. {manifest.size_bytes / 1e6:.1f} MB.")
    console.say(f"Certified: {request.to}" if manifest.verdict == "certified" else f"Not certified: {done.why}.")
    console.say(f"Try: python {request.to / 'run.py'} 'a text'")


def _result(request: ExportRequest, done: Exported) -> dict[str, Any]:
    manifest = done.manifest
    return {
        "task": request.task,
        "folder": str(request.to) if manifest else None,
        "format": request.format,
        "verdict": manifest.verdict if manifest else "refused",
        "why": done.why,
        "rows": done.comparison.rows,
        "drift": done.comparison.drift,
        "differences": done.comparison.differences,
        "files": sorted(manifest.files) if manifest else [],
        "size_mb": manifest.size_bytes / 1e6 if manifest else None,
        "rungs": [_rung(rung) for rung in manifest.rungs] if manifest else [],
        "certificate": manifest.certificate if manifest else "",
    }


def _rung(rung: ExportedRung) -> dict[str, Any]:
    return {
        "kind": rung.model.kind,
        "folder": rung.folder,
        "latency_p50_ms": rung.latency_p50.value * 1e3,
        "latency_p95_ms": rung.latency_p95.value * 1e3,
        "cost_per_1k": rung.cost_per_1k.value,
    }
