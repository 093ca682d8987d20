"""Targets: the one form of a path that is taken, and the hosts that are answered."""

from __future__ import annotations

import pytest

from stepdown.gateway.http.messages import HttpError
from stepdown.gateway.http.target import allowed_hosts, read_target


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/", ("/", "")),
        (b"/v1/chat/completions", ("/v1/chat/completions", "")),
        (b"/v1/models/", ("/v1/models/", "")),
        (b"/v1/files/file-1/content?a=b&c=%2F%2e%2e", ("/v1/files/file-1/content", "a=b&c=%2F%2e%2e")),
        (b"/v1/files/a%20b", ("/v1/files/a%20b", "")),
        (b"/v1/files/%C3%A9", ("/v1/files/%C3%A9", "")),
        (b"/v1/models/qwen3:8b@x!$&'()*+,=~", ("/v1/models/qwen3:8b@x!$&'()*+,=~", "")),
        (b"/v1/models/meta%2FLlama", ("/v1/models/meta%2FLlama", "")),
        (b"/...", ("/...", "")),
        (b"http://H:80/v1/x?y", ("/v1/x", "y")),
        (b"http://h", ("/", "")),
        (b"http://h?q", ("/", "q")),
    ],
)
def test_plain_targets_are_read(target: bytes, found: tuple[str, str]) -> None:
    assert read_target("GET", target, b"h") == found


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"h:1",
        b"v1/x",
        b"//h/v1/x",
        b"/v1//x",
        b"/v1/../admin",
        b"/v1/./x",
        b"/v1/..",
        b"/v1/%2e%2e/admin",
        b"/v1/%2E./admin",
        b"/v1/..%2fadmin",
        b"/v1/..%2Fadmin",
        b"/v1/x%5cy",
        b"/v1/x\\y",
        b"/v1/x;y",
        b"/v1/x%3by",
        b"/v1/..;/admin",
        b"/v1/x#y",
        b"/v1/x%23y",
        b"/v1/x%3Fy",
        b"/v1/x%252fy",
        b"/v1/x%00y",
        b"/v1/x%0d%0ay",
        b"/v1/x%7f",
        b"/v1/x\x00y",
        b"/v1/x\ty",
        b"/v1/\xc3\xa9",
        b"/v1/%c0%af",
        b"/v1/%e9",
        b"/v1/%",
        b"/v1/%2",
        b"/v1/%zz",
        b'/v1/"x"',
        b"/v1/<x>",
        b"/v1/x|y",
        b"/v1/x?a#b",
        b"/v1/x?a\x00",
        b"/v1/x?\xff",
        b"http://evil/v1/x",
        b"http://h:81/v1/x",
        b"http://u@h/v1/x",
        b"https://h:80/v1/x",
        b"ftp://h/v1/x",
        b"http://h/v1/../x",
    ],
)
def test_other_targets_are_refused(target: bytes) -> None:
    with pytest.raises(HttpError) as error:
        read_target("GET", target, b"h")
    assert error.value.status == 400


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_an_escaped_slash_in_a_model_s_name_is_for_reading_alone(method: str) -> None:
    with pytest.raises(HttpError):
        read_target(method, b"/v1/models/..%2Fadmin", b"h")


@pytest.mark.parametrize(
    ("host", "loopback", "allowed"),
    [
        (b"localhost", True, True),
        (b"LOCALHOST:8080", True, True),
        (b"localhost.:80", True, True),
        (b"127.0.0.1:8080", True, True),
        (b"127.8.9.10", True, True),
        (b"[::1]:8080", True, True),
        (b"[::1]", True, True),
        (b"gateway.internal:1", True, True),
        (b"Gateway.Internal", False, True),
        (b"[2001:db8::1]:80", False, True),
        (b"localhost", False, False),
        (b"127.0.0.1", False, False),
        (b"evil", True, False),
        (b"localhost.evil", True, False),
        (b"127.0.0.1.evil", True, False),
        (b"10.0.0.1", True, False),
        (b"0.0.0.0", True, False),
        (b"2130706433", True, False),
        (b"evil:80@localhost", True, False),
        (b"localhost:80:80", True, False),
        (b"localhost, evil", True, False),
        (b"", True, False),
        (b"\xff", True, False),
    ],
)
def test_hosts(host: bytes, loopback: bool, allowed: bool) -> None:
    assert allowed_hosts(["gateway.internal", "2001:db8::1"], loopback)(host) is allowed
