"""Virtual keys on the running gateway: refused in each wire's shape, and seen by no upstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, asked, copied, serving, soon, sure, unsure

HELLO: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
CLAUDE: Any = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class Guarded:
    """A gateway that asks for keys. tokens: by the key's name."""

    gateway: Gateway
    tokens: dict[str, str]

    def openai(self, name: str) -> openai.OpenAI:
        token = self.tokens.get(name, name)
        return openai.OpenAI(base_url=self.gateway.url + "/v1", api_key=token, max_retries=0)

    def claude(self, name: str) -> anthropic.Anthropic:
        token = self.tokens.get(name, name)
        return anthropic.Anthropic(base_url=self.gateway.url, api_key=token, max_retries=0)


def make_key(home: Path, name: str, *options: str) -> str:
    made = stepdown("key", "create", name, *options, "--home", str(home), "--json")
    assert made.code == 0, made.err
    token: str = made.json["token"]
    return token


KEYS: dict[str, tuple[str, ...]] = {
    "all": (),
    "desk": ("--tasks", TASK),
    "mini": ("--models", "gpt-4o-mini"),
    "twice": ("--requests-per-minute", "2"),
    "poor": ("--tokens-per-minute", "60"),
    "ended": ("--expires", "1s"),
    "revoked": (),
}


@pytest.fixture(scope="module")
def guarded(certified: Path, upstream: LargeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = copied(certified, tmp_path_factory.mktemp("guarded") / "home")
    tokens = {name: make_key(home, name, *options) for name, options in KEYS.items()}
    with serving(home, "--upstream", upstream.url, STEPDOWN_UPSTREAM_KEY="sk-the-upstreams") as running:
        yield Guarded(running, tokens)


def test_a_key_opens_the_gateway_and_stays_there(guarded: Guarded, upstream: LargeModel) -> None:
    guarded.openai("all").chat.completions.create(**HELLO)
    assert upstream.last().headers["authorization"] == "Bearer sk-the-upstreams"
    guarded.claude("all").messages.create(**CLAUDE)
    headers = {"api-key": guarded.tokens["all"]}
    assert guarded.gateway.client.post("/v1/chat/completions", json=HELLO, headers=headers).status_code == 200
    both = {"authorization": f"Bearer {guarded.tokens['all']}", "x-api-key": guarded.tokens["all"]}
    assert guarded.gateway.client.post("/v1/embeddings", json={"input": "x"}, headers=both).status_code == 200
    seen = "".join(each.everything for each in upstream.seen)
    assert not [name for name, token in guarded.tokens.items() if token in seen]
    assert "sk-stepdown" not in seen


@pytest.mark.parametrize("token", ["sk-stepdown-nonsense", "sk-clients-own", "", "\u00e9"])
def test_without_a_key_nobody_is_asked(guarded: Guarded, upstream: LargeModel, token: str) -> None:
    before = len(upstream.seen)
    headers = {"authorization": f"Bearer {token}".encode()} if token else {}
    for path, body in (("/v1/chat/completions", HELLO), ("/v1/messages", CLAUDE), ("/v1/embeddings", {"input": "x"})):
        got = guarded.gateway.client.post(path, json=body, headers=headers)
        assert got.status_code == 401
        assert got.json()["error"]["message"]
        assert token not in got.text or not token
    assert guarded.gateway.client.get("/v1/models", headers=headers).status_code == 401
    assert len(upstream.seen) == before


def test_the_clients_raise_what_they_raise_for_the_vendors(guarded: Guarded, upstream: LargeModel) -> None:
    before = posts(upstream)
    with pytest.raises(openai.AuthenticationError, match="unknown"):
        guarded.openai("sk-stepdown-nonsense").chat.completions.create(**HELLO)
    with pytest.raises(anthropic.AuthenticationError):
        guarded.claude("sk-stepdown-nonsense").messages.create(**CLAUDE)
    assert soon(lambda: guarded.gateway.client.get("/v1/models", headers=bearer(guarded, "ended")).status_code == 401)
    with pytest.raises(openai.AuthenticationError, match="expired"):
        guarded.openai("ended").chat.completions.create(**HELLO)
    with pytest.raises(openai.PermissionDeniedError, match="no task"):
        guarded.openai("desk").chat.completions.create(**HELLO)
    with pytest.raises(anthropic.PermissionDeniedError):
        guarded.claude("desk").messages.create(**CLAUDE)
    with pytest.raises(openai.PermissionDeniedError, match="gpt-5"):
        guarded.openai("mini").chat.completions.create(**{**HELLO, "model": "gpt-5"})
    assert posts(upstream) == before
    assert guarded.openai("desk").chat.completions.create(**asked(sure()[0])).choices
    assert guarded.openai("mini").chat.completions.create(**HELLO).choices


def posts(upstream: LargeModel) -> int:
    return sum(seen.method == "POST" for seen in upstream.seen)


def bearer(guarded: Guarded, name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {guarded.tokens[name]}"}


def test_limits_say_when_to_come_back(guarded: Guarded) -> None:
    for _ in range(2):
        guarded.openai("twice").chat.completions.create(**asked(sure()[0]))
    with pytest.raises(openai.RateLimitError) as refused:
        guarded.openai("twice").chat.completions.create(**asked(sure()[0]))
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
    assert refused.value.code == "rate_limited"
    with pytest.raises(anthropic.RateLimitError) as told:
        guarded.claude("twice").messages.create(**CLAUDE)
    assert int(told.value.response.headers["retry-after"]) >= 1
    assert told.value.response.json()["error"]["type"] == "rate_limit_error"


def test_tokens_are_charged_after_the_answer(guarded: Guarded) -> None:
    def spent() -> bool:
        got = guarded.gateway.ask(unsure(), headers=bearer(guarded, "poor"))
        assert got.status_code in (200, 429), got.text
        return got.status_code == 429

    assert soon(spent), "49 tokens of 60 a minute were spent again and again"


def test_models_are_listed_as_far_as_a_key_goes(guarded: Guarded) -> None:
    assert [model.id for model in guarded.openai("mini").models.list()] == ["gpt-4o-mini"]
    other = make_key(guarded.gateway.home, "other", "--models", "gpt-5")
    assert soon(lambda: _status(guarded, other) == 200)
    assert list(openai.OpenAI(base_url=guarded.gateway.url + "/v1", api_key=other).models.list()) == []


def test_a_revoked_key_ends_within_seconds(guarded: Guarded) -> None:
    assert _status(guarded, guarded.tokens["revoked"]) == 200
    assert stepdown("key", "revoke", "revoked", "--home", str(guarded.gateway.home)).code == 0
    assert soon(lambda: _status(guarded, guarded.tokens["revoked"]) == 401)


def _status(guarded: Guarded, token: str) -> int:
    return guarded.gateway.client.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code


def test_what_a_limited_key_may_not_reach(guarded: Guarded, upstream: LargeModel) -> None:
    before = len(upstream.seen)
    for name in ("desk", "mini", "twice"):
        got = guarded.gateway.client.post("/v1/embeddings", json={"input": "x"}, headers=bearer(guarded, name))
        assert got.status_code == 403
    assert len(upstream.seen) == before


def test_operations_need_no_key(guarded: Guarded) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert guarded.gateway.client.get(path).status_code == 200


def test_no_token_is_logged_or_kept(guarded: Guarded) -> None:
    home = guarded.gateway.home
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for secret in (*guarded.tokens.values(), "sk-the-upstreams"):
        assert secret.encode() not in written


def test_without_keys_the_clients_own_goes_through(gateway: Gateway, upstream: LargeModel) -> None:
    openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-clients-own").chat.completions.create(**HELLO)
    assert upstream.last().headers["authorization"] == "Bearer sk-clients-own"
