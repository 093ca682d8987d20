"""The cache of trained and built fixtures: whole or not at all, checked when taken out, made once by many."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fixture_cache
from tests.fixture_cache import AGE_S, SWITCH, FixtureCache, contents, run_cache

Open = Callable[..., FixtureCache]


def make(folder: Path, text: str = "content", log: str = os.devnull) -> None:
    """Writes a file, a folder, an empty folder and a link, and says so in a log."""
    (folder / "below" / "empty").mkdir(parents=True)
    (folder / "below" / "file").write_text(text)
    (folder / "link").symlink_to("below/file")
    with Path(log).open("a") as file:
        file.write("made\n")


def make_from(folder: Path, source: Path) -> None:
    (folder / "copied").write_bytes((source / "below" / "file").read_bytes())


def fail(folder: Path) -> None:
    (folder / "half").write_text("half")
    raise RuntimeError("stopped half-way")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """A worker's cache: opened("worker", "run")."""

    def open_one(worker: str = "gw0", run: str = "one") -> FixtureCache:
        return FixtureCache(tmp_path / "cache", tmp_path / f"copies-{run}-{worker}", run)

    return open_one


def times_made(log: Path) -> int:
    return log.read_text().count("made")


def entries(tmp_path: Path) -> list[Path]:
    return sorted(path.parent for path in (tmp_path / "cache").glob("*/*/list.json"))


def take(root: str, copies: str, log: str) -> None:
    FixtureCache(Path(root), Path(copies), "one").folder("thing", make, "content", log)


def test_what_was_made_is_taken_by_all_workers_and_later_runs(opened: Open, log: Path) -> None:
    asked = ("thing", make, "content", str(log))
    first, second, later = opened().folder(*asked), opened("gw1").folder(*asked), opened(run="two").folder(*asked)
    assert len({first, second, later}) == 3, "each has its own copy"
    assert contents(first) == contents(second) == contents(later)
    assert (later / "link").read_text() == "content"
    assert (later / "below" / "empty").is_dir()
    assert times_made(log) == 1


def test_workers_that_ask_at_once_make_it_once(tmp_path: Path, log: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    copies = [tmp_path / f"copies-{number}" for number in range(3)]
    workers = [fork.Process(target=take, args=(str(tmp_path / "cache"), str(copy), str(log))) for copy in copies]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert times_made(log) == 1
    assert all(list(copy.glob("thing/*/below/file")) for copy in copies)


def test_what_tests_the_making_is_made_in_its_run_and_serves_the_others(opened: Open, log: Path) -> None:
    asked = ("thing", make, "content", str(log))
    opened().folder(*asked)
    second = opened(run="two")
    second.folder(*asked)
    assert times_made(log) == 1
    second.folder(*asked, fresh=True)
    opened("gw1", run="two").folder(*asked, fresh=True)
    assert times_made(log) == 2


def test_another_argument_or_another_parent_is_another_folder(opened: Open, tmp_path: Path) -> None:
    cache = opened()
    first, second = cache.folder("thing", make, "one"), cache.folder("thing", make, "two")
    children = [cache.folder("child", make_from, parent) for parent in (first, second)]
    assert [(child / "copied").read_text() for child in children] == ["one", "two"]
    (first / "below" / "file").write_text("a test left this here")
    assert cache.folder("child", make_from, first) == children[0], "a parent is known by what was handed out"
    (tmp_path / "below").mkdir()
    for text in ("x", "y"):
        (tmp_path / "below" / "file").write_text(text)
        assert (cache.folder("other", make_from, tmp_path) / "copied").read_text() == text


@pytest.mark.parametrize(
    "harm",
    [
        lambda entry: (entry / "files" / "below" / "file").write_text("else"),
        lambda entry: (entry / "files" / "below" / "file").unlink(),
        lambda entry: (entry / "files" / "more").touch(),
        lambda entry: (entry / "files" / "link").unlink(),
    ],
    ids=["changed", "gone", "more", "link"],
)
def test_an_entry_that_was_changed_is_made_again(
    opened: Open, tmp_path: Path, log: Path, harm: Callable[[Path], object]
) -> None:
    asked = ("thing", make, "content", str(log))
    expected = contents(opened().folder(*asked))
    harm(entries(tmp_path)[0])
    with pytest.warns(UserWarning, match="was changed since it was made"):
        assert contents(opened(run="two").folder(*asked)) == expected
    assert times_made(log) == 2


def test_what_stopped_half_way_is_never_taken(opened: Open, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="half-way"):
            opened().folder("thing", fail)
    assert entries(tmp_path) == []
    opened().folder("thing", make)
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_what_is_old_is_made_again_and_dropped(opened: Open, tmp_path: Path, log: Path) -> None:
    asked = ("thing", make, "content", str(log))
    opened().folder(*asked)
    listed = entries(tmp_path)[0] / "list.json"
    old = time.time() - AGE_S - 1
    listed.write_text(json.dumps({**json.loads(listed.read_bytes()), "made": old}))
    os.utime(listed, (old, old))
    opened(run="two").folder("another", make)
    assert [entry.parent.name for entry in entries(tmp_path)] == ["another"]
    opened(run="three").folder(*asked)
    assert times_made(log) == 2


def test_the_switch_keeps_nothing_for_later_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")
    made = run_cache(tmp_path, "gw0").folder("thing", make)
    assert made.is_relative_to(tmp_path)
    assert entries(tmp_path) == []
    assert [path.parent.parent.name for path in tmp_path.glob("kept/*/*/list.json")] == ["thing"]


def test_what_is_kept_depends_on_the_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = fixture_cache.surroundings()
    for name, value in (("OMP_NUM_THREADS", "7"), ("STEPDOWN_NAMES", "tagger")):
        monkeypatch.setenv(name, value)
        fixture_cache.surroundings.cache_clear()
        assert fixture_cache.surroundings() != known
        monkeypatch.delenv(name, raising=False)
    fixture_cache.surroundings.cache_clear()
