"""A task has one identity: what changes it is its owner, through `stepdown task` and the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepdown.core.calls import Call
from stepdown.core.tasks import Match, Task
from stepdown.project.discovery import calls_of
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown

WORDS = ["invoice", "parcel", "refund", "login", "password", "delivery", "charge", "account", "card", "order"]
PROMPTS = {
    "sort": ("Classify the letter as one of: praise, complaint.\nLetter: {}\nLabel:", ("praise", "complaint")),
    "urgency": ("Say how urgent this ticket is (low, high).\nTicket: {}\nUrgency:", ("low", "high")),
}


def request(kind: str, number: int, prompt: str = "") -> dict[str, Any]:
    customer = chr(97 + number % 26) + chr(97 + number // 26 % 26)
    text = f"{WORDS[number % 10]} {WORDS[number * 7 % 9]} from customer {customer}"
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": (prompt or PROMPTS[kind][0]).format(text)}],
    }


def call(kind: str, number: int, **more: Any) -> Call:
    """A call as a gateway keeps it; of an earlier version where `workload_id` is a task's name."""
    prompt = more.pop("prompt", "")
    message = {"role": "assistant", "content": PROMPTS[kind][1][number % 2]}
    return Call(
        id=f"{kind}-{number}",
        request=request(kind, number, prompt),
        response={"id": f"r-{kind}-{number}", "model": "gpt-4o-mini", "choices": [{"index": 0, "message": message}]},
        timestamp=1.75e9 + number,
        source="gateway",
        **more,
    )


def keep(home: Path, *calls: Call) -> None:
    with open_home(home).store() as store:
        store.add_calls(calls)


def tasks(home: Path) -> dict[str, int]:
    found = json.loads(stepdown("tasks", "--home", str(home), "--json").out)
    return {one["task"]["name"]: one["calls"] for one in found}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keep(tmp_path, *(call(kind, number) for number in range(300) for kind in PROMPTS))
    return tmp_path


def test_what_a_gateway_matched_stays_with_its_task(home: Path) -> None:
    found = tasks(home)
    assert sorted(found.values()) == [300, 300]
    (name,) = [one for one in found if "letter" in one]
    keep(home, *(call("sort", number, task=name) for number in range(300, 500)))
    keep(home, *(call("sort", number) for number in range(500, 600)))  # Before the gateway knew it.
    keep(home, *(call("sort", number, task=name, workload_id="desk") for number in range(600, 650)))
    assert tasks(home) == {**found, name: 650}
    assert tasks(home) == {**found, name: 650}


def test_a_store_of_an_earlier_version_is_healed(home: Path) -> None:
    """It kept what it matched under the task's name as the workload, and had two tasks of one at the next look."""
    found = tasks(home)
    (name,) = [one for one in found if "letter" in one]
    keep(home, *(call("sort", number, workload_id=name) for number in range(300, 500)))
    assert tasks(home) == {**found, name: 500}
    with open_home(home).store() as store:
        task = store.tasks()[name]
        assert task.template is not None
        twin = f"{name}-{task.template.fingerprint[:6]}"
        by_name = Task(
            name=name, family=task.family, match=Match(workload=name), template=task.template, labels=task.labels
        )
        store.put_task(by_name, 1.0)
        store.put_task(Task(**{**{field: getattr(task, field) for field in task.__struct_fields__}, "name": twin}), 1.0)
        assert set(store.tasks()) == {*found, twin}
    assert stepdown("scan", name, "--home", str(home)).code in (0, 1)
    with open_home(home).store() as store:
        assert set(store.tasks()) == set(found)
        assert sum(1 for _ in calls_of(store, store.tasks()[name])) == 500
    assert tasks(home) == {**found, name: 500}
    status = stepdown("status", "--home", str(home), "--json")
    assert json.loads(status.out)["findings"] == []


def test_a_task_is_renamed_and_keeps_its_calls(home: Path) -> None:
    found = tasks(home)
    (name,) = [one for one in found if "letter" in one]
    said = stepdown("task", "rename", name, "letters", "--home", str(home), "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["calls"] == 300
    keep(home, *(call("sort", number, task=name) for number in range(300, 320)))
    assert tasks(home)["letters"] == 320
    assert name not in tasks(home)
    # Taken, unknown, or no name at all.
    (other,) = set(found) - {name}
    for arguments in (("letters", other), (name, "x"), ("letters", " "), ("letters", "letters")):
        assert stepdown("task", "rename", *arguments, "--home", str(home)).code == 2
    assert "Did you mean 'letters'" in stepdown("task", "rename", "leters", "x", "--home", str(home)).err


def test_settings_name_a_task_by_its_template(home: Path) -> None:
    tasks(home)
    with open_home(home).store() as store:
        (task,) = [task for task in store.tasks().values() if "letter" in task.name]
    settings = home / "stepdown.toml"
    settings.write_text(f'[tasks.letters]\nmatch = {{ template = "{task.match.template[:8]}" }}\n')
    found = tasks(home)
    assert found["letters"] == 300
    assert task.name not in found
    settings.write_text('[tasks.letters]\nmatch = { template = "0123456789" }\n')
    refused = stepdown("scan", "letters", "--home", str(home))
    assert refused.code == 2
    assert "0123456789" in refused.err
    assert task.match.template in refused.err


def test_a_template_in_the_settings_names_a_task_from_the_first(home: Path, tmp_path: Path) -> None:
    """Before anything was looked at."""
    listed = json.loads(stepdown("tasks", "--home", str(home), "--json").out)
    prints = {one["task"]["name"]: one["task"]["match"]["template"] for one in listed}
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    keep(fresh, *(call(kind, number) for number in range(300) for kind in PROMPTS))
    (sort,) = [one for name, one in prints.items() if "letter" in name]
    (fresh / "stepdown.toml").write_text(f'[tasks.letters]\nmatch = {{ template = "{sort}" }}\n')
    scanned = stepdown("scan", "letters", "--home", str(fresh), "--json")
    assert scanned.code in (0, 1), scanned.err
    assert tasks(fresh)["letters"] == 300


def test_settings_of_no_task_and_slices_of_no_call_are_errors(home: Path) -> None:
    found = tasks(home)
    (name,) = [one for one in found if "letter" in one]
    settings = home / "stepdown.toml"
    settings.write_text(f"[tasks.{name}x.contract]\nmargin = 0.1\n")
    for arguments in (
        ("tasks",),
        ("scan", name),
        ("build", name, "--dry-run"),
        ("sample", name, "--out", str(home / "x")),
    ):
        refused = stepdown(*arguments, "--home", str(home))
        assert refused.code == 2, arguments
        assert f"[tasks.{name}]?" in refused.err
    settings.write_text(f'[tasks.{name}.contract]\nslices = ["clientid"]\n')
    refused = stepdown("scan", name, "--home", str(home))
    assert refused.code == 2
    assert "'client_id'" in refused.err
    # One that is still to come is told by how its requests will be.
    settings.write_text(
        f'[tasks.later]\nmatch = {{ workload = "later" }}\n[tasks.{name}.contract]\nslices = ["label"]\n'
    )
    assert stepdown("scan", name, "--home", str(home)).code in (0, 1)


def test_tasks_are_merged_where_their_prompts_are_one(home: Path) -> None:
    found = tasks(home)
    (name,) = [one for one in found if "letter" in one]
    prompt = PROMPTS["sort"][0].replace("the letter", "this letter")
    keep(home, *(call("sort", number, prompt=prompt) for number in range(300, 600)))
    after = tasks(home)
    if len(after) == 2:  # So alike that they were taken for one.
        assert after[name] == 600
        return
    (new,) = set(after) - set(found)
    merged = stepdown("task", "merge", new, name, "--home", str(home), "--json")
    assert merged.code == 0, merged.err
    assert json.loads(merged.out)["calls"] == 600
    assert tasks(home)[name] == 600
    (other,) = set(found) - {name}
    refused = stepdown("task", "merge", other, name, "--home", str(home))
    assert refused.code == 2
    assert "in common" in refused.err


def test_a_task_is_split_by_what_only_some_prompts_say_and_by_workload(home: Path) -> None:
    found = tasks(home)
    (name,) = [one for one in found if "letter" in one]
    formal = PROMPTS["sort"][0].replace("Label:", "Be formal. Label:")
    keep(home, *(call("sort", number, prompt=formal, task=name) for number in range(300, 500)))
    keep(home, *(call("sort", number, task=name, workload_id="desk") for number in range(500, 600)))
    split = stepdown("task", "split", name, "formal", "--containing", "Be formal.", "--home", str(home), "--json")
    assert split.code == 0, split.err
    assert (json.loads(split.out)["calls"], json.loads(split.out)["other_calls"]) == (200, 400)
    split = stepdown("task", "split", name, "desk-letters", "--workload", "desk", "--home", str(home), "--json")
    assert split.code == 0, split.err
    after = tasks(home)
    assert (after[name], after["formal"], after["desk-letters"]) == (300, 200, 100)
    refused = stepdown("task", "split", name, "x", "--containing", "refund", "--home", str(home))
    assert refused.code == 2
    assert "inputs" in refused.err
    assert stepdown("task", "split", name, "x", "--home", str(home)).code == 2


def test_what_was_drawn_is_not_split(home: Path) -> None:
    """Under another name the same calls would be evidence that nobody has looked at."""
    found = tasks(home)
    (name,) = [one for one in found if "letter" in one]
    formal = PROMPTS["sort"][0].replace("Label:", "Be formal. Label:")
    keep(home, *(call("sort", number, prompt=formal, task=name) for number in range(300, 500)))
    drawn = stepdown("sample", name, "--out", str(home / "labels.csv"), "--home", str(home))
    assert drawn.code == 0, drawn.err
    refused = stepdown("task", "split", name, "formal", "--containing", "Be formal.", "--home", str(home))
    assert refused.code == 2
    assert "evidence was drawn for it" in refused.err
    assert "formal" not in tasks(home)


def test_a_table_that_would_hold_nothing_back_is_not_served(home: Path) -> None:
    tasks(home)
    table = '[tasks.sort-leters.contract]\nprivacy = "local-only"\n'
    (home / "stepdown.toml").write_text(table)
    refused = stepdown("serve", "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--home", str(home))
    assert refused.code in (1, 2)
    assert "[tasks.sort-leters], but there is no such task" in refused.err


def test_what_is_imported_without_a_name_is_masked_where_it_fits_a_task_that_is_redacted(home: Path) -> None:
    (name,) = [one for one in tasks(home) if "letter" in one]
    (home / "stepdown.toml").write_text(f'[tasks.{name}.contract]\nprivacy = "redact"\n')
    fitting, other = call("sort", 900), call("urgency", 901)
    for one in (fitting, other):
        one.request["messages"][0]["content"] = one.request["messages"][0]["content"].replace(
            "customer", "ada@example.org"
        )
    path = home / "calls.jsonl"
    path.write_text("".join(json.dumps({"id": one.id, "request": one.request}) + "\n" for one in (fitting, other)))
    assert stepdown("import", str(path), "--home", str(home)).code == 0
    with open_home(home).store() as store:
        kept = {one.id: json.dumps(one.request) for one in store.calls_by_id([fitting.id, other.id])}
    assert "[EMAIL]" in kept[fitting.id]
    assert "ada@example.org" in kept[other.id]


def test_gold_for_every_call_of_a_task_is_known_as_such_beside_chat(home: Path) -> None:
    tasks(home)
    path = home / "gold.csv"
    path.write_text("id,gold\n" + "".join(f"sort-{n},{PROMPTS['sort'][1][n % 2]}\n" for n in range(300)))
    imported = stepdown("import", "--gold", str(path), "--home", str(home), "--json")
    assert json.loads(imported.out)["gold_is"] == {"all": 300}


def test_status_says_what_the_settings_say_of_no_task(home: Path) -> None:
    (name,) = [one for one in tasks(home) if "letter" in one]
    (home / "stepdown.toml").write_text(f"[tasks.{name}s]\n")
    (note,) = [one for one in json.loads(stepdown("status", "--home", str(home), "--json").out)["notes"] if name in one]
    assert f"Did you mean '{name}'?" in note
