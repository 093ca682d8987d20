"""The ranker as a graph: rows of n-grams for what is chosen, rows of what is seen of candidates for what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.students.encoders.tag_layout import layout_of
from stepdown.students.exporter import Export
from stepdown.students.exports._forms import STAND_INS, form_in, packages
from stepdown.students.exports._writing import Writing
from stepdown.students.form_files import FORM

PROGRAM = "stepdown.students.programs.ranker"
NGRAMS, RANKS = "ngrams", "ranks"
_LAST = 2**62


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """Sums in the graph; reading candidates and choosing among them are modules that serve. Raises MissingExtra."""
    from safetensors.numpy import load_file

    form, roles = form_in(folder)
    layout = layout_of(form, roles)
    copied = [role for role in roles if role.role == "copied"]
    files = {name: (folder / name).read_bytes() for name in (FORM, f"{RANKS}.json")}
    graph = Writing("places", "Exporting a ranker")
    outputs: dict[str, list[int | str]] = {}
    counts = [graph.between("places", [place], [place + 1]) for place in range(2)]
    after_ngrams = graph.node("Add", graph.shared([2]), counts[0])
    if layout.groups:
        files[f"{NGRAMS}.json"] = (folder / f"{NGRAMS}.json").read_bytes()
        arrays = load_file(folder / f"{NGRAMS}.safetensors")
        table = graph.rounded_table("ngrams", arrays["weights"], arrays["scales"])
        graph.normed_sum(table, arrays["squares"], arrays["bias"], graph.between("places", [2], after_ngrams))
        outputs["logits"] = [layout.labels]
    if copied:
        arrays = load_file(folder / f"{RANKS}.safetensors")
        # A row of zeros at the end fills candidates up of which less is seen than of others.
        values = np.concatenate([arrays["weights"], np.zeros((1, arrays["weights"].shape[1]), dtype=np.int8)])
        scales = np.concatenate([arrays["scales"], np.ones(1, dtype=np.float32)])
        ranks = graph.rounded_table("ranks", values, scales)
        shape = graph.node("Concat", graph.shared([-1]), counts[1], axis=0)
        rows = graph.node("Reshape", graph.between("places", after_ngrams, [_LAST]), shape)
        seen = graph.rows_at(ranks, rows)
        graph.node("ReduceSum", seen, graph.weight("of_candidate", np.array([1])), keepdims=0, output="scores")
        outputs["scores"] = ["candidates", len(copied)]
    return Export(
        graph=graph.serialised(outputs),
        program=PROGRAM,
        files=files,
        settings={"max_characters": int(manifest.options["max_characters"])},
        stand_ins=STAND_INS,
        requires=packages(folder),
    )
