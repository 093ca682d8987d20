"""The CRF student as a graph: rows of n-grams for what is chosen, rows of word patterns for what is copied."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.core.students import ArtefactManifest
from stepdown.students.encoders.tag_layout import Layout, layout_of
from stepdown.students.exporter import Export
from stepdown.students.exports._forms import STAND_INS, form_in, packages
from stepdown.students.exports._writing import Writing
from stepdown.students.form_files import FORM
from stepdown.students.patterns.patterns import choice_feature

PROGRAM = "stepdown.students.programs.crf"
NGRAMS, PATTERNS = "ngrams", "patterns"
_LAST = 2**62


def export(folder: Path, manifest: ArtefactManifest) -> Export:
    """Sums in the graph; the chain of tags and the reading of it are modules that serve. Raises MissingExtra."""
    from safetensors.numpy import load_file

    layout = layout_of(*form_in(folder))
    files = {FORM: (folder / FORM).read_bytes()}
    graph = Writing("places", "Exporting a CRF student")
    outputs: dict[str, list[int | str]] = {}
    counts = [graph.between("places", [place], [place + 1]) for place in range(3)]
    after_ngrams = graph.node("Add", graph.shared([3]), counts[0])
    after_whole = graph.node("Add", after_ngrams, counts[1])
    if layout.groups:
        files[f"{NGRAMS}.json"] = (folder / f"{NGRAMS}.json").read_bytes()
        _logits(graph, load_file(folder / f"{NGRAMS}.safetensors"), graph.between("places", [3], after_ngrams))
        outputs["logits"] = [layout.labels]
    if layout.copied:
        files[f"{PATTERNS}.json"] = (folder / f"{PATTERNS}.json").read_bytes()
        arrays = load_file(folder / f"{PATTERNS}.safetensors")
        files["transitions.npy"] = _npy(arrays["transitions"])
        names = json.loads(files[f"{PATTERNS}.json"])["names"]
        whole, each = graph.between("places", after_ngrams, after_whole), graph.between("places", after_whole, [_LAST])
        shape = graph.node("Concat", graph.shared([-1]), counts[2], axis=0)
        rows = graph.node("Reshape", each, shape)
        _scores(graph, layout, names, arrays, (whole, rows))
        outputs["scores"] = ["tokens", layout.tags]
    return Export(
        graph=graph.serialised(outputs),
        program=PROGRAM,
        files=files,
        settings={"max_tokens": int(manifest.options["max_tokens"])},
        stand_ins=STAND_INS,
        requires=packages(folder),
    )


def _logits(graph: Writing, arrays: dict[str, Any], places: str) -> None:
    """logits = Σ rows / √Σ squares + bias, as in `exports/linear.py`."""
    table = graph.rounded_table("ngrams", arrays["weights"], arrays["scales"])
    graph.normed_sum(table, arrays["squares"], arrays["bias"], places)


def _scores(graph: Writing, layout: Layout, names: list[str], arrays: dict[str, Any], places: tuple[str, str]) -> None:
    """Σ rows of a token + Σ rows of the whole text + what the closed fields' choices say, by their probability."""
    # A row of zeros at the end fills tokens up that have fewer patterns than others.
    values = np.concatenate([arrays["weights"], np.zeros((1, layout.tags), dtype=np.int8)])
    scales = np.concatenate([arrays["scales"], np.ones(1, dtype=np.float32)])
    table = graph.rounded_table("patterns", values, scales)
    whole, rows = places
    own = graph.node("ReduceSum", graph.rows_at(table, rows), graph.weight("of_token", np.array([1])), keepdims=0)
    every = graph.node("ReduceSum", graph.rows_at(table, whole), graph.weight("of_text", np.array([0])), keepdims=1)
    if not layout.single:
        graph.node("Add", own, every, output="scores")
        return
    found = [
        graph.node("Softmax", graph.between("logits", [group.start], [group.start + group.size]), axis=0)
        for group in layout.single
    ]
    chances = graph.node("Concat", *found, axis=0)
    ids = {name: place for place, name in enumerate(names)}
    chosen = [
        ids.get(choice_feature(group.field, choice), len(names))
        for group in layout.single
        for choice in range(group.size)
    ]
    choices = graph.rows_at(table, graph.weight("choices", np.array(chosen, dtype=np.int64)))
    said = graph.node("MatMul", chances, choices)
    graph.node("Add", graph.node("Add", own, every), said, output="scores")


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
