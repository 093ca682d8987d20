"""Probes: taken where a student is built, replayed where it is opened."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import DifferentAnswersError, TamperedError
from stepdown.core.inputs import Input, inputs_of
from stepdown.runtime.artefact import open_student, read_manifest
from stepdown.runtime.probes import (
    COUNT,
    LONGEST,
    ONE_IN,
    PROBES,
    TOLERANCE,
    Probe,
    Probes,
    replay_probes,
    take_probes,
    write_probes,
)
from stepdown.students.artefact import seal
from stepdown.students.fit import FitContext, fit_ladder
from stepdown.students.kinds import linear
from stepdown.students.ladder import PlannedStudent
from stepdown.students.tiny_task import tiny_task

pytestmark = pytest.mark.slow

pytest.importorskip("scipy", reason="training needs the extra 'train'")

PLAN = PlannedStudent("linear", linear.Options(), 5.0, None, "the cheapest")


class Echo:
    """A student that answers with the text itself."""

    kind = "echo"
    signal_names = ("top",)

    def answer(self, input: Input) -> tuple[str, tuple[float, ...]]:
        return input.text, (1.0 / 3.0,)


def fitting(home: Path) -> FitContext:
    return FitContext(home / "work", home / "artefacts", home, 1, 1, lambda what, share: None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_ladder([PLAN], tiny_task(), fitting(tmp_path_factory.mktemp("built"))).students[0].folder


@pytest.fixture
def artefact(built: Path, tmp_path: Path) -> Path:
    """A copy whose folder is not named by its hash, so that it may be changed and sealed again."""
    return Path(shutil.copytree(built, tmp_path / "artefact"))


def probes_of(folder: Path) -> Sequence[Probe]:
    return msgspec.json.decode((folder / PROBES).read_bytes(), type=Probes).probes


def write(folder: Path, content: bytes) -> None:
    manifest = read_manifest(folder)
    (folder / PROBES).write_bytes(content)
    seal(folder, manifest)


def change(folder: Path, count: int = 1, **fields: object) -> None:
    """Other first probes, as if the student had answered so where it was built."""
    probes = probes_of(folder)
    changed = [msgspec.structs.replace(probe, **fields) for probe in probes[:count]]
    write(folder, canonical_json(Probes(probes=(*changed, *probes[count:]))))


def test_every_artefact_of_a_build_has_probes(built: Path) -> None:
    assert PROBES in read_manifest(built).files
    probes = probes_of(built)
    assert len(probes) == COUNT
    assert {probe.input for probe in probes} <= set(tiny_task().texts)
    student = open_student(built)
    for probe in probes:
        answer, signals = student.answer(Input(probe.input))
        assert (answer, len(signals)) == (probe.answer, len(probe.signals))
        assert signals == pytest.approx(probe.signals, abs=1e-6)


def test_the_same_seed_gives_the_same_probes(built: Path, tmp_path: Path) -> None:
    again = fit_ladder([PLAN], tiny_task(), fitting(tmp_path)).students[0]
    assert again.manifest.digest == built.name


def test_inputs_are_spread_over_different_texts_and_cut() -> None:
    texts = [f"text {number // 2}" for number in range(2_000)]
    inputs = [probe.input for probe in take_probes(Echo(), inputs_of(texts)).probes]
    assert (len(inputs), len(set(inputs)), inputs[0], inputs[-1]) == (COUNT, COUNT, "text 0", "text 999")
    few = take_probes(Echo(), inputs_of(["a", "a", "b" * 5_000])).probes
    assert [len(probe.input) for probe in few] == [1, LONGEST]
    assert few[0].signals == (0.333333,)
    assert take_probes(Echo(), []).probes == ()


def test_another_answer_is_refused_and_counted(artefact: Path) -> None:
    change(artefact, answer="something else")
    with pytest.raises(DifferentAnswersError, match=f"of {COUNT} probe inputs 1 have another answer and 0 another"):
        open_student(artefact)


def moved(folder: Path, by: float) -> None:
    """Every probe's first signal was another by `by` where the student was built."""
    probes = probes_of(folder)
    changed = [msgspec.structs.replace(one, signals=(one.signals[0] + by, *one.signals[1:])) for one in probes]
    write(folder, canonical_json(Probes(probes=tuple(changed))))


def test_signals_may_move_by_the_tolerance_and_no_further(artefact: Path) -> None:
    moved(artefact, 0.9 * TOLERANCE)
    open_student(artefact)
    moved(artefact, 0.2 * TOLERANCE)
    with pytest.raises(DifferentAnswersError, match=f"0 have another answer and {COUNT} another signal"):
        open_student(artefact)


def test_few_probes_may_have_other_signals(artefact: Path) -> None:
    few = COUNT // ONE_IN
    change(artefact, few, signals=())
    open_student(artefact)
    change(artefact, few + 1, signals=())
    with pytest.raises(DifferentAnswersError, match=f"{few + 1} another signal"):
        open_student(artefact)


def test_an_artefact_without_probes_opens(artefact: Path) -> None:
    manifest = read_manifest(artefact)
    (artefact / PROBES).unlink()
    seal(artefact, manifest)
    assert open_student(artefact).answer(Input("can I borrow two comics"))[0]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"probes": [1]}', b"[" * 100_000])
def test_probes_that_cannot_be_read_are_refused(artefact: Path, content: bytes) -> None:
    write(artefact, content)
    with pytest.raises(TamperedError, match=r"probes\.json"):
        open_student(artefact)


def test_a_build_does_not_reuse_a_student_that_answers_differently_here(tmp_path: Path) -> None:
    """As in a home copied from another machine: what was finished there is trained again."""
    first = fit_ladder([PLAN], tiny_task(), fitting(tmp_path)).students[0]
    moved = tmp_path / "moved"
    first.folder.rename(moved)
    change(moved, answer="something else")
    there = moved.rename(tmp_path / "artefacts" / read_manifest(moved).digest)
    note = next((tmp_path / "work" / "finished").glob("*.json"))
    note.write_bytes(note.read_bytes().replace(first.folder.name.encode(), there.name.encode()))
    again = fit_ladder([PLAN], tiny_task(), fitting(tmp_path)).students[0]
    assert not again.reused
    assert again.folder.name == first.folder.name


class LastMessage(Echo):
    """The same with the last message of a request."""

    def answer(self, input: Input) -> tuple[str, tuple[float, ...]]:
        return str(input.messages[-1]["content"]), (1.0 / 3.0,)


def test_a_probe_holds_all_that_the_student_read(tmp_path: Path) -> None:
    asked = [Input(f"{n}", {"messages": [{"role": "user", "content": f"letter {n}"}]}) for n in range(3)]
    write_probes(tmp_path, take_probes(LastMessage(), [*asked, asked[0]]))
    assert [probe.answer for probe in probes_of(tmp_path)] == ["letter 0", "letter 1", "letter 2"]
    replay_probes(tmp_path, LastMessage())
    with pytest.raises(DifferentAnswersError):
        replay_probes(tmp_path, Echo())
