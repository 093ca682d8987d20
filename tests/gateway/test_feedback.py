"""POST /v1/feedback: what turned out to be right becomes gold, what was only judged a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepdown.core.store import Gold, GoldBasis, Verdict
from stepdown.loop.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import LargeModel, Says
from tests.gateway.serving import Gateway, asked, copied, kept, launch, serving, sure, unsure

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
        assert (gold.gold, gold.source, gold.basis) == ("shipping", "desk", "volunteered")


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
    for body in (b"", b"{", b"[]", b"\xff", b'{"id":"a","gold":' + b"[" * 100_000):
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
    """Its calls are kept under that workload, whichever way they were found, so that the next build sees them all."""
    for headers in ({"x-stepdown-workload": "desk"}, {}):
        got = renamed.ask(unsure(), headers=headers)
        assert got.headers["x-stepdown-task"] == TASK
        name = got.headers["x-stepdown-id"]
        assert kept(renamed.home, name).workload_id == "desk"
        assert tell(renamed, id=name, gold={"not": "a label"}).status_code == 422
        assert tell(renamed, id=name, gold=" refund").status_code == 200
        gold = gold_of(renamed, name)
        assert gold is not None
        assert gold.gold == "refund"


def test_a_key_may_speak_of_its_own_tasks_alone(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    tokens = {}
    for name, tasks in (("all", ()), ("desk", ("--tasks", TASK)), ("other", ("--tasks", "other"))):
        tokens[name] = stepdown("key", "create", name, *tasks, "--home", str(home), "--json").json["token"]
    gateway = launch(home, "--upstream", upstream.url)
    try:
        headers = {"authorization": f"Bearer {tokens['desk']}"}
        name = gateway.client.post("/v1/chat/completions", json=asked(unsure()), headers=headers).headers[
            "x-stepdown-id"
        ]
        kept(home, name)
        for holder, status in (("other", 403), ("all", 200), ("desk", 200)):
            headers = {"authorization": f"Bearer {tokens[holder]}"}
            got = gateway.client.post("/v1/feedback", json={"id": name, "score": 1}, headers=headers)
            assert got.status_code == status, got.text
        assert tell(gateway, id=name, score=1).status_code == 401
    finally:
        assert gateway.end() == 0
