"""A dataset's manifest: made from what the steps left, written, and read back verified; and the permission to train."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json, digest
from stepdown.core.dataset import SPLITS, DatasetManifest, Example, Excluded, Step
from stepdown.core.errors import InputError, TamperedError
from stepdown.curation.options import CurationOptions

MANIFEST_FILE = "manifest.json"
MOST_BYTES = 64 * 1024 * 1024


class SealedManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest as it lies on disk. files: sha256 by name; seal: sha256 of manifest and files."""

    manifest: DatasetManifest
    files: dict[str, str]
    seal: str


def content_hash(examples: Iterable[Example]) -> str:
    """The sha256 over every example's canonical JSON, one a line."""
    whole = hashlib.sha256()
    for example in examples:
        whole.update(canonical_json(example))
        whole.update(b"\n")
    return whole.hexdigest()


def count_rows(examples: list[Example], excluded: list[Excluded]) -> dict[str, int]:
    """Calls in, examples and exclusions out, and rows per split; "excluded: <reason>" for each reason."""
    splits = Counter(example.split for example in examples)
    reasons = Counter(f"excluded: {exclusion.reason}" for exclusion in excluded)
    totals = {"calls": len(examples) + len(excluded), "examples": len(examples), "excluded": len(excluded)}
    groups = {"groups": len({example.group for example in examples})}
    return {**totals, **groups, **{name: splits[name] for name in SPLITS}, **dict(sorted(reasons.items()))}


def count_gold(examples: list[Example], excluded: list[Excluded], options: CurationOptions) -> dict[str, int]:
    """Labels given, those for calls that are not here, and those on examples of each split."""
    here = {example.id for example in examples} | {exclusion.id for exclusion in excluded}
    with_gold = Counter(example.split for example in examples if example.gold is not None)
    unknown = sum(name not in here for name in options.gold)
    known = {"given": len(options.gold), "for_unknown_calls": unknown, "on_examples": sum(with_gold.values())}
    return {**known, **{name: with_gold[name] for name in SPLITS}}


def name_sources(calls: Mapping[str, int], hashes: Mapping[str, str]) -> tuple[str, ...]:
    """One line per source: its name, how many calls it gave, and its sha256 where the caller knows it."""
    return tuple(
        f"{name or 'unnamed'}: {count} calls" + (f", sha256 {hashes[name]}" if name in hashes else "")
        for name, count in sorted(calls.items())
    )


def write_manifest(path: Path, manifest: DatasetManifest, files: Mapping[str, str]) -> None:
    """Write a manifest with the hashes of the files that lie beside it. Raises OSError."""
    sealed = SealedManifest(manifest=manifest, files=dict(files), seal=_seal(manifest, dict(files)))
    path.write_bytes(_bytes(sealed))


def read_manifest(path: Path) -> tuple[DatasetManifest, dict[str, str]]:
    """A manifest and the hashes of its files.

    Raises InputError when it is missing or is none, TamperedError when it was changed after it was written.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
        sealed = msgspec.json.decode(data, type=SealedManifest)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.", "A dataset folder holds one.", "Build the task again.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        expected = "Expected a dataset's manifest."
        raise TamperedError(f"{path.name} cannot be read ({error}).", expected, "Build the task again.") from None
    if _seal(sealed.manifest, sealed.files) != sealed.seal or _bytes(sealed) != data:
        raise TamperedError(
            f"{path.name} was changed after it was written.",
            "Its seal is the hash of its content.",
            "Restore it, or build the task again.",
        )
    return sealed.manifest, sealed.files


def _bytes(sealed: SealedManifest) -> bytes:
    return msgspec.json.format(canonical_json(sealed), indent=2) + b"\n"


def _seal(manifest: DatasetManifest, files: dict[str, str]) -> str:
    whole: dict[str, Any] = {"manifest": manifest, "files": files}
    return digest(canonical_json(whole))


def make_manifest(
    task: str,
    examples: list[Example],
    excluded: list[Excluded],
    steps: list[Step],
    options: CurationOptions,
    origin: tuple[tuple[str, ...], str],
) -> DatasetManifest:
    """The manifest of a dataset. origin: its sources, and the permission to train on the incumbent's outputs."""
    targets = (
        example.gold if example.gold is not None else example.incumbent
        for example in examples
        if example.split == "train"
    )
    return DatasetManifest(
        task=task,
        content_hash=content_hash(examples),
        sources=origin[0],
        counts=count_rows(examples, excluded),
        gold_counts=count_gold(examples, excluded, options),
        labels=tuple(sorted({options.slice_of(answer) for answer in targets if answer is not None})),
        steps=tuple(steps),
        permission=origin[1],
        seed=options.seed,
    )


_TERMS: tuple[tuple[str, str], ...] = (
    (r"(?:^|/)(?:gpt-oss)", "gpt-oss is published under Apache-2.0, which sets no condition on outputs"),
    (
        r"(?:^|/)(?:gpt-|o\d|chatgpt|text-davinci)",
        "OpenAI's terms restrict using output to develop models that compete with OpenAI, with an exception for "
        "models that classify or organise data and are not distributed",
    ),
    (r"claude", "Anthropic's commercial terms forbid building competing products, training competing models included"),
    (r"gemini", "Google's Gemini API terms forbid developing models that compete with it"),
    (r"gemma", "the Gemma terms reach models trained on Gemma's outputs"),
    (r"llama", "the Llama licence asks that models trained on its outputs carry Llama in their name"),
    (r"(?:^|/)(?:qwen|qwq)", "most Qwen weights are published under Apache-2.0, which sets no condition on outputs"),
    (r"deepseek", "DeepSeek's MIT-licensed weights allow distillation"),
)


def state_permission(stated: str, models: Iterable[str]) -> str:
    """The permission to train: as the user states it, or "not stated" with the terms of the models that answered.

    A hint to look up the terms in force with whoever serves the model; no legal advice.
    """
    if stated.strip():
        return stated.strip()
    hints = {hint for model in models for pattern, hint in _TERMS if re.search(pattern, model.casefold())}
    known = "; ".join(sorted(hints)) or "no terms are known for these models"
    return f"not stated ({known}; check the terms in force)"
