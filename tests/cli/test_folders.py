"""What left the project is checked where it lies: exports by their program too, and copied builds."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stepdown.runtime.artefact import sha256
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK
from tests.gateway.serving import sure

pytest.importorskip("onnx", reason="exporting needs the extra 'train'")


@pytest.fixture(scope="module")
def project(certified: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been exported, to `out` beside it."""
    home = tmp_path_factory.mktemp("project") / "home"
    shutil.copytree(certified, home)
    out = str(home.parent / "out")
    done = stepdown("export", TASK, "--to", out, "--format", "safetensors", "--home", str(home))
    assert done.code == 0, done.err
    return home


@pytest.fixture
def exported(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project.parent / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def copied_build(project: Path, tmp_path: Path) -> Path:
    (build,) = project.glob(f".stepdown/builds/{TASK}/0*")
    shutil.copytree(build, tmp_path / "build")
    return tmp_path / "build"


def program(folder: Path, *arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """run.py in a process of its own; without: a package that is not installed there."""
    blocked = f"import sys; sys.modules[{without!r}] = None; " if without else "import sys; "
    start = f"{blocked}sys.argv = sys.argv[1:]; import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", start, str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def verify(folder: Path | str, *more: str) -> Said:
    return stepdown("certificate", "verify", str(folder), "--json", *more)


def flip(path: Path) -> None:
    """A letter in the middle becomes another; the last digit of a number could be changed and its value stay."""
    data = bytearray(path.read_bytes())
    data[next(at for at in range(len(data) // 2, len(data)) if chr(data[at]).isalpha())] ^= 1
    path.write_bytes(bytes(data))


def test_an_export_verifies_wherever_it_is_copied(
    project: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported.parent)
    for name in (exported, "out", "./out"):
        said = verify(name)
        assert said.code == 0, said.err
        assert (said.json["kind"], said.json["verified"], said.json["recomputed"]) == ("export", True, False)
        assert (said.json["task"], said.json["verdict"], said.json["lapsed"]) == (TASK, "certified", False)
    (evidence,) = project.glob(f".stepdown/builds/{TASK}/0*/exports/*.evidence.jsonl")
    again = verify(exported, "--evidence", str(evidence))
    assert (again.code, again.json["recomputed"], again.json["not_checked"]) == (0, True, [])
    (other,) = project.glob(f".stepdown/builds/{TASK}/0*/evidence.jsonl")
    assert verify(exported, "--evidence", str(other)).code == 1, "that of its parent is not its own"
    shown = stepdown("certificate", "verify", str(exported)).out
    assert "nothing recomputed: the evidence is not here" in shown


HARMED = [
    "1-linear/weights.safetensors",
    "1-linear/ngrams.json",
    "1-linear/manifest.json",
    "run.py",
    "stepdown/__init__.py",
    "stepdown/runtime/kinds/linear.py",
    "cascade.json",
    "certificate.json",
]
HARMED += ["requirements.txt", "model-card.md", "manifest.json"]


@pytest.mark.parametrize("harm", [flip, Path.unlink])
@pytest.mark.parametrize("name", HARMED)
def test_what_is_not_as_it_was_exported_is_named_and_does_not_run(
    exported: Path, name: str, harm: Callable[[Path], None]
) -> None:
    if (name, harm) == ("manifest.json", flip):
        return  # its figures are not sealed; what it says of files is seen
    harm(exported / name)
    said = verify(exported)
    assert (said.code, said.json.get("verified", False)) == (1, False)
    assert name in said.out or name == "manifest.json"
    if name == "run.py":
        return  # it cannot speak for itself
    ran = program(exported, sure()[0])
    assert (ran.returncode, ran.stdout) == (1, "")
    assert name in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_manifest_that_is_cut_off(exported: Path) -> None:
    (exported / "manifest.json").write_bytes((exported / "manifest.json").read_bytes()[:-40])
    assert verify(exported).code == 1
    ran = program(exported, sure()[0])
    assert (ran.returncode, "manifest.json" in ran.stderr, "Traceback" in ran.stderr) == (1, True, False)


def test_thresholds_that_were_changed_with_their_hashes(exported: Path) -> None:
    """The program cannot see it; the certificate does."""
    said = json.loads((exported / "cascade.json").read_bytes())
    said["rungs"][0]["threshold"] = 0.0
    (exported / "cascade.json").write_text(json.dumps(said))
    manifest = json.loads((exported / "manifest.json").read_bytes())
    manifest["files"]["cascade.json"] = sha256(exported / "cascade.json")
    (exported / "manifest.json").write_text(json.dumps(manifest))
    assert program(exported, sure()[0]).returncode == 0
    found = verify(exported)
    assert found.code == 1
    assert [one["name"] for one in found.json["checks"] if not one["passed"]] == ["cascade that is run"]


ADDED = ["numpy.py", "json.py", "hashlib.py", "numpy/__init__.py", "stepdown/json.py", "stepdown/core/errors.pyc"]
ADDED += ["stepdown/runtime/kinds/other.py", "stepdown/core.py", "stepdown/students/__init__.py", "stepdown/core/a.so"]
ADDED += ["stepdown/__pycache__/json.py"]


@pytest.mark.parametrize("place", ADDED)
def test_code_that_was_added_is_not_loaded(exported: Path, place: str) -> None:
    (exported / place).parent.mkdir(exist_ok=True)
    (exported / place).write_text("raise SystemExit('loaded')")
    ran = program(exported, sure()[0])
    assert (ran.returncode, "is no part of this export" in ran.stderr) == (1, True), ran.stderr
    said = verify(exported)
    assert said.code == 1
    assert any(place in one["name"] for one in said.json["checks"] if not one["passed"])


def test_bytecode_that_was_added_is_not_run(exported: Path) -> None:
    """Python would take it for that of the source beside it: it has its time and its size."""
    source = exported / "stepdown" / "runtime" / "kinds" / "linear.py"
    code = compile(source.read_text() + "\nprint('loaded')", str(source), "exec")
    known = source.stat()
    cached = Path(importlib.util.cache_from_source(str(source)))
    cached.parent.mkdir()
    head = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(known.st_mtime), known.st_size)
    cached.write_bytes(head + marshal.dumps(code))
    ran = program(exported, sure()[0])
    assert ran.returncode == 0, ran.stderr
    assert "loaded" not in ran.stdout
    assert verify(exported).code == 1


def test_a_linked_folder_of_code_is_not_loaded(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "__init__.py").write_text("raise SystemExit('loaded')")
    for place in ("numpy", "stepdown/students"):
        (exported / place).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        ran = program(exported, sure()[0])
        assert (ran.returncode, "is no part of this export" in ran.stderr) == (1, True), ran.stderr
        (exported / place).unlink()
    assert program(exported, sure()[0]).returncode == 0


@pytest.mark.parametrize("place", ["safetensors/numpy.py", "msgspec/json.py"])
def test_a_folder_of_code_beside_the_program_stands_in_for_no_package(exported: Path, place: str) -> None:
    """The folder itself is never searched for code, whether or not the package is installed."""
    (exported / place).parent.mkdir()
    (exported / place).write_text("raise SystemExit('loaded')")
    package = place.partition("/")[0]
    ran = program(exported, sure()[0], without=package)
    assert (ran.returncode, ran.stdout, "loaded" in ran.stderr) == (1, "", False)
    assert program(exported, sure()[0]).returncode == 0
    assert verify(exported).code == 1


def test_another_program_may_load_it_beside_no_other_stepdown(exported: Path) -> None:
    """As docs/export.md says: in a process of its own."""
    load = f"import sys; sys.path.insert(0, {str(exported)!r}); import run; "
    ask = f"print(run.load().answer({sure()[0]!r})['rung'])"
    alone = subprocess.run([sys.executable, "-I", "-B", "-c", load + ask], capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stdout) == (0, "linear\n"), alone.stderr
    beside = subprocess.run(
        [sys.executable, "-c", "import stepdown; " + load + ask], capture_output=True, text=True, check=False
    )
    assert beside.returncode == 1
    assert "in a process of its own" in beside.stderr


def test_requirements_and_what_is_missing(exported: Path) -> None:
    lines = (exported / "requirements.txt").read_text().splitlines()
    needed = json.loads((exported / "manifest.json").read_bytes())["requires"]
    assert [line.partition("==")[0] for line in lines[1:]] == needed
    assert all("==" in line and "+" not in line for line in lines[1:])
    for package in needed:
        if package == "tokenizers":
            continue  # not what this one loads
        ran = program(exported, sure()[0], without=package)
        assert (ran.returncode, ran.stdout) == (1, ""), package
        assert f"pip install -r {exported / 'requirements.txt'}" in ran.stderr
        assert package in ran.stderr
        assert "Traceback" not in ran.stderr
    absent = program(exported, "--file", str(exported / "absent.jsonl"))
    assert (absent.returncode, "Traceback" in absent.stderr) == (1, False)


def test_a_run_leaves_nothing_behind(exported: Path) -> None:
    before = sorted(path.as_posix() for path in exported.rglob("*"))
    assert program(exported, sure()[0]).returncode == 0
    assert verify(exported).code == 0
    assert sorted(path.as_posix() for path in exported.rglob("*")) == before


def test_a_copied_build_is_recomputed(copied_build: Path) -> None:
    said = verify(copied_build)
    assert said.code == 0, said.err
    assert (said.json["kind"], said.json["recomputed"]) == ("build", True)
    assert not any("students" in one for one in said.json["not_checked"])
    assert any("journal" in one for one in said.json["not_checked"])


@pytest.mark.parametrize("name", ["evidence.jsonl", "cascade.json", "certificate.json", "dataset/manifest.json"])
def test_a_copied_build_that_was_changed(copied_build: Path, name: str) -> None:
    flip(copied_build / name)
    said = verify(copied_build)
    assert (said.code, said.json["verified"]) == (1, False)


def test_a_field_that_no_certificate_has_is_a_change(copied_build: Path) -> None:
    path = copied_build / "certificate.json"
    path.write_bytes(path.read_bytes().replace(b'"largest_unit"', b'"largest_unis"'))
    said = verify(copied_build)
    assert (said.code, said.json["verified"]) == (1, False)


def test_a_build_in_its_project_has_its_students_checked(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(project, home)
    (build,) = home.glob(f".stepdown/builds/{TASK}/0*")
    assert not any("students" in one for one in verify(build).json["not_checked"])
    shutil.rmtree(home / ".stepdown/artefacts")
    (home / ".stepdown/artefacts").mkdir()
    assert verify(build).code == 1


def test_folders_that_are_neither(project: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    said = verify(empty)
    assert (said.code, said.json["error"]["kind"]) == (2, "UsageError")
    asked = verify(project)
    assert (asked.code, f"verify TASK --home {project}" in asked.err) == (2, True)
    assert verify(tmp_path / "absent").code == 1
    for content in (b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"files": 3}', b'{"files": {"../x": "y"}}'):
        (empty / "manifest.json").write_bytes(content)
        assert verify(empty).code == 1, content
    (empty / "manifest.json").unlink()
    for content in (b"", b"[]", b"\xff", b"[" * 100_000):
        (empty / "certificate.json").write_bytes(content)
        assert verify(empty).code == 1, content
    assert verify(TASK, "--evidence", str(empty / "certificate.json"), "--home", str(project)).code == 2
    assert verify(empty, "--build", "x").code == 2


def test_an_export_without_a_certificate_does_not_verify(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(project, home)
    (home / "stepdown.toml").write_text("[tasks.tickets.contract]\nmargin = 0.04\n")
    options = ("--format", "safetensors", "--uncertified", "--home", str(home))
    assert stepdown("export", TASK, "--to", str(tmp_path / "bare"), *options).code == 0
    said = verify(tmp_path / "bare")
    assert said.code == 1
    assert "it was exported without one" in said.out
    assert program(tmp_path / "bare", sure()[0]).returncode == 0


def test_folders_that_can_only_be_read(project: Path, exported: Path, copied_build: Path) -> None:
    """A whole project too: on a mount that takes no writing, where this machine lets us make one."""
    root = exported.parent
    shutil.copytree(project, root / "home")
    mount = f"mount --bind {root} {root} && mount -o remount,ro,bind {root}"
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "sh", "-c", mount], check=False).returncode:
        pytest.skip("needs the right to mount")
    python = f"{sys.executable} -m stepdown"
    for command in (
        f"{python} certificate verify {exported}",
        f"{python} certificate verify {copied_build}",
        f"{python} certificate verify {TASK} --home {root / 'home'}",
        f"{python} status --home {root / 'home'}",
        f"{python} answer {TASK} refund --home {root / 'home'}",
        f"{sys.executable} {exported / 'run.py'} refund",
    ):
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"{mount} && {command}"], capture_output=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
    refused = f"{mount} && {python} rollback {TASK} --home {root / 'home'}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", refused], capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
