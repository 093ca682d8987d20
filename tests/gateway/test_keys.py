"""A token opens what it should, and a ring says why it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.keys import Key, token_digest
from stepdown.gateway.middleware.admission import KeyRing


def key(token: str, **more: float) -> Key:
    digest = token_digest(token)
    return Key(id=digest[:8], name="n", digest=digest, prefix=token[:4], created_at=0.0, **more)


def test_each_standing_is_told_apart() -> None:
    ring = KeyRing([key("good"), key("gone", revoked_at=5.0), key("old", expires_at=10.0)])
    assert ring.find("good", now=11.0) == (key("good"), "")
    assert ring.find("gone", now=1.0).why == "revoked"
    assert [ring.find("old", now=now).why for now in (9.9, 10.0)] == ["", "expired"]
    assert ring.find("other", now=0.0) == (None, "unknown")


def test_a_ring_of_revoked_keys_alone_is_still_a_ring() -> None:
    assert KeyRing([key("gone", revoked_at=1.0)])
    assert not KeyRing([])


@given(st.text(), st.text())
def test_any_text_is_a_token_and_opens_its_own_key_alone(token: str, other: str) -> None:
    ring = KeyRing([key(token)])
    assert (ring.find(other, 0.0).key is not None) == (token == other)


def test_a_lone_surrogate_is_no_reason_to_fail() -> None:
    assert KeyRing([key("a")]).find("\ud800", 0.0).why == "unknown"


def test_allow_lists_are_empty_or_name_what_is_allowed() -> None:
    free = key("a")
    bound = Key(id="b", name="b", digest="d", prefix="p", created_at=0.0, tasks=("t",), models=("m",))
    assert free.allows_task("x")
    assert free.allows_model("y")
    assert [bound.allows_task(name) for name in ("t", "u", "")] == [True, False, False]
    assert [bound.allows_model(name) for name in ("m", "n")] == [True, False]


def test_a_ring_that_has_lost_its_keys_is_open_to_nobody() -> None:
    ring = KeyRing([], closed=True)
    assert ring
    assert ring.find("sk-stepdown-x", 0.0).why == "unknown"
