"""Probes: inputs with the answers and signals that a student gave where it was built, replayed where it is opened.

A certificate is about a student's answers. Another processor or another version of a library may compute them
otherwise, and no hash of a file can show that; the answers themselves can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from stepdown.core.canonical import canonical_json
from stepdown.core.dataset import Answer
from stepdown.core.errors import DifferentAnswersError, TamperedError
from stepdown.core.inputs import Input, Passage
from stepdown.core.students import Student

PROBES = "probes.json"
COUNT = 64
LONGEST = 1_000
"""Probe inputs are cut at this many characters: any input serves, and a long one would take longer at every start."""
TOLERANCE = 1e-3
"""How far a signal may be from what it was."""
ONE_IN = 32
"""One probe in so many may have signals that are further: other kernels round floats otherwise, and now and then a
number falls on the other side of an int8 step because of that. AVX2 beside AVX-512 did that to 5 of 3,000 rows; int8
sums that saturate did it to 5 of 6."""
_VERSION = 1
_DECIMALS = 6


class Probe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input with the answer to it and the student's signals, in the order of the manifest's `signal_names`.

    input: its text; request, passages: what else it has.
    """

    input: str
    request: Mapping[str, Any] | None = None
    passages: tuple[Passage, ...] = ()
    answer: Answer
    signals: tuple[float, ...]


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """What `probes.json` holds."""

    version: int = _VERSION
    probes: tuple[Probe, ...]


def take_probes(student: Student, inputs: Sequence[Input]) -> Probes:
    """What `student` answers to COUNT different inputs, spread evenly over `inputs` (fewer where there are fewer).

    inputs: of training, as the student was given them. Never of the evidence: probes lie open in the artefact.
    """
    by_text: dict[str, Input] = {}
    for input in inputs:
        text = input.text[:LONGEST]
        by_text.setdefault(text, msgspec.structs.replace(input, text=text))
    different = list(by_text.values())
    places = np.unique(np.linspace(0, len(different) - 1, COUNT).astype(int)).tolist() if different else []
    return Probes(probes=tuple(_probe(student, different[place]) for place in places))


def write_probes(folder: Path, probes: Probes) -> None:
    """Write `probes.json` into an artefact that is sealed afterwards."""
    (folder / PROBES).write_bytes(canonical_json(probes))


def replay_probes(folder: Path, student: Student) -> None:
    """Ask an opened student the probes of its artefact again; an artefact of an older version has none.

    Raises DifferentAnswersError where an answer is another, or more than one probe in ONE_IN has a signal further than
    TOLERANCE from what it was; TamperedError where the probes cannot be read.
    """
    path = folder / PROBES
    if not path.is_file():
        return
    probes = _read(path).probes
    found = [_probe(student, Input(probe.input, probe.request, probe.passages)) for probe in probes]
    answers = sum(
        canonical_json(now.answer) != canonical_json(then.answer) for now, then in zip(found, probes, strict=True)
    )
    distances = [_distance(now.signals, then.signals) for now, then in zip(found, probes, strict=True)]
    moved = sum(not distance <= TOLERANCE for distance in distances)
    if answers or moved > len(probes) // ONE_IN:
        raise DifferentAnswersError(
            f"On this machine the student {student.kind!r} in {folder} answers differently than where it was built: of "
            f"{len(probes)} probe inputs {answers} have another answer and {moved} another signal (by up to "
            f"{max(distances):.2g}).",
            f"Its certificate is about the same answers, with signals within {TOLERANCE:g} on all but one in {ONE_IN}.",
            "Build the task again on this machine.",
        )


def _probe(student: Student, input: Input) -> Probe:
    answer, signals = student.answer(input)
    return Probe(
        input=input.text,
        request=input.request,
        passages=input.passages,
        answer=answer,
        signals=tuple(round(float(signal), _DECIMALS) for signal in signals),
    )


def _distance(now: Sequence[float], then: Sequence[float]) -> float:
    """The largest distance of a signal; infinite where they are not the same signals."""
    if len(now) != len(then):
        return float("inf")
    return max((abs(ours - theirs) for ours, theirs in zip(now, then, strict=True)), default=0.0)


def _read(path: Path) -> Probes:
    try:
        probes = msgspec.json.decode(path.read_bytes(), type=Probes)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TamperedError(
            f"{path} cannot be read ({error}).",
            "It holds inputs with the answers and signals of the student.",
            "Build the student again.",
        ) from None
    return probes
