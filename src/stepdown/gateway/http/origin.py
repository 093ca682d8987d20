"""Where an upstream is, read from a URL as users write it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from stepdown.core.errors import UsageError


@dataclass(frozen=True)
class Origin:
    """Where an upstream is. path: what stands before every target, without a slash at its end."""

    host: str
    port: int
    tls: bool
    path: str = ""

    @property
    def authority(self) -> bytes:
        default = 443 if self.tls else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        name = host if host.isascii() else host.encode("idna").decode("ascii")
        return (name if self.port == default else f"{name}:{self.port}").encode("ascii")


def parse_origin(url: str) -> Origin:
    """The origin in an http(s) URL. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        shown = url.rsplit("@", 1)[-1]
        raise UsageError(
            f"{shown!r} is not an upstream's address.",
            "Expected http(s)://HOST[:PORT][/PATH], without user, password or query.",
            "For example http://127.0.0.1:8000/v1",
        )
    tls = parts.scheme == "https"
    return Origin(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))
