"""The `[gateway]` table of stepdown.toml. Parsed from plain dictionaries; nothing is read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from stepdown.core.contract import check_keys, parse_duration
from stepdown.core.errors import ContractError
from stepdown.core.secret import Secret

Unmatched = Literal["", "pass", "redact", "refuse"]
MIB = 1 << 20
KEY_VARIABLE = "STEPDOWN_UPSTREAM_KEY"
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]{1,100}", re.ASCII).fullmatch
_NEVER_PASSED = re.compile(
    "authorization|x-api-key|api-key|connection|content-(length|type)|expect|host|keep-alive|proxy-.*|te|trailer"
    "|transfer-encoding|upgrade|accept-encoding|user-agent|x-stepdown-.*",
    re.IGNORECASE,
).fullmatch


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[gateway.upstreams]]`: a large model's endpoint. The first is asked first, the others are its fallbacks.

    kind: a file of gateway/upstreams/. key, else the environment's variable `key_env`, is the upstream's own key; only
    the first upstream has a variable unsaid, STEPDOWN_UPSTREAM_KEY, so that one provider's key never goes to another.
    key_header: the header that takes the key where it is not the kind's own (Azure: "api-key"); api_version: added to
    every URL's query (Azure). models: those it takes, empty for all. Times in seconds: to connect, to the first byte of
    the answer, and in all. retries: of what may be retried, on the same upstream. pass_headers: names of the client's
    headers that go upstream beside the few that every wire needs. ask_usage: whether streams are asked to say what they
    used where their client does not ask: without, their calls have no price. options: of the kind's own.
    """

    url: str
    name: str = ""
    kind: str = "openai"
    key: Secret = Secret()
    key_env: str = ""
    key_header: str = ""
    api_version: str = ""
    models: tuple[str, ...] = ()
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    total_s: float = 600.0
    retries: int = 2
    pass_headers: tuple[str, ...] = ()
    ask_usage: bool = True
    options: dict[str, Any] = {}

    def __post_init__(self) -> None:
        for name in ("connect_s", "first_byte_s", "total_s"):
            _check(getattr(self, name) > 0, f"gateway.upstreams.{name}", getattr(self, name), "seconds above 0")
        _check(0 <= self.retries <= 10, "gateway.upstreams.retries", self.retries, "0 to 10")
        for name in self.pass_headers:
            fits = _HEADER(name) is not None and _NEVER_PASSED(name) is None
            _check(fits, "gateway.upstreams.pass_headers", name, "a header of the request's own, not of its connection")
        check_url(self.url, self.kind)

    def secret(self, environment: Mapping[str, str]) -> Secret:
        """The upstream's key: the settings' own, else the environment's; empty where there is none."""
        return self.key or Secret(environment.get(self.key_env, "") if self.key_env else "")


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """upstream, upstream_key: the one upstream of a plain set-up; those of `upstreams` come after it.

    capture_share: the share of calls that are kept, in [0, 1]. retention: how long ("90d"), "" for ever.
    max_body_bytes: of one request; max_bytes_under_way: of all bodies held at one time, at least that.
    max_connections_per_client: from one address, 0 for no bound. hosts: names under which the gateway answers beside
    this machine's own. paths: below /v1/, passed on beside those that are known. capture_bytes: of calls on this
    machine's disk that the store lacks. capture_lag_bytes, capture_lag_s: how many of them, and for how long, wait for
    free processors; beyond either they are moved into the store beside the requests. sync: "group" has an answer's
    end wait until its call is safe from a loss of power. body_timeout_s: for a request to arrive. drain_s: what
    requests under way may take when the gateway is told to end. unmatched_capture: keep calls of no task.
    feedback_per_minute: pieces of feedback that one key may give. unmatched: whether what is not known to be a task's
    may leave; "" for as the strictest task's own requests may.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    upstream: str = ""
    upstream_key: Secret = Secret()
    upstreams: tuple[UpstreamSettings, ...] = ()
    capture_share: float = 1.0
    unmatched_capture: bool = True
    retention: str = ""
    max_body_bytes: int = 16 * MIB
    max_bytes_under_way: int = 64 * MIB
    max_connections_per_client: int = 1024
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    capture_bytes: int = 1024 * MIB
    capture_lag_bytes: int = 128 * MIB
    capture_lag_s: float = 10.0
    sync: Literal["none", "group"] = "none"
    body_timeout_s: float = 30.0
    drain_s: float = 20.0
    log_requests: bool = False
    feedback_per_minute: float = 120.0
    unmatched: Unmatched = ""

    def __post_init__(self) -> None:
        _check(0 <= self.port <= 65535, "gateway.port", self.port, "0 (any free one) to 65535")
        _check(0.0 <= self.capture_share <= 1.0, "gateway.capture_share", self.capture_share, "a share in [0, 1]")
        _check(self.max_body_bytes >= 1024, "gateway.max_body_bytes", self.max_body_bytes, "at least 1024 bytes")
        _check(
            self.max_bytes_under_way >= self.max_body_bytes,
            "gateway.max_bytes_under_way",
            self.max_bytes_under_way,
            f"at least max_body_bytes ({self.max_body_bytes})",
        )
        connections = self.max_connections_per_client
        _check(connections >= 0, "gateway.max_connections_per_client", connections, "a number, or 0 for no bound")
        _check(all(self.hosts), "gateway.hosts", self.hosts, "names or addresses, without a port")
        _check(all(path.startswith("/v1/") for path in self.paths), "gateway.paths", self.paths, "paths below /v1/")
        _check(self.capture_bytes >= MIB, "gateway.capture_bytes", self.capture_bytes, f"at least {MIB} bytes")
        _check(self.capture_lag_bytes >= 0, "gateway.capture_lag_bytes", self.capture_lag_bytes, "0 bytes or more")
        _check(self.capture_lag_s >= 0, "gateway.capture_lag_s", self.capture_lag_s, "seconds, 0 or more")
        _check(self.body_timeout_s > 0, "gateway.body_timeout_s", self.body_timeout_s, "seconds above 0")
        _check(
            self.feedback_per_minute > 0, "gateway.feedback_per_minute", self.feedback_per_minute, "a positive number"
        )
        _check(self.drain_s >= 0, "gateway.drain_s", self.drain_s, "seconds, 0 or more")
        if self.upstream:
            check_url(self.upstream, kind_of(self.upstream))
        if self.retention:
            parse_duration(self.retention)
        names = [one.name for one in self.all_upstreams()]
        _check(len(set(names)) == len(names), "gateway.upstreams", names, "names that differ")

    @property
    def retention_s(self) -> float | None:
        """How long calls are kept, in seconds; None for ever."""
        return parse_duration(self.retention) if self.retention else None

    def all_upstreams(self) -> tuple[UpstreamSettings, ...]:
        """Every upstream in the order they are asked, each with a name: its own, else its host, numbered if need be."""
        plain: tuple[UpstreamSettings, ...] = ()
        if self.upstream:
            plain = (UpstreamSettings(url=self.upstream, kind=kind_of(self.upstream), key=self.upstream_key),)
        named: list[UpstreamSettings] = []
        taken = {one.name for one in self.upstreams}
        for one in (*plain, *self.upstreams):
            name = one.name
            if not name:
                host = urlsplit(one.url).hostname or one.kind
                name = next(each for each in (host, *(f"{host}-{n}" for n in range(2, 1000))) if each not in taken)
                taken.add(name)
            variable = one.key_env or ("" if named else KEY_VARIABLE)
            named.append(msgspec.structs.replace(one, name=name, key_env=variable))
        return tuple(named)


def parse_gateway(table: Any) -> GatewaySettings:
    """The settings of a `[gateway]` table. Raises ContractError; no message holds a value that may be a secret."""
    if not isinstance(table, dict):
        raise ContractError("gateway is no table.", "Expected [gateway].", "Write it as a table.")
    check_keys(table, GatewaySettings, "gateway")
    upstreams = table.get("upstreams", [])
    if not isinstance(upstreams, list) or not all(isinstance(one, dict) for one in upstreams):
        raise ContractError(
            "gateway.upstreams is no list of tables.", "Expected [[gateway.upstreams]].", "Write it so."
        )
    for one in upstreams:
        check_keys(one, UpstreamSettings, "gateway.upstreams")
    try:
        return msgspec.convert(table, GatewaySettings, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        raise ContractError(
            f"[gateway] cannot be read: {error}.", "docs/gateway.md lists every key and its type.", "Correct that key."
        ) from None


def kind_of(url: str) -> str:
    """The kind of upstream that a plain URL means: recorded answers, the vendor whose wire differs, else openai."""
    if url.startswith("replay:"):
        return "replay"
    return "anthropic" if (urlsplit(url).hostname or "").endswith("anthropic.com") else "openai"


def check_url(url: str, kind: str) -> None:
    """Raises ContractError for what an upstream of that kind cannot be at. A third party's kind judges its own."""
    if kind not in ("openai", "anthropic"):
        return
    try:
        parts = urlsplit(url)
        host, _, inside = parts.hostname, parts.port, parts.username or parts.password
    except ValueError:
        host, inside, parts = None, None, urlsplit("")
    if inside:
        # Said without the URL: it holds a password.
        raise ContractError(
            "An upstream's URL holds a user or a password.",
            "Expected them elsewhere, for a URL is shown in logs.",
            f"Put the key into {KEY_VARIABLE} or `key`.",
        )
    _check(parts.scheme in ("http", "https") and bool(host), "an upstream's url", url, "http://… or https://…")


def _decoded(kind: type[Any], value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError("Expected text in quotes")


def _check(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise ContractError(f"stepdown.toml has {key} = {value!r}.", f"Expected {expected}.", f"Change {key}.")
