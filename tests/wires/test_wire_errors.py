"""Errors: the right type for a status on each wire, and any upstream's body read for what it says."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st

from stepdown.wires.wire import WIRES, translate_error
from stepdown.wires.wire_errors import read_error

_STATUSES = [
    (400, "invalid_request_error", "invalid_request_error"),
    (401, "authentication_error", "authentication_error"),
    (403, "permission_error", "permission_error"),
    (404, "not_found_error", "not_found_error"),
    (413, "request_too_large", "request_too_large"),
    (422, "invalid_request_error", "invalid_request_error"),
    (429, "rate_limit_error", "rate_limit_error"),
    (500, "server_error", "api_error"),
    (502, "server_error", "api_error"),
    (504, "server_error", "timeout_error"),
    (529, "server_error", "overloaded_error"),
]


@pytest.mark.parametrize(("status", "chat", "messages"), _STATUSES)
def test_the_type_of_a_status(status: int, chat: str, messages: str) -> None:
    body = WIRES["openai"].error_body(status, "", "why", "a_code")
    assert body == {"error": {"message": "why", "type": chat, "param": None, "code": "a_code"}}
    body = WIRES["anthropic"].error_body(status, "", "why", "a_code")
    assert body == {"type": "error", "error": {"type": messages, "message": "why"}}
    if status != 413:  # documented, but the package has no type for it
        ErrorResponse.model_validate(body)


def test_a_named_type_is_kept_where_the_wire_knows_it() -> None:
    body = WIRES["openai"].error_body(403, "local_only", "why", "local_only")
    assert body["error"] == {
        "message": "why",
        "type": "local_only",
        "param": None,
        "code": "local_only",
    }
    body = WIRES["anthropic"].error_body(403, "local_only", "why", "local_only")
    assert body["error"]["type"] == "permission_error"
    assert WIRES["anthropic"].error_body(400, "billing_error", "why")["error"]["type"] == "billing_error"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "a", "type": "t", "param": "p", "code": "c"}}, "a"),
        ({"error": "a"}, "a"),
        ({"type": "error", "error": {"type": "t", "message": "a"}}, "a"),
        ({"object": "error", "message": "a", "type": "BadRequestError", "code": 400}, "a"),
        ([{"error": {"message": "a", "code": 400}}], "a"),
        ({"detail": "a"}, "a"),
        ({"detail": [{"loc": ["x"]}]}, '[{"loc":["x"]}]'),
        ("a", "a"),
        ("", "the upstream answered with status 400 and no message"),
        (None, "the upstream answered with status 400 and no message"),
        ({}, "the upstream answered with status 400 and no message"),
        ("x" * 9000, "x" * 4000),
    ],
)
def test_what_an_upstream_says(body: Any, message: str) -> None:
    assert read_error(body, 400).message == message
    for upstream, client in (("openai", "anthropic"), ("anthropic", "openai")):
        assert translate_error(body, 400, upstream, client)["error"]["message"] == message


def test_an_error_of_the_same_wire_is_untouched() -> None:
    body = {"error": {"message": "a", "type": "insufficient_quota", "odd": 1}, "more": 2}
    assert translate_error(body, 429, "openai", "openai") is body
    assert translate_error("<html>", 502, "openai", "openai")["error"]["message"] == "<html>"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"type": "overloaded_error", "message": "a"}}, 529),
        ({"error": {"type": "rate_limit_error", "message": "a"}}, 429),
        ({"error": {"message": "a", "code": 503}}, 503),
        ({"error": {"message": "a", "code": 9}}, 500),
        ({"error": "a"}, 500),
    ],
)
def test_an_error_in_a_stream_gets_its_type_s_status(body: Any, status: int) -> None:
    assert read_error(body).status == status


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "type", "code", "detail", "param"]), inner, max_size=4)
    ),
)


@given(body=_ANY, status=st.none() | st.integers(400, 599))
def test_any_body_is_some_error(body: Any, status: int | None) -> None:
    error = read_error(body, status)
    assert error.message
    assert 400 <= error.status <= 599
