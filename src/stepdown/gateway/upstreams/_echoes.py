"""An upstream's answer without the key that it was asked with, should it repeat it, and with the headers that clients
get."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from urllib.parse import quote

import msgspec

from stepdown.gateway.http.client import HttpResponse
from stepdown.gateway.http.upstream_connection import MAX_WHOLE

LEAST = 12
"""A key of fewer characters is no secret ("none", "ollama") and may be a word of an answer."""
_KEY = b"[KEY]"
_RETURNED = functools.lru_cache(maxsize=256)(
    re.compile(
        rb"content-(type|encoding|disposition)|retry-after(-ms)?|x-should-retry|(x-|apim-)?request-id"
        rb"|openai-(processing-ms|version|model)|(x-|anthropic-)ratelimit-[\w-]{1,60}"
    ).fullmatch
)
"""The upstream's headers that clients get: no cookies, no organisation, nothing of its own connection."""


@functools.lru_cache(maxsize=256)
def _ways_to_write(key: bytes) -> frozenset[bytes]:
    return frozenset((key, quote(key, safe="").encode(), key.replace(b"/", b"\\/")))


def secrets_of(keys: Iterable[bytes]) -> list[bytes]:
    """Every way to write the keys, but for those that are none."""
    return [one for key in keys if len(key) >= LEAST for one in _ways_to_write(key)]


def returned(headers: Iterable[tuple[bytes, bytes]], secrets: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that clients get."""
    return [(name, _without(value, secrets)) for name, value in headers if _RETURNED(name)]


def masked(body: bytes, status: int, secrets: Sequence[bytes]) -> bytes:
    """A whole body as clients get it."""
    body = _without(body, secrets)
    # Letters of a key have no need of an escape but to hide it; in errors whatever is escaped is looked at.
    if secrets and (b"\\u00" in body or (status >= 400 and b"\\" in body)):
        try:
            plain = msgspec.json.encode(msgspec.json.decode(body))
        except (ValueError, RecursionError):
            return body
        return plain if (plain := _without(plain, secrets)).count(_KEY) > body.count(_KEY) else body
    return body


def _without(data: bytes, secrets: Sequence[bytes]) -> bytes:
    for secret in secrets:
        if secret in data:
            data = data.replace(secret, _KEY)
    return data


class Unechoed:
    """Read like the HttpResponse it wraps; headers: those that clients get. Every way to write the key is masked, in
    whole bodies and in streams, there also where it is cut over two pieces."""

    __slots__ = ("_response", "_secrets", "headers", "status")

    def __init__(self, response: HttpResponse, keys: Iterable[bytes]) -> None:
        self._response, self.status, self._secrets = response, response.status, secrets_of(keys)
        self.headers = returned(response.headers, self._secrets)

    def header(self, name: bytes) -> bytes:
        return self._response.header(name)

    async def read(self, limit: int = MAX_WHOLE) -> bytes:
        return masked(await self._response.read(limit), self.status, self._secrets)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        pieces = self._response.pieces()
        held = b""
        try:
            async for piece in pieces:
                if self._secrets and (held or not piece.endswith(b"\n")):
                    piece = _without(held + piece, self._secrets)  # noqa: PLW2901
                    begun = self._begun(piece)
                    held = piece[begun:]
                    piece = piece[:begun]  # noqa: PLW2901
                else:
                    piece = _without(piece, self._secrets)  # noqa: PLW2901
                if piece:
                    yield piece
            if held:
                yield held
        finally:
            await pieces.aclose()

    def _begun(self, data: bytes) -> int:
        """Where a secret begins that the next piece may end; the length of the data where none does."""
        for length in range(min(len(data), max(map(len, self._secrets)) - 1), 0, -1):
            end = data[-length:]
            if any(secret.startswith(end) for secret in self._secrets):
                return len(data) - length
        return len(data)
