"""stepdown import-build: a folder of another project answers here, and nothing but a whole, honest one does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from stepdown.certificate.files import read_certificate, write_certificate
from stepdown.core.canonical import canonical_json, digest
from stepdown.core.draw import ATTEMPTED
from stepdown.core.events import Event
from stepdown.project.builds import BuildFolder
from stepdown.project.home import open_home
from stepdown.project.issuance import Issuance, read_issuance
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK
from tests.gateway.serving import SETTINGS, sure

TEXT, LABEL = sure()


def run(home: Path, *arguments: str) -> Said:
    return stepdown(*arguments, "--home", str(home), "--json")


def built(home: Path) -> Path:
    return next(home.glob(f".stepdown/builds/{TASK}/0*"))


@pytest.fixture
def copy(certified: Path, tmp_path: Path) -> Path:
    """The build's folder as it came from another machine, under another name."""
    shutil.copytree(built(certified), tmp_path / "from elsewhere")
    return tmp_path / "from elsewhere"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def everything(home: Path) -> dict[str, bytes]:
    """Every file of a project but locks."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", "-wal", "-shm"))
    }


def test_in_an_empty_home_it_verifies_and_answers(certified: Path, copy: Path, home: Path) -> None:
    original = read_certificate(built(certified) / "certificate.json")
    done = run(home, "import-build", str(copy))
    assert done.code == 0, done.err
    issued = read_issuance(BuildFolder(copy)).built
    assert done.json["task"] == TASK
    assert done.json["build"] == built(certified).name
    assert done.json["certificate"] == original.digest
    assert (done.json["changed"], done.json["in_force"], done.json["contract_written"]) == (True, True, True)
    imported = done.json["imported"]
    assert (imported["event"], imported["head"], imported["attempt"]) == (issued.sequence, issued.digest, 1)
    shutil.rmtree(copy)
    assert run(home, "answer", TASK, TEXT).json["answer"] == LABEL
    verified = run(home, "certificate", "verify", TASK)
    assert verified.code == 0, verified.err
    assert verified.json["verified"]
    (status,) = run(home, "status").json["tasks"]
    assert (status["in_force"], status["imported"]) == (True, imported)
    assert "imported" in stepdown("status", "--home", str(home)).out
    shown = run(home, "certificate", "show", TASK).json
    assert (shown["in_force"], shown["imported"], shown["attempt"]) == (True, imported, original.attempt)
    assert "another project's journal" in stepdown("certificate", "show", TASK, "--home", str(home)).out
    report = run(home, "report", TASK)
    assert (report.code, report.json["in_force"], report.json["imported"]) == (0, True, imported)
    (listed,) = run(home, "builds", TASK).json
    assert (listed["answers"], listed["imported"]) == (True, imported)
    assert run(home, "audit", "verify").code == 0
    contract = open_home(home).settings.task(TASK).contract
    assert contract == open_home(certified).settings.task(TASK).contract


def test_a_repetition_changes_nothing_and_says_so(copy: Path, home: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    assert run(home, "report", TASK).code == 0
    before = everything(home)
    again = run(home, "import-build", str(copy))
    assert (again.code, again.json["changed"], again.json["in_force"]) == (0, False, True)
    assert "already" in stepdown("import-build", str(copy), "--home", str(home)).out
    assert everything(home) == before


def test_an_imported_folder_can_be_imported_from_there(copy: Path, home: Path, tmp_path: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    third = tmp_path / "third"
    third.mkdir()
    done = run(third, "import-build", str(built(home)))
    assert (done.code, done.json["in_force"]) == (0, True), done.err
    assert done.json["imported"]["head"] == read_issuance(BuildFolder(copy)).built.digest


def test_in_its_own_project_it_is_here_already(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "own"
    shutil.copytree(certified, home)
    done = run(home, "import-build", str(built(home)))
    assert (done.code, done.json["changed"], done.json["imported"]) == (0, False, None), done.err


def test_what_is_gone_or_damaged_comes_back_by_importing_again(copy: Path, home: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    artefact = next((home / ".stepdown" / "artefacts").iterdir())
    largest = max(artefact.iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"x")
    assert run(home, "import-build", str(built(home))).code == 1
    assert run(home, "import-build", str(copy)).json["in_force"]
    assert run(home, "import-build", str(built(home))).code == 0
    shutil.rmtree(built(home))
    assert run(home, "status").json["tasks"][0]["in_force"] is False
    again = run(home, "import-build", str(copy)).json
    assert (again["changed"], again["in_force"]) == (True, True)


def test_the_attempts_elsewhere_count_here(copy: Path, home: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    with open_home(home).store() as store:
        (spent,) = (event.data for event in store.events(ATTEMPTED))
        assert (spent["attempt"], spent["others"]) == (1, 0)
        assert [event.kind for event in store.events("build-imported")] == ["build-imported"]


def test_the_settings_of_this_project_decide(copy: Path, home: Path) -> None:
    (home / "stepdown.toml").write_text(f"[tasks.{TASK}.contract]\nmargin = 0.01\n")
    done = run(home, "import-build", str(copy))
    assert (done.code, done.json["in_force"], done.json["contract_written"]) == (0, False, False)
    assert "margin = 0.05" in done.json["why_not"]
    assert (home / "stepdown.toml").read_text() == f"[tasks.{TASK}.contract]\nmargin = 0.01\n"
    (home / "stepdown.toml").write_text(SETTINGS)
    assert "nobody promoted it" in run(home, "status").json["tasks"][0]["stands"]
    assert run(home, "promote", TASK, built(home).name).code == 0
    assert run(home, "status").json["tasks"][0]["in_force"]


def test_a_build_of_this_project_goes_on_answering_for_its_own_contract(certified: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        shutil.copytree(certified, folder)
    made = run(other, "build", TASK, "--kinds", "linear", "--budget", "40s", "--margin", "0.5")
    assert made.code == 0, made.err
    settings, before = (own / "stepdown.toml").read_bytes(), built(own).name
    done = run(own, "import-build", str(other / f".stepdown/builds/{TASK}" / made.json["build"]))
    assert (done.code, done.json["in_force"], done.json["contract_written"]) == (0, False, False)
    assert (own / "stepdown.toml").read_bytes() == settings
    (task,) = run(own, "status").json["tasks"]
    assert (task["in_force"], task["build"]) == (True, before)


def test_a_newest_build_that_no_file_names_is_found(copy: Path, home: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    (home / f".stepdown/builds/{TASK}/latest").unlink()
    assert run(home, "certificate", "show", TASK).code == 0
    assert not run(home, "import-build", str(copy)).json["changed"]
    assert (home / f".stepdown/builds/{TASK}/latest").exists()


def test_what_the_settings_say_otherwise_stays(copy: Path, home: Path) -> None:
    said = '# mine\nstore = ""\n\n[tasks.other.contract]\nmargin = 0.03'
    (home / "stepdown.toml").write_text(said)
    assert run(home, "import-build", str(copy)).json["in_force"]
    assert (home / "stepdown.toml").read_text().startswith(said + "\n")


def test_settings_that_cannot_be_added_to_are_said(copy: Path, home: Path) -> None:
    (home / "stepdown.toml").write_text("tasks = {}\n")
    done = run(home, "import-build", str(copy))
    assert done.code == 2
    assert "margin = 0.05" in done.err
    assert (home / "stepdown.toml").read_text() == "tasks = {}\n"
    assert not (home / ".stepdown" / "builds").exists() or not list(home.glob(".stepdown/builds/*/0*"))


def test_it_takes_the_place_of_what_answered_and_a_rollback_takes_it_back(
    certified: Path, home: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(certified, other)
    assert run(other, "build", TASK, "--kinds", "linear", "--budget", "40s", "--seed", "5").code == 0
    first, second = sorted(other.glob(f".stepdown/builds/{TASK}/0*"))
    assert run(home, "import-build", str(second)).json["before"] == ""
    assert run(home, "import-build", str(first)).json["before"] == second.name
    assert run(home, "status").json["tasks"][0]["build"] == first.name
    assert run(home, "rollback", TASK).json["build"] == second.name
    assert run(home, "status").json["tasks"][0]["in_force"]


# What is refused: each changes a copy so that something in it does not hold.


def flip(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(folder.glob(name))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    return change


def without(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(folder.glob(name))
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def added(name: str, data: bytes = b"{}") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return change


def link_out(folder: Path) -> None:
    (folder / "task.json").rename(folder.parent / "task.json")
    (folder / "task.json").symlink_to(folder.parent / "task.json")


def folder_link_out(folder: Path) -> None:
    (folder / "dataset").rename(folder.parent / "dataset")
    (folder / "dataset").symlink_to(folder.parent / "dataset")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")


def many_files(folder: Path) -> None:
    for number in range(2_100):
        (folder / f"{number}.txt").touch()


def events_of(folder: Path, change: Callable[[dict[str, Any]], None], seals: bool = True) -> None:
    """Change the data of the event that built it, and make its hash fit."""
    known = read_issuance(BuildFolder(folder))
    data = json.loads(json.dumps(known.built.data))
    change(data)
    event = msgspec.structs.replace(known.built, data=data)
    write_issuance(folder, msgspec.structs.replace(known, built=event.sealed() if seals else event))


def write_issuance(folder: Path, issuance: Issuance) -> None:
    (folder / "issued.json").write_bytes(canonical_json(issuance))


def forged(folder: Path, **fields: Any) -> None:
    """A certificate that says something else, with every hash of it made to fit."""
    path = folder / "certificate.json"
    certificate = msgspec.structs.replace(read_certificate(path), **fields)
    write_certificate(path, certificate)
    record = json.loads((folder / "record.json").read_bytes())
    record["certificate"] = msgspec.to_builtins(certificate)
    (folder / "record.json").write_bytes(canonical_json(record))
    name = f"{int(record['created_at'] * 1000):015d}-{certificate.digest[:8]}"
    hashes = BuildFolder(folder).hashes()
    events_of(folder, lambda data: data.update(certificate=certificate.digest, build=name, files=hashes))


def rewritten(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    events_of(folder, lambda known: known["files"].update({name: digest(data)}))


def another_task(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_bytes())
    task["name"] = "../../evil"
    rewritten(folder, "task.json", canonical_json(task))


def template(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        name = "response-template.json"
        rewritten(folder, name, canonical_json({**json.loads((folder / name).read_bytes()), **fields}))

    return change


def bomb(folder: Path) -> None:
    """A small file that is large once it is unpacked."""
    packed = zstandard.ZstdCompressor(level=3)
    zeros = bytes(1 << 20)
    with (folder / "dataset" / "examples.jsonl.zst").open("wb") as raw, packed.stream_writer(raw) as out:
        for _ in range(4_200):
            out.write(zeros)
    hashes = BuildFolder(folder).hashes()
    events_of(folder, lambda data: data.update(files=hashes))


def kept(event: str, value: Event | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        known = read_issuance(BuildFolder(folder))
        write_issuance(folder, msgspec.structs.replace(known, **{event: value}))

    return change


def later_version(folder: Path) -> None:
    known = json.loads((folder / "issued.json").read_bytes())
    (folder / "issued.json").write_bytes(canonical_json({**known, "version": 2}))


def second_attempt(folder: Path) -> None:
    """Attempt and event both say the second, and the error share does not."""
    known = read_issuance(BuildFolder(folder))
    assert known.attempted is not None
    data = {**known.attempted.data, "attempt": 2}
    attempted = msgspec.structs.replace(known.attempted, data=data).sealed()
    write_issuance(folder, msgspec.structs.replace(known, attempted=attempted))
    forged(folder, attempt=2)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a changed certificate": (flip("certificate.json"), "certificate"),
    "changed evidence": (flip("evidence.jsonl"), "evidence.jsonl"),
    "a changed template": (flip("response-template.json"), "response-template.json"),
    "a changed cascade": (flip("cascade.json"), "cascade.json"),
    "a changed record": (flip("record.json"), "record.json"),
    "a changed dataset": (flip("dataset/examples.jsonl.zst"), "examples.jsonl.zst"),
    "a changed student": (flip("artefacts/*/*.safetensors"), "manifest"),
    "a changed manifest": (flip("artefacts/*/manifest.json"), "manifest"),
    "a changed event": (lambda folder: events_of(folder, lambda data: data.update(seed=7), seals=False), "hash"),
    "no students": (without("artefacts"), "artefacts"),
    "a student that lacks a file": (without("artefacts/*/*.safetensors"), "manifest"),
    "no template": (without("response-template.json"), "response-template.json"),
    "no evidence": (without("evidence.jsonl"), "evidence.jsonl"),
    "no dataset": (without("dataset"), "dataset"),
    "no word of the journal": (without("issued.json"), "earlier version"),
    "no attempt": (kept("attempted", None), "attempt"),
    "no draw": (kept("drawn", None), "draw"),
    "a later version": (later_version, "version 2"),
    "a file more": (added("more.json"), "more.json"),
    "a program": (added("run.py", b"raise SystemExit"), "run.py"),
    "a student more": (added(f"artefacts/{'a' * 64}/x.json"), "artefacts"),
    "a program beside a student": (
        lambda folder: (next(folder.glob("artefacts/*")) / "x.py").write_bytes(b""),  # type: ignore[dict-item]
        "x.py",
    ),
    "a link": (link_out, "symbolic link"),
    "a folder that is a link": (folder_link_out, "symbolic link"),
    "a pipe": (pipe, "plain file"),
    "many files": (many_files, "files"),
    "no JSON": (lambda folder: rewritten(folder, "task.json", b"\xff"), "task.json"),
    "deep JSON": (lambda folder: rewritten(folder, "task.json", b"[" * 200_000), "task.json"),
    "another task, sealed": (another_task, "task"),
    "another build's name, sealed": (
        lambda folder: events_of(folder, lambda data: data.update(build="../../evil")),
        "name",
    ),
    "a file outside, sealed": (
        lambda folder: events_of(folder, lambda data: data["files"].update({"../../evil": "0" * 64})),
        "evil",
    ),
    "a longer life, sealed": (lambda folder: forged(folder, expires_at=4e9), "expires_at"),
    "a larger offload, sealed": (lambda folder: forged(folder, offload=0.999), "offload"),
    "a refusal that says certified, sealed": (lambda folder: forged(folder, reasons=("x",)), "reasons"),
    "a refusal, sealed": (lambda folder: forged(folder, verdict="refused"), "refused"),
    "an attempt more": (second_attempt, "error share"),
    "a bomb": (bomb, "unpacked"),
    "endless tokens, sealed": (template(completion_tokens_per_character=1e308), "template"),
    "fewer than no tokens, sealed": (template(prompt_tokens_per_character=-5.0), "template"),
    "a price without end, sealed": (template(cost_usd=1e300), "template"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_hold_is_refused_and_nothing_changes(copy: Path, home: Path, what: str) -> None:
    change, said = REFUSED[what]
    change(copy)
    (home / "stepdown.toml").write_text('store = ""\n')
    done = run(home, "import-build", str(copy))
    assert done.code == 1, (done.out, done.err)
    assert said in done.err
    assert "mistake in stepdown" not in done.err
    assert (home / "stepdown.toml").read_text() == 'store = ""\n'
    assert not list(home.glob(".stepdown/builds/*/*"))
    assert not list(home.glob(".stepdown/*unfinished"))
    assert not list(home.glob(".stepdown/artefacts/*"))
    assert run(home, "status").json["tasks"] == []


def test_pages_are_drawn_here_and_not_taken_over(copy: Path, home: Path, tmp_path: Path) -> None:
    (copy / "report.html").write_text("<script>alert(1)</script>")
    (copy / "model-card.md").unlink()
    assert run(home, "import-build", str(copy)).code == 0
    page = (built(home) / "report.html").read_text()
    assert "<script>" not in page
    assert "another project&#39;s journal issued it" in page
    assert (built(home) / "model-card.md").stat().st_size
    assert run(home, "report", TASK).code == 0
    assert (built(home) / "report.html").read_text() == page
    third = tmp_path / "third"
    third.mkdir()
    assert run(third, "import-build", str(built(home))).code == 0


def test_another_build_of_that_name_stays(copy: Path, home: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    there = built(home)
    flip("record.json")(there)
    before = everything(home)
    done = run(home, "import-build", str(copy))
    assert done.code == 1
    assert "other content" in done.err
    assert everything(home) == before


def test_what_is_no_build_is_said(certified: Path, home: Path, tmp_path: Path) -> None:
    for folder in (certified, tmp_path):
        done = run(home, "import-build", str(folder))
        assert done.code == 2
        assert ".stepdown/builds/TASK" in done.err
    exported = tmp_path / "exported"
    assert run(certified, "export", TASK, "--to", str(exported), "--format", "safetensors").code == 0
    assert run(home, "import-build", str(exported)).code == 1


def test_a_certificate_that_lapsed_is_refused(copy: Path, home: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from dataclasses import replace\n"
        "from stepdown.project.home import open_home\nfrom stepdown.project.import_build import import_build\n"
        "home = replace(open_home(sys.argv[1]), clock=lambda: time.time() + 40 * 86400)\n"
        "import_build(home, Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(home), str(copy)], check=False, capture_output=True, text=True
    )
    assert "does not hold now" in done.stderr


def test_students_are_linked_and_not_kept_twice(copy: Path, home: Path) -> None:
    assert run(home, "import-build", str(copy)).code == 0
    own = list(built(home).glob("artefacts/*/*"))
    assert own
    for path in own:
        assert path.samefile(home / ".stepdown" / "artefacts" / path.parent.name / path.name)


def test_a_build_links_its_students(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(certified, home)
    assert run(home, "build", TASK, "--kinds", "linear", "--budget", "40s", "--seed", "7").code == 0
    newest = max(home.glob(f".stepdown/builds/{TASK}/0*"))
    for path in newest.glob("artefacts/*/*"):
        assert path.samefile(home / ".stepdown" / "artefacts" / path.parent.name / path.name)
    assert read_issuance(BuildFolder(newest)).built.data["build"] == newest.name
