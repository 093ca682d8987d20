"""The tasks that a gateway serves, look by look, on builds that nothing was trained for."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.project.written_builds import BORN, DAY, SETTINGS, TASK, at, enter, project, write_build

from stepdown.core.calls import Call
from stepdown.core.keys import Key
from stepdown.core.tasks import MessageTemplate, Part, Template
from stepdown.gateway.cascades import RungThreads
from stepdown.gateway.served import ServedTask
from stepdown.project.builds import BuildFolder
from stepdown.project.home import Home
from stepdown.project.promote import promote, roll_back
from stepdown.project.response_template import freeze
from stepdown.serve.served_tasks import ServedTasks

NAME = TASK.name


def call(number: int, **fields: object) -> Call:
    messages = [{"role": "user", "content": f"ticket {number}"}]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ab"[number % 2]}}
    response = {"id": "r", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    request = {"model": "m", "messages": messages}
    return Call(id=f"c{number}", timestamp=BORN, workload_id=NAME, request=request, response=response, **fields)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = project(tmp_path)
    with found.store() as store:
        store.add_calls(call(number) for number in range(20))
        store.put_task(TASK, BORN)
    return found


@pytest.fixture
def threads() -> Iterator[RungThreads]:
    loop = asyncio.new_event_loop()
    made = RungThreads(loop)
    yield made
    made.close()
    loop.close()


class Looks:
    """One gateway's looks at a project."""

    def __init__(self, home: Home, threads: RungThreads) -> None:
        self.home, self._tasks = home, ServedTasks(home, threads)

    def look(self) -> dict[str, ServedTask] | None:
        """None where nothing has changed."""
        with self.home.store() as store:
            found = self._tasks.look(store)
        return None if found is None else {one.name: one for one in found}

    def task(self) -> ServedTask:
        found = self.look()
        assert found is not None, "nothing has changed"
        return found[NAME]


@pytest.fixture
def looks(home: Home, threads: RungThreads) -> Looks:
    return Looks(home, threads)


def build(home: Home, number: int = 0, **changes: object) -> BuildFolder:
    """A build with the template of the recorded answers, as the last stage of a build writes it."""
    folder = write_build(home, number, known=False, **changes)
    with home.store() as store:
        folder.template.write_bytes(freeze(TASK, store, folder.read_record()))
    certificate = folder.read_certificate()
    serves = certificate.verdict == "certified" and certificate.contract["margin"] == 0.05
    enter(home, folder, certificate, serves)
    return folder


def settings(home: Home, text: str) -> None:
    """Write stepdown.toml so that it is seen to be another file, whatever the clock's grain."""
    path = home.folder / "stepdown.toml"
    path.write_text(text)
    stamp = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(stamp, stamp))


def test_a_task_that_was_never_built_is_served_by_the_incumbent(looks: Looks) -> None:
    found = looks.task()
    assert (found.decide, found.why_not, found.workload) == (None, "not built", NAME)


def test_a_look_tells_what_changed_and_nothing_where_nothing_did(home: Home, looks: Looks) -> None:
    folder = build(home)
    found = looks.task()
    assert found.is_in_force(BORN + DAY)
    assert (found.build, found.certificate) == (folder.path.name, folder.read_certificate().digest)
    assert (found.valid_from, found.valid_until) == (BORN, BORN + 30 * DAY)
    assert found.template is not None
    assert looks.look() is None
    second = build(home, 1)
    assert looks.task().build == second.path.name
    promote(home, NAME, folder.path.name)
    assert looks.task().build == folder.path.name
    roll_back(home, NAME)
    assert looks.task().build == second.path.name
    assert looks.look() is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"verdict": "refused"}, "the certificate was refused"),
        ({"expires_at": BORN + 1}, "the certificate lapsed on 2027-01-15"),
        ({"margin": 0.2}, "the certificate is for another contract"),
    ],
)
def test_what_is_not_in_force_is_left_to_the_incumbent_with_the_reason(
    home: Home, looks: Looks, changes: dict[str, object], why: str
) -> None:
    build(home, **changes)
    found = looks.task()
    assert found.decide is None
    assert found.why_not.startswith(why)


def test_a_certificate_whose_time_comes_is_opened_then(home: Home, threads: RungThreads) -> None:
    now = [BORN - DAY]
    build(home)
    looks = Looks(replace(home, clock=lambda: now[0]), threads)
    assert looks.task().why_not == "the certificate is not in force yet; check the clock"
    now[0] = BORN + DAY
    assert looks.task().is_in_force(now[0])
    now[0] = BORN + 31 * DAY
    assert looks.task().why_not.startswith("the certificate lapsed")


@pytest.mark.parametrize("name", ["task.json", "cascade.json", "certificate.json", "record.json"])
def test_a_build_that_is_damaged_while_it_serves_is_said_and_the_others_are_served(
    home: Home, looks: Looks, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = build(home)
    settings(home, SETTINGS + "[tasks.other]\n")
    assert looks.task().is_in_force(BORN + DAY)
    with caplog.at_level(logging.ERROR, "stepdown.gateway"):
        (folder.path / name).write_bytes(b"somebody's secret")
        found = looks.look()
    assert found is not None
    assert found.keys() == {NAME, "other"}
    assert found[NAME].decide is None
    assert found[NAME].why_not
    assert "secret" not in caplog.text
    assert [record.message for record in caplog.records] == ["task_not_read"] * len(caplog.records)


def test_a_build_that_goes_and_comes_back_serves_again(home: Home, looks: Looks, tmp_path: Path) -> None:
    folder = build(home)
    assert looks.task().is_in_force(BORN + DAY)
    shutil.move(folder.path, tmp_path / "backup")
    assert looks.task().why_not == "the build is not here"
    shutil.move(tmp_path / "backup", folder.path)
    assert looks.task().is_in_force(BORN + DAY)


def test_settings_are_read_again_and_a_file_that_cannot_be_changes_nothing(
    home: Home, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    build(home)
    assert looks.task().cache_s == 0.0
    settings(home, SETTINGS + "holdback = 0.2\n[tasks.tickets]\ncache = '5m'\nincumbent = 'gpt'\n")
    found = looks.task()
    assert (found.holdback, found.cache_s, found.incumbent) == (0.2, 300.0, "gpt")
    settings(home, "[tasks.tickets.contract]\nmargin = \n")
    assert looks.look() is None
    assert "settings_not_read" in [record.message for record in caplog.records]
    settings(home, SETTINGS.replace("0.05", "0.01"))
    assert "another contract" in looks.task().why_not


def test_no_task_becomes_less_private_while_a_gateway_runs(
    home: Home, threads: RungThreads, caplog: pytest.LogCaptureFixture
) -> None:
    settings(home, SETTINGS + 'privacy = "local-only"\n')
    looks = Looks(at(home, BORN + DAY), threads)
    assert looks.task().privacy == "local-only"
    for text in ("", SETTINGS + 'privacy = "any"\n'):
        settings(home, text)
        looks.look()
        assert "privacy_not_loosened" in [record.message for record in caplog.records]
        with looks.home.store() as store:
            (found,) = ServedTasks(looks.home, threads).look(store) or ()
        assert found.privacy == "local-only"
    settings(home, SETTINGS + 'privacy = "redact"\n')
    assert Looks(at(home, BORN + DAY), threads).task().privacy == "redact", "a restart takes them as they are"


def test_a_key_for_one_task_alone_is_bounded_by_what_others_asked(home: Home, looks: Looks) -> None:
    parts = (Part(text="ticket "), Part(slot="number"))
    template = Template(messages=(MessageTemplate(role="user", parts=parts),))
    with home.store() as store:
        store.put_task(msgspec.structs.replace(TASK, template=template), BORN)
    assert not looks.task().recorded.models
    key = Key(id="k1", name="own", digest="00" * 32, prefix="sd-", created_at=BORN, tasks=(NAME,))
    with home.store() as store:
        store.put_key(key)
    found = looks.task()
    assert (found.recorded.models, found.recorded.longest) == ({"m"}, len("19"))
    with home.store() as store:
        store.add_calls(call(number, client_id="k1") for number in range(100, 105))
    assert looks.look() is None
