"""An upstream's answer without the key that it was asked with, should it repeat it, and with the headers that clients
get."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator, Iterable
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


class Unechoed:
    """Read like the HttpResponse it wraps; headers: those that clients get. Every way to write the key is masked, in
    whole bodies and in streams, there also where it is cut over two pieces."""

    __slots__ = ("_response", "_secrets", "headers", "status")

    def __init__(self, response: HttpResponse, keys: Iterable[bytes]) -> None:
        self._response, self.status = response, response.status
        self._secrets = [one for key in keys if len(key) >= LEAST for one in _ways_to_write(key)]
        self.headers = [(name, self._masked(value)) for name, value in response.headers if _RETURNED(name)]

    def header(self, name: bytes) -> bytes:
        return self._response.header(name)

    async def read(self, limit: int = MAX_WHOLE) -> bytes:
        body = self._masked(await self._response.read(limit))
        # Letters of a key have no need of an escape but to hide it; in errors whatever is escaped is looked at.
        if self._secrets and (b"\\u00" in body or (self.status >= 400 and b"\\" in body)):
            try:
                plain = msgspec.json.encode(msgspec.json.decode(body))
            except (ValueError, RecursionError):
                return body
            return plain if (plain := self._masked(plain)).count(_KEY) > body.count(_KEY) else body
        return body

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        pieces = self._response.pieces()
        held = b""
        try:
            async for piece in pieces:
                if self._secrets and (held or not piece.endswith(b"\n")):
                    piece = self._masked(held + piece)  # noqa: PLW2901
                    begun = self._begun(piece)
                    held = piece[begun:]
                    piece = piece[:begun]  # noqa: PLW2901
                else:
                    piece = self._masked(piece)  # noqa: PLW2901
                if piece:
                    yield piece
            if held:
                yield held
        finally:
            await pieces.aclose()

    def _masked(self, data: bytes) -> bytes:
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, _KEY)
        return data

    def _begun(self, data: bytes) -> int:
        """Where a secret begins that the next piece may end; the length of the data where none does."""
        for length in range(min(len(data), max(map(len, self._secrets)) - 1), 0, -1):
            end = data[-length:]
            if any(secret.startswith(end) for secret in self._secrets):
                return len(data) - length
        return len(data)
