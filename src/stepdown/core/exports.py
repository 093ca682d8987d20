"""An export: a certified cascade as files that run without stepdown. What its manifests say, and how it compared."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from stepdown.core.canonical import digest_of, without_younger
from stepdown.core.dataset import Answer
from stepdown.core.estimates import Estimate

MANIFEST = "manifest.json"
"""The file of an exported folder that lists the others by hash."""

Why = Literal["another answer", "across its threshold", "another confidence"]


class ExportedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One exported student: its kind, the artefact it was made from, and the sha256 of every file that it runs on.

    files: by their path in the export; where `program` is named, its own by their path in its folder. facts: what the
    format says of itself (graph, opset). program: in exports of earlier versions the module in `models/` that runs it.
    """

    version: int = 1
    kind: str
    parent: str
    format: str
    program: str = ""
    signal_names: tuple[str, ...]
    files: dict[str, str]
    requires: tuple[str, ...]
    facts: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """The exported model's own hash, as certificates name it."""
        return digest_of(without_younger(self, ("program",)))


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A row on which an exported model is not its parent. confidences: calibrated, the threshold in between or not."""

    id: str
    split: str
    kind: str
    parent: Answer
    exported: Answer
    parent_confidence: float
    exported_confidence: float
    why: Why


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How an export compared with its parent. drift: the largest difference of a confidence on any row."""

    rows: int
    drift: float
    differences: tuple[Difference, ...] = ()


class ExportedRung(msgspec.Struct, frozen=True, kw_only=True):
    """A rung of an export, in its folder ("." where it is the only one). Latencies are of single answers, in s."""

    folder: str
    model: ExportedModel
    latency_p50: Estimate
    latency_p95: Estimate
    cost_per_1k: Estimate


class ExportManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The `manifest.json` at the top of an export. files: sha256 by relative path, this file left out.

    verdict: "certified" where certificate.json beside it speaks of these very files. parents: hashes of the cascade and
    the certificate of the build. requires: packages that `run.py` needs; versions: those that were there when measured.
    """

    made_by: str = "stepdown export"
    version: int = 1
    task: str
    family: str
    format: str
    verdict: Literal["certified", "uncertified"]
    why_uncertified: str = ""
    rungs: tuple[ExportedRung, ...]
    comparison: Comparison
    parents: dict[str, str]
    certificate: str = ""
    cascade: str = ""
    requires: tuple[str, ...]
    versions: dict[str, str]
    size_bytes: int
    files: dict[str, str]
    created_at: float
