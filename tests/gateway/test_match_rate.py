"""Requests that are no longer known as a task's are an alarm: in the log, in the metrics, in `status`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from stepdown.core.store import ServedHour, Store
from stepdown.gateway.match_rate import match_rate_collapses
from stepdown.project.home import open_home
from stepdown.stores.store import open_store
from tests.cli.conftest import stepdown
from tests.gateway.serving import serving
from tests.gateway.waiting import wait_until as until

HOUR = 500_000
NOW = HOUR * 3600.0 + 900


def traffic(store: Store, hour: int, **requests: int) -> None:
    store.add_served(
        [
            ServedHour(hour=hour, task=task.replace("none", ""), rung="incumbent", requests=count)
            for task, count in requests.items()
        ]
    )


@pytest.fixture
def store() -> Store:
    opened = open_store("memory:")
    for hour in range(HOUR - 30, HOUR - 1):
        traffic(opened, hour, letters=40, tickets=50, none=10)
    return opened


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"letters": 40, "tickets": 50, "none": 10}, []),
        ({"letters": 1, "tickets": 50, "none": 49}, ["letters"]),
        ({"letters": 0, "tickets": 0, "none": 100}, ["letters", "tickets"]),
        ({"letters": 20, "tickets": 50, "none": 30}, []),  # Half of it is still known.
        ({"letters": 0, "tickets": 90, "none": 10}, []),  # Nobody asks for it any more.
        ({"letters": 0, "tickets": 5, "none": 5}, []),  # Too few to tell.
        ({}, []),
    ],
)
def test_what_a_task_lost_and_nobody_won(store: Store, now: dict[str, int], expected: list[str]) -> None:
    if now:
        traffic(store, HOUR, **now)
    assert [one.task for one in match_rate_collapses(store, NOW)] == expected


def test_a_new_task_and_an_empty_store_are_no_alarm() -> None:
    store = open_store("memory:")
    assert match_rate_collapses(store, NOW) == []
    traffic(store, HOUR - 5, letters=10)
    traffic(store, HOUR, none=100)
    assert match_rate_collapses(store, NOW) == []


def test_a_collapse_is_told_in_the_log_the_metrics_and_the_status(tmp_path: Path) -> None:
    hour = int(time.time() // 3600)
    with open_home(tmp_path).store() as store:
        traffic(store, hour - 10, letters=400, none=100)
        traffic(store, hour, letters=1, none=300)
    status = json.loads(stepdown("status", "--home", str(tmp_path), "--json").out)
    (alarm,) = status["alarms"]
    assert "letters: its share of the requests fell from 80.0% to 0.3%" in alarm
    assert "ALARM letters" in stepdown("status", "--home", str(tmp_path)).out
    with serving(tmp_path, "--upstream", "http://127.0.0.1:9/v1") as gateway:

        def shown() -> bool:
            return 'stepdown_match_rate_collapsed{task="letters"} 1' in gateway.client.get("/metrics").text

        until(shown)
        assert '"event":"match_rate_collapsed"' in gateway.log.replace(" ", "")
