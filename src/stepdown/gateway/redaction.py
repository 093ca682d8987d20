"""A request as it may leave where a contract says "redact": personal data masked, and nothing that cannot be read.

It is masked once, before a student, the cache, the recorder or an upstream see it, and everything in it is: texts, the
names of fields, numbers, and JSON within texts. Only what tells structure stays as it is, where it is one of the known.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec

from stepdown.gateway.errors import Refused, error_response
from stepdown.gateway.exchange import ABSTAINED, Exchange, Middleware, Next
from stepdown.gateway.http.messages import Response

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_READABLE = ("text", "refusal", "thinking", "tool_use", "tool_result", "tool_call", "function")
"""The kinds of parts whose every text can be masked. Images, sound and files cannot."""
_IDS = frozenset({"id", "tool_call_id", "tool_use_id"})
_PEOPLE = frozenset({"user", "user_id", "safety_identifier", "prompt_cache_key"})
_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"traceparent", b"anthropic-version", b"anthropic-beta")
_MANY_DIGITS = re.compile(rb"\d{7}")
_secret = os.urandom(16)

Mask = Callable[[Any], Any]
"""Masks any JSON value: its texts, the names of its fields, its numbers."""


def redacting(mask: Mask) -> Middleware:
    """Mask what may leave only so, off the event loop. It stands behind admission and before all that answers."""

    def redact(exchange: Exchange, proceed: Next) -> Awaitable[Response]:
        return masked(exchange, proceed) if exchange.privacy == "redact" else proceed(exchange)

    async def masked(exchange: Exchange, proceed: Next) -> Response:
        request, task = exchange.request, exchange.task
        try:
            known = (
                {task.incumbent, task.task.match.model, *(task.template.models if task.template else ())}
                if task
                else ()
            )
            body = await asyncio.get_running_loop().run_in_executor(None, masked_body, exchange.body, mask, known)
        except ValueError as error:
            exchange.rung, exchange.reason, exchange.error = ABSTAINED, "cannot be masked", "cannot_be_masked"
            exchange.body, exchange.chat, request.body = {}, {}, b""
            refused = Refused(
                422, f"Only masked texts may leave this machine, and the request has {error}.", "cannot_be_masked"
            )
            headers = [(b"x-stepdown-id", exchange.id.encode()), (b"x-stepdown-rung", ABSTAINED.encode())]
            return error_response(exchange.wire, refused, headers)
        exchange.body, exchange.chat, request.body = body, exchange.wire.request(body), msgspec.json.encode(body)
        request.headers = {
            name: value
            for name in _HEADERS
            if (value := request.headers.get(name)) is not None
            and (name in _HEADERS[:4] or not _MANY_DIGITS.search(value))
        }
        request.query = ""
        if task is not None and task.task.template is not None:
            exchange.value = task.task.template.cut(exchange.chat)
        return await proceed(exchange)

    return redact


def masked_body(body: dict[str, Any], mask: Mask, models: Collection[str] = ()) -> dict[str, Any]:
    """A request of either wire with everything in it masked; models: names that need not be. Raises ValueError for what
    nobody can mask."""
    try:
        return _Masked(mask, [*models]).body(body)
    except RecursionError:
        raise ValueError("fields that are nested too deeply") from None


class _Masked:
    def __init__(self, mask: Mask, models: list[str]) -> None:
        self.value, self._models = mask, models

    def body(self, body: dict[str, Any]) -> dict[str, Any]:
        model, out = body.get("model"), self.value({key: value for key, value in body.items() if key not in _SPECIAL})
        if "model" in body:
            if model not in self._models and self.value(model) != model:
                raise ValueError("a model's name that holds personal data")
            out["model"] = model
        out["messages"] = [self._message(message) for message in body["messages"]]
        if "system" in body:
            out["system"] = self._content(body["system"])
        if "seed" in body:
            out["seed"] = int(_pseudonym(body["seed"])[:7], 16)
        for key in _PEOPLE & body.keys():
            out[key] = _pseudonym(body[key])
        metadata = body.get("metadata")
        if isinstance(metadata, dict) and "user_id" in metadata:
            out["metadata"]["user_id"] = _pseudonym(metadata["user_id"])
        return {key: out[key] for key in (*body, *out) if key in out}  # in the order they came

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("role") not in _ROLES:
            raise ValueError("a role that is not known")
        out = self._with_ids(message)
        for call, given in zip(_dicts(out.get("tool_calls")), _dicts(message.get("tool_calls")), strict=True):
            call |= {key: _pseudonym(given[key]) for key in _IDS & given.keys()}
        return out

    def _with_ids(self, given: dict[str, Any]) -> dict[str, Any]:
        """A message or part: its content part by part, its ids as pseudonyms, everything else masked."""
        out: dict[str, Any] = self.value({key: each for key, each in given.items() if key not in ("content", *_IDS)})
        out |= {key: _pseudonym(given[key]) for key in _IDS & given.keys()}
        if "content" in given:
            out["content"] = self._content(given["content"])
        return out

    def _content(self, content: Any) -> Any:
        if not isinstance(content, list):
            return self.value(content)
        parts = [self._part(part) for part in content]
        texts = [part["text"] for part in _dicts(content) if isinstance(part.get("text"), str)]
        if len(parts) == len(texts) > 1:
            # What is masked in no part may be whole where they meet.
            whole = self.value("".join(texts))
            if whole != "".join(part["text"] for part in parts):
                return [{**parts[0], "text": whole}]
        return parts

    def _part(self, part: Any) -> Any:
        if not isinstance(part, dict):
            return self.value(part)
        kind = part.get("type")
        if kind not in _READABLE:
            raise ValueError(f"a part of the kind {self.value(str(kind)[:50])!r}")
        out = self._with_ids(part)
        if "signature" in part and any(out[key] != part[key] for key in ("signature", "thinking") if key in part):
            raise ValueError("signed thinking that holds personal data")
        return out


_SPECIAL = frozenset({"model", "messages", "system", "seed", *_PEOPLE})


def _pseudonym(value: Any) -> str:
    """The same for the same id as long as this gateway runs, and nobody can tell the id from it."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=_secret, digest_size=12).hexdigest()


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
