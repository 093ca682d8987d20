"""Keys through the command line: the token is seen once, and never again in anything that is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from stepdown.gateway.middleware.admission import KeyRing
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown


def key(home: Path, *words: str) -> Said:
    return stepdown("key", *words, "--home", str(home), "--json")


def made(home: Path, *words: str) -> dict[str, Any]:
    said = key(home, "create", *words)
    assert said.code == 0, said.err
    return dict(said.json)


def test_a_key_opens_the_gateway_until_it_is_revoked(tmp_path: Path) -> None:
    token = made(tmp_path, "app")["token"]
    assert token.startswith("sk-stepdown-")
    assert len(token) >= len("sk-stepdown-") + 43  # 256 bits in base64
    home = open_home(tmp_path)
    with home.store() as store:
        assert KeyRing(store.keys()).find(token, home.clock()).why == ""
        assert key(tmp_path, "revoke", "app").json["standing"] == "revoked"
        assert KeyRing(store.keys()).find(token, home.clock()).why == "revoked"


def test_everything_asked_for_is_kept_and_listed(tmp_path: Path) -> None:
    limits = (
        "--requests-per-minute",
        "60",
        "--tokens-per-minute",
        "1e5",
        "--usd-per-day",
        "0.5",
        "--usd-per-month",
        "9",
    )
    said = made(tmp_path, "app", "--tasks", "a, b", "--tasks", "b", "--models", "m", *limits, "--expires", "30d")
    assert said["tasks"] == ["a", "b"]
    assert said["models"] == ["m"]
    assert said["limits"] == {
        "requests_per_minute": 60,
        "tokens_per_minute": 1e5,
        "usd_per_day": 0.5,
        "usd_per_month": 9,
    }
    assert said["expires_at"] == pytest.approx(said["created_at"] + 30 * 86400)
    (listed,) = key(tmp_path, "list").json
    assert {**listed, "token": said["token"]} == said
    text = stepdown("key", "list", "--home", str(tmp_path)).out
    assert "app" in text
    assert said["token"] not in text


def test_neither_the_token_nor_its_digest_is_written_anywhere_but_the_digest_in_the_store(tmp_path: Path) -> None:
    token = made(tmp_path, "app")["token"]
    key(tmp_path, "revoke", "app")
    with open_home(tmp_path).store() as store:
        events = list(store.events())
        assert [event.kind for event in events] == ["key-created", "key-revoked"]
        (kept,) = store.keys()
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert kept.digest == digest
    assert all(secret not in str(event) for event in events for secret in (token, digest, token[:20]))
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert token.encode() not in files
    assert all(digest not in key(tmp_path, *words).out for words in (("list",), ("create", "second")))


def test_the_token_is_alone_on_stdout_for_people_and_scripts(tmp_path: Path) -> None:
    said = stepdown("key", "create", "app", "--tasks", "nowhere", "--home", str(tmp_path))
    assert said.out.startswith("sk-stepdown-")
    assert len(said.out.split()) == 1
    assert "no task nowhere" in said.err
    assert said.out.strip() not in said.err


def test_a_name_is_free_again_once_its_key_is_revoked(tmp_path: Path) -> None:
    first = made(tmp_path, "app")
    refused = key(tmp_path, "create", "app")
    assert refused.code == 2
    assert first["id"] in refused.err
    assert key(tmp_path, "revoke", first["id"]).code == 0
    second = made(tmp_path, "app")
    assert key(tmp_path, "revoke", "app").json["id"] == second["id"]
    assert [one["standing"] for one in key(tmp_path, "list").json] == ["revoked", "revoked"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("revoke", "ap"), "Did you mean 'app'"),
        (("revoke", "old"), "revoked before"),
        (("create", " "), "cannot be a key's name"),
        (("create", "x" * 101), "cannot be a key's name"),
        (("create", "a\nb"), "cannot be a key's name"),
        (("create", "b", "--usd-per-day", "0"), "usd_per_day = 0.0"),
        (("create", "b", "--usd-per-day", "nan"), "usd_per_day = nan"),
        (("create", "b", "--requests-per-minute", "many"), "not a valid float"),
        (("create", "b", "--expires", "soon"), "not a duration"),
        (("create",), "NAME"),
    ],
)
def test_what_cannot_be_is_refused_in_one_paragraph(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    made(tmp_path, "app")
    made(tmp_path, "old")
    key(tmp_path, "revoke", "old")
    refused = key(tmp_path, *words)
    assert refused.code == 2
    assert said in refused.err
    assert "Traceback" not in refused.err
    assert len(key(tmp_path, "list").json) == 2


def test_no_keys_is_said(tmp_path: Path) -> None:
    assert key(tmp_path, "list").json == []
    assert "There is no key" in stepdown("key", "list", "--home", str(tmp_path)).out


def test_the_right_to_label_is_shown_and_journalled(tmp_path: Path) -> None:
    assert made(tmp_path, "desk", "--may-label")["may_label"] is True
    assert made(tmp_path, "web")["may_label"] is False
    assert [one["may_label"] for one in key(tmp_path, "list").json] == [True, False]
    shown = stepdown("key", "list", "--home", str(tmp_path)).out
    assert shown.count("may label") == 1
    with open_home(tmp_path).store() as store:
        assert [event.data["may_label"] for event in store.events("key-created")] == [True, False]
