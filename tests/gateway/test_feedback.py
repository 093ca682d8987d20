"""POST /v1/feedback: what turned out to be right becomes gold, what was only judged a verdict."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepdown.core.store import Gold, GoldBasis, Verdict
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import LargeModel, Says
from tests.gateway.serving import SETTINGS, Gateway, copied, kept, serving, soon, sure, unsure

SURE, LABEL = sure()


def answer(gateway: Gateway, upstream: LargeModel, text: str = "", name: str = "") -> httpx.Response:
    """A ticket that the incumbent answers with "refund", kept."""
    if name:
        said = json.dumps({"category": "refund", "confidence": 0.9})
        message = {"role": "assistant", "content": said}
        body = {"id": name, "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
        upstream.then(Says(json.dumps(body).encode()))
    got = gateway.ask(text or unsure())
    assert got.status_code == 200
    kept(gateway.home, got.headers["x-stepdown-id"])
    return got


def tell(gateway: Gateway, **feedback: Any) -> httpx.Response:
    return gateway.client.post("/v1/feedback", json=feedback)


def gold_of(gateway: Gateway, name: str) -> Gold | None:
    with open_home(gateway.home).store() as store:
        return store.gold().get(name)


def verdicts_of(gateway: Gateway, name: str) -> list[Verdict]:
    with open_home(gateway.home).store() as store:
        return [verdict for verdict in store.verdicts() if verdict.id == name]


def test_gold_by_the_header_and_by_the_answers_own_id(gateway: Gateway, upstream: LargeModel) -> None:
    for number, by_header in enumerate((True, False)):
        got = answer(gateway, upstream, name=f"chatcmpl-gold-{number}")
        ours = got.headers["x-stepdown-id"]
        said = tell(gateway, id=ours if by_header else got.json()["id"], gold=" shipping ", source="desk")
        assert said.status_code == 200, said.text
        assert said.json()["became"] == "gold"
        gold = gold_of(gateway, ours)
        assert gold is not None
        assert (gold.gold, gold.source, gold.basis) == ("shipping", "feedback:", "volunteered")


def test_gold_for_what_a_student_answered(gateway: Gateway, upstream: LargeModel) -> None:
    got = answer(gateway, upstream, SURE)
    assert got.headers["x-stepdown-rung"] == "linear"
    assert tell(gateway, id=got.json()["id"], gold="praise").json()["became"] == "gold"
    gold = gold_of(gateway, got.headers["x-stepdown-id"])
    assert gold is not None
    assert gold.gold == "praise"


def test_an_accepted_answer_becomes_gold(gateway: Gateway, upstream: LargeModel) -> None:
    got = answer(gateway, upstream, name="chatcmpl-accepted")
    assert tell(gateway, id="chatcmpl-accepted", accepted=True).json()["became"] == "gold"
    gold = gold_of(gateway, got.headers["x-stepdown-id"])
    assert gold is not None
    assert gold.gold == "refund"


@pytest.mark.parametrize("basis", ["", "drawn", "random-sample", "all"])
def test_feedback_replaces_no_gold_that_was_not_volunteered(
    gateway: Gateway, upstream: LargeModel, basis: GoldBasis
) -> None:
    name = answer(gateway, upstream).headers["x-stepdown-id"]
    trusted = Gold(id=name, gold="shipping", source="labels.csv", basis=basis)
    with open_home(gateway.home).store() as store:
        store.add_gold([trusted])
    said = tell(gateway, id=name, gold="praise")
    assert said.status_code == 409
    assert said.json()["error"]["code"] == "gold_exists"
    assert gold_of(gateway, name) == trusted
    assert tell(gateway, id=name, gold=" shipping").json()["became"] == "gold", "it says the same"
    assert gold_of(gateway, name) == trusted
    assert tell(gateway, id=name, accepted=False).json()["became"] == "verdict"
    assert len(verdicts_of(gateway, name)) == 1


def test_an_id_that_calls_that_differ_share_names_none_of_them(gateway: Gateway, upstream: LargeModel) -> None:
    name = "chatcmpl-shared"
    first, second = (answer(gateway, upstream, unsure(number), name).headers["x-stepdown-id"] for number in (1, 2))
    got = tell(gateway, id=name, gold="praise")
    assert got.status_code == 409
    assert got.json()["error"]["code"] == "several_calls"
    assert first in got.json()["error"]["message"]
    assert second in got.json()["error"]["message"]
    assert gold_of(gateway, first) is None
    assert gold_of(gateway, second) is None
    assert tell(gateway, id=first, gold="praise").status_code == 200
    assert gold_of(gateway, second) is None


def test_an_id_that_equal_calls_share_names_the_newest(gateway: Gateway, upstream: LargeModel) -> None:
    name = "chatcmpl-repeated"
    first, second = (answer(gateway, upstream, name=name).headers["x-stepdown-id"] for _ in range(2))
    assert tell(gateway, id=name, gold="praise").json()["became"] == "gold"
    assert gold_of(gateway, first) is None
    assert gold_of(gateway, second) is not None


def test_feedback_corrects_feedback(gateway: Gateway, upstream: LargeModel) -> None:
    name = answer(gateway, upstream).headers["x-stepdown-id"]
    for value in ("praise", "refund"):
        assert tell(gateway, id=name, gold=value).status_code == 200
        gold = gold_of(gateway, name)
        assert gold is not None
        assert (gold.gold, gold.basis) == (value, "volunteered")
    with open_home(gateway.home).store() as store:
        store.add_gold([Gold(id=name, gold="account", basis="drawn")])
    assert gold_of(gateway, name) == Gold(id=name, gold="account", basis="drawn")


@pytest.mark.parametrize(("feedback", "loss"), [({"accepted": False}, 1.0), ({"score": 0.25}, 0.75), ({"score": 1}, 0)])
def test_a_judgement_becomes_a_verdict(
    gateway: Gateway, upstream: LargeModel, feedback: dict[str, Any], loss: float
) -> None:
    incumbents = answer(gateway, upstream).headers["x-stepdown-id"]
    students = answer(gateway, upstream, SURE).headers["x-stepdown-id"]
    for name, said in ((incumbents, None), (students, LABEL)):
        assert tell(gateway, id=name, **feedback).json()["became"] == "verdict"
        (verdict,) = verdicts_of(gateway, name)
        assert (verdict.loss, verdict.answer) == (loss, said)
        assert gold_of(gateway, name) is None


@pytest.mark.parametrize(
    ("feedback", "status", "code"),
    [
        ({"id": "no-such", "gold": "refund"}, 404, "unknown_call"),
        ({"id": "CALL", "gold": {"category": "refund"}}, 422, "invalid_gold"),
        ({"id": "CALL", "gold": ""}, 422, "invalid_gold"),
        ({"id": "CALL", "gold": None}, 422, "invalid_gold"),
        ({"id": "CALL"}, 400, "invalid_feedback"),
        ({"id": "CALL", "gold": "refund", "score": 1}, 400, "invalid_feedback"),
        ({"id": "CALL", "score": 1.5}, 400, "invalid_feedback"),
        ({"id": "CALL", "score": "1"}, 400, "invalid_feedback"),
        ({"id": "CALL", "accepted": 1}, 400, "invalid_feedback"),
        ({"id": "CALL", "golden": 1}, 400, "invalid_feedback"),
        ({"id": "", "score": 1}, 400, "invalid_feedback"),
        ({"id": "x" * 600, "score": 1}, 400, "invalid_feedback"),
        ({"id": 7, "score": 1}, 400, "invalid_feedback"),
        ({"score": 1}, 400, "invalid_feedback"),
        ({"id": "CALL\x00", "score": 1}, 400, "invalid_feedback"),
        ({"id": "CALL", "score": 1, "source": "a\x00b"}, 400, "invalid_feedback"),
    ],
)
def test_feedback_that_makes_no_sense(
    gateway: Gateway, upstream: LargeModel, feedback: dict[str, Any], status: int, code: str
) -> None:
    name = answer(gateway, upstream).headers["x-stepdown-id"]
    if isinstance(feedback.get("id"), str):
        feedback = {**feedback, "id": feedback["id"].replace("CALL", name)}
    got = tell(gateway, **feedback)
    assert got.status_code == status, got.text
    assert got.json()["error"]["code"] == code
    assert got.json()["error"]["message"]
    assert gold_of(gateway, name) is None
    assert verdicts_of(gateway, name) == []


def test_feedback_that_is_not_json(gateway: Gateway) -> None:
    post = gateway.client.post
    assert post("/v1/feedback", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    json_type = {"content-type": "application/json"}
    for body in (b"", b"{", b"[]", b"\xff", b'{"id":"a","gold":' + b"[" * 60_000):
        assert post("/v1/feedback", content=body, headers=json_type).status_code == 400
    assert post("/v1/feedback", content=b" " * (2 << 20), headers=json_type).status_code == 413
    assert gateway.client.get("/v1/feedback").status_code == 405


@pytest.fixture(scope="module")
def renamed(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose task is known to clients by another workload's name."""
    settings = (
        f'[tasks.{TASK}]\nmatch = {{ workload = "desk" }}\n[tasks.{TASK}.contract]\nmargin = 0.05\nholdback = 0.0\n'
    )
    with serving(
        copied(certified, tmp_path_factory.mktemp("x") / "h", settings), "--upstream", upstream.url
    ) as running:
        yield running


def test_a_task_with_a_workload_of_another_name(renamed: Gateway, upstream: LargeModel) -> None:
    """Its calls are kept with the task, whichever way they were found, apart from what the client called them."""
    for headers in ({"x-stepdown-workload": "desk"}, {}):
        got = renamed.ask(unsure(), headers=headers)
        assert got.headers["x-stepdown-task"] == TASK
        name = got.headers["x-stepdown-id"]
        call = kept(renamed.home, name)
        assert (call.task, call.workload_id) == (TASK, headers.get("x-stepdown-workload", ""))
        assert tell(renamed, id=name, gold={"not": "a label"}).status_code == 422
        assert tell(renamed, id=name, gold=" refund").status_code == 200
        gold = gold_of(renamed, name)
        assert gold is not None
        assert gold.gold == "refund"


@dataclass
class Guarded:
    """A gateway that asks for keys, and the tokens by the keys' names."""

    gateway: Gateway
    tokens: dict[str, str]

    def ask(self, key: str) -> str:
        """The id of a call of that key's, kept."""
        got = self.gateway.ask(unsure(), headers=self.headers(key))
        assert got.status_code == 200, got.text
        kept(self.gateway.home, got.headers["x-stepdown-id"])
        name: str = got.headers["x-stepdown-id"]
        return name

    def tell(self, key: str, **feedback: Any) -> httpx.Response:
        return self.gateway.client.post("/v1/feedback", json=feedback, headers=self.headers(key))

    def headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[key]}"}


KEYS: dict[str, tuple[str, ...]] = {
    "web": (),
    "shop": (),
    "desk": ("--may-label",),
    "elsewhere": ("--may-label", "--tasks", "other"),
    "eager": (),
}


@pytest.fixture(scope="module")
def guarded(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    settings = SETTINGS + "[gateway]\nfeedback_per_minute = 20\n"
    home = copied(certified, tmp_path_factory.mktemp("guarded") / "home", settings)
    tokens = {}
    for name, options in KEYS.items():
        tokens[name] = stepdown("key", "create", name, *options, "--home", str(home), "--json").json["token"]
    with serving(home, "--upstream", upstream.url) as running:
        yield Guarded(running, tokens)


def pieces(gateway: Gateway, name: str) -> list[dict[str, Any]]:
    """All feedback on a call, as it was given."""
    with open_home(gateway.home).store() as store:
        return [event.data for event in store.feedback() if event.data["call"] == name]


def test_a_key_speaks_of_its_own_calls_alone(guarded: Guarded) -> None:
    name = guarded.ask("web")
    for key, value in (("shop", {"gold": "praise"}), ("shop", {"accepted": True}), ("shop", {"score": 0.0})):
        said = guarded.tell(key, id=name, **value)
        assert (said.status_code, said.json()["error"]["code"]) == (404, "unknown_call")
        assert said.json()["error"]["message"].replace(name, "X") == (
            guarded.tell(key, id="no-such", **value).json()["error"]["message"].replace("no-such", "X")
        ), "whether there is such a call is not said"
    assert guarded.tell("elsewhere", id=name, gold="praise").status_code == 403
    assert guarded.gateway.client.post("/v1/feedback", json={"id": name, "score": 1}).status_code == 401
    assert pieces(guarded.gateway, name) == []
    assert guarded.tell("web", id=name, gold="praise", source="the boss").status_code == 200
    gold = gold_of(guarded.gateway, name)
    assert gold == Gold(id=name, gold="praise", source="feedback:web", basis="volunteered")


def test_feedback_stays_beside_feedback(guarded: Guarded) -> None:
    """Nothing is written over: the latest holds, and what was said before is there, with key and time."""
    name = guarded.ask("web")
    for key, value in (("web", "praise"), ("desk", "refund"), ("web", "shipping")):
        assert guarded.tell(key, id=name, gold=value, source="desk, forged").json()["became"] == "gold"
    gold = gold_of(guarded.gateway, name)
    assert gold is not None
    assert (gold.gold, gold.source) == ("shipping", "feedback:web")
    assert [(one["name"], one["value"], one["comment"]) for one in pieces(guarded.gateway, name)] == [
        ("web", "praise", "desk, forged"),
        ("desk", "refund", "desk, forged"),
        ("web", "shipping", "desk, forged"),
    ]
    with open_home(guarded.gateway.home).store() as store:
        assert all(event.at > 1e9 for event in store.feedback())
        keys = {key.name: key.id for key in store.keys()}  # noqa: SIM118
    assert {one["key"] for one in pieces(guarded.gateway, name)} == {keys["web"], keys["desk"]}


@pytest.mark.parametrize("basis", ["", "drawn", "random-sample", "all", "volunteered"])
def test_no_key_speaks_over_imported_gold(guarded: Guarded, basis: GoldBasis) -> None:
    name = guarded.ask("desk")
    trusted = Gold(id=name, gold="shipping", source="labels.csv", basis=basis)
    with open_home(guarded.gateway.home).store() as store:
        store.add_gold([trusted])
    said = guarded.tell("desk", id=name, gold="praise", source="labels.csv")
    assert (said.status_code, said.json()["error"]["code"]) == (409, "gold_exists")
    assert gold_of(guarded.gateway, name) == trusted
    assert [one["value"] for one in pieces(guarded.gateway, name)] == ["praise"], "the objection is kept"


@pytest.mark.parametrize("value", ["<script>alert(1)</script>", "refnud", "REFUND", 7, "x" * 300])
def test_a_label_must_be_one_that_the_task_has(gateway: Gateway, upstream: LargeModel, value: Any) -> None:
    name = answer(gateway, upstream).headers["x-stepdown-id"]
    said = tell(gateway, id=name, gold=value)
    assert (said.status_code, said.json()["error"]["code"]) == (422, "invalid_gold")
    assert value == "x" * 300 or "'" in said.json()["error"]["message"].replace("'tickets'", ""), "some are named"
    assert gold_of(gateway, name) is None


def test_a_label_that_came_with_imported_gold_is_one(gateway: Gateway, upstream: LargeModel) -> None:
    first, second = (answer(gateway, upstream).headers["x-stepdown-id"] for _ in range(2))
    assert tell(gateway, id=first, gold="a new kind").status_code == 422
    with open_home(gateway.home).store() as store:
        store.add_gold([Gold(id=second, gold="a new kind", source="labels.csv", basis="drawn")])
    assert tell(gateway, id=first, gold="a new kind").status_code == 200


def test_feedback_is_limited_for_each_key(guarded: Guarded) -> None:
    said = [guarded.tell("eager", id="no-such", score=1) for _ in range(25)]
    assert [one.status_code for one in said[:20]] == [404] * 20
    assert said[-1].status_code == 429
    assert said[-1].json()["error"]["code"] == "rate_limited"
    assert 1 <= int(said[-1].headers["retry-after"]) <= 60
    assert guarded.tell("shop", id="no-such", score=1).status_code == 404


def test_the_journal_knows_the_feedback(guarded: Guarded) -> None:
    """One event says how much there is and what the last piece is; a piece that is changed or gone is found."""
    name = guarded.ask("web")
    assert guarded.tell("web", id=name, accepted=False).json()["became"] == "verdict"
    home = guarded.gateway.home

    def noted() -> bool:
        with open_home(home).store() as store:
            return bool(list(store.events("feedback")))

    assert soon(noted)
    findings = stepdown("status", "--home", str(home), "--json").json["findings"]
    assert not [one for one in findings if "feedback" in one or "journal does" in one]
    copy = home.parent / "changed"
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("run", "*.log"))
    with sqlite3.connect(copy / ".stepdown/store.sqlite") as database:
        database.execute("UPDATE feedback SET data = replace(data, '\"praise\"', '\"refund\"') WHERE sequence = 1")
        database.execute("UPDATE feedback SET at = at + 1 WHERE sequence = 1")
    said = stepdown("status", "--home", str(copy), "--json")
    assert said.code == 1
    assert "feedback" in said.err
    with sqlite3.connect(copy / ".stepdown/store.sqlite") as database:
        database.execute("DELETE FROM feedback")
    assert "lacks feedback" in stepdown("status", "--home", str(copy), "--json").err
