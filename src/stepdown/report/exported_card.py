"""The model card of an export: what was exported first, then the card of the build that it came from."""

from __future__ import annotations

from stepdown.core.certificate import Certificate
from stepdown.core.exports import ExportedRung, ExportManifest
from stepdown.core.record import BuildRecord
from stepdown.core.statement import statement
from stepdown.report.format import MEGABYTES, SECONDS, USD, count, hash_head, quantity, show
from stepdown.report.model_card import escape_markdown, render_model_card


def render_exported_card(
    record: BuildRecord, manifest: ExportManifest, certificate: Certificate | None, note: str = ""
) -> str:
    """The card. certificate: the export's own, a refusal too, or None where none was tried. note: on where the build
    comes from."""
    title, _, rest = render_model_card(record, note).partition("\n\n")
    lines = [f"{title}, exported to {escape_markdown(manifest.format)}", "", *_standing(manifest, certificate), ""]
    lines += ["## What was exported", "", "| rung | parent | this model | latency p50 | p95 | cost per 1,000 |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: |", *(_row(rung) for rung in manifest.rungs), ""]
    comparison = manifest.comparison
    lines += [
        f"- Compared with the build it came from on {count(comparison.rows)} rows: every answer is the same, and no "
        f"confidence moved by more than {comparison.drift:.1e}.",
        f"- Size: {quantity(manifest.size_bytes / 1e6, MEGABYTES)}. It needs {', '.join(manifest.requires)}.",
        "- Latencies are of single answers on one thread, by `run.py`'s own code in a process of its own.",
        "",
        "## The build it came from",
        "",
    ]
    return "\n".join(lines) + "\n" + rest


def _standing(manifest: ExportManifest, certificate: Certificate | None) -> list[str]:
    if manifest.verdict != "certified" or certificate is None:
        why = escape_markdown(manifest.why_uncertified)
        return [
            f"**No certificate speaks of these files:** {why}. What follows about the build does not make up for it."
        ]
    return [
        f"**Certified.** {escape_markdown(statement(certificate))} Certificate `{hash_head(certificate.digest)}`, "
        "beside this file."
    ]


def _row(rung: ExportedRung) -> str:
    model = rung.model
    shown = [show(each, unit) for each, unit in ((rung.latency_p50, SECONDS), (rung.latency_p95, SECONDS))]
    cost = show(rung.cost_per_1k, USD)
    figures = [each.value if each else "" for each in (*shown, cost)]
    cells = [escape_markdown(model.kind), f"`{hash_head(model.parent)}`", f"`{hash_head(model.digest)}`", *figures]
    return f"| {' | '.join(cells)} |"
