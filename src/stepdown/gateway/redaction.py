"""A request as it may leave where a contract says "redact": personal data masked, and nothing that cannot be read.

It is masked once, before a student, the cache, the recorder or an upstream see it, and everything in it is: texts, the
names of fields, numbers, and JSON within texts. Only what tells structure stays as it is, where it is one of the known.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

import msgspec

from stepdown.gateway.errors import Refused, error_response
from stepdown.gateway.exchange import ABSTAINED, Exchange, Middleware, Next
from stepdown.gateway.http.messages import Response

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_READABLE = frozenset({"text", "refusal", "thinking", "tool_use", "tool_result", "tool_call", "function"})
"""The kinds of parts whose every text can be masked. Images, sound and files cannot."""
_IDS = frozenset({"id", "tool_call_id", "tool_use_id"})
_PEOPLE = frozenset({"user", "user_id", "safety_identifier", "prompt_cache_key"})
_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"traceparent", b"anthropic-version", b"anthropic-beta")
_LONG_NUMBER = 10**6
_MANY_DIGITS = re.compile(rb"\d{7}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DEEPEST = 8
_LONG_TEXT, _MOST_KNOWN = 1024, 4096
_secret = os.urandom(16)

Mask = Callable[[str], str]


def redacting(mask: Mask) -> Middleware:
    """Mask what may leave only so, off the event loop. It stands behind admission and before all that answers."""
    mask = _remembering(mask)

    async def redact(exchange: Exchange, proceed: Next) -> Response:
        if exchange.privacy != "redact":
            return await proceed(exchange)
        request, task = exchange.request, exchange.task
        try:
            known = (
                {task.incumbent, task.task.match.model, *(task.manners.models if task.manners else ())} if task else ()
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


def masked_body(body: dict[str, Any], mask: Mask, models: Iterable[str] = ()) -> dict[str, Any]:
    """A request of either wire with everything in it masked; models: names that need not be. Raises ValueError for what
    nobody can mask."""
    try:
        return _Masked(mask, frozenset(models)).body(body)
    except RecursionError:
        raise ValueError("fields that are nested too deeply") from None


class _Masked:
    def __init__(self, mask: Mask, models: frozenset[str]) -> None:
        self._mask, self._models = mask, models

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

    def value(self, value: Any, depth: int = 0) -> Any:
        """Any JSON value, masked in every text, name of a field and number. depth: of JSON within texts."""
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return _coarse(value)
        if isinstance(value, list):
            return [self.value(each, depth) for each in value]
        out: dict[str, Any] = {}
        for key, each in value.items():
            name = masked = self._text(key, _DEEPEST)
            while name in out:
                name = f"{masked}-{len(out)}"
            out[name] = self.value(each, depth)
        return out

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("role") not in _ROLES:
            raise ValueError("a role that is not known")
        out: dict[str, Any] = self.value({key: each for key, each in message.items() if key not in ("content", *_IDS)})
        out |= {key: _pseudonym(message[key]) for key in _IDS & message.keys()}
        for call, given in zip(_dicts(out.get("tool_calls")), _dicts(message.get("tool_calls")), strict=True):
            call |= {key: _pseudonym(given[key]) for key in _IDS & given.keys()}
        if "content" in message:
            out["content"] = self._content(message["content"])
        return out

    def _content(self, content: Any) -> Any:
        if not isinstance(content, list):
            return self.value(content)
        parts = [self._part(part) for part in content]
        texts = [part["text"] for part in _dicts(content) if isinstance(part.get("text"), str)]
        if len(parts) == len(texts) > 1:
            # What is masked in no part may be whole where they meet.
            whole = self._text("".join(texts), 0)
            if whole != "".join(part["text"] for part in parts):
                return [{**parts[0], "text": whole}]
        return parts

    def _part(self, part: Any) -> Any:
        if not isinstance(part, dict):
            return self.value(part)
        kind = part.get("type")
        if kind not in _READABLE:
            raise ValueError(f"a part of the kind {self.value(str(kind)[:50])!r}")
        out = self.value({key: value for key, value in part.items() if key not in ("content", *_IDS)})
        if "signature" in part and out != {key: part[key] for key in out}:
            raise ValueError("signed thinking that holds personal data")
        out |= {key: _pseudonym(part[key]) for key in _IDS & part.keys()}
        if "content" in part:
            out["content"] = self._content(part["content"])
        return out

    def _text(self, text: str, depth: int) -> str:
        """A text, masked however its data are written: as JSON, percent-encoded, with escapes of JSON or HTML."""
        if depth < _DEEPEST and text.lstrip()[:1] in ("{", "["):
            try:
                read, changed = _read(text)
            except (ValueError, RecursionError):
                pass
            else:
                masked = self.value(read, depth + 1)
                if changed or masked != read:
                    return json.dumps(masked, ensure_ascii=False)
        plain = _plain(text)
        masked_plain = self._mask(plain)
        return masked_plain if masked_plain != plain else self._mask(text)


_SPECIAL = frozenset({"model", "messages", "system", "seed", *_PEOPLE})


def _read(text: str) -> tuple[Any, bool]:
    """JSON within a text, and whether it has a field twice, of which the text shows more than is read."""
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        read = dict(found)
        twice = twice or len(read) < len(found)
        return read

    return json.loads(text, object_pairs_hook=pairs), twice


def _plain(text: str) -> str:
    """A text with its escapes resolved, as whoever reads it last may do."""
    for _ in range(3):
        known = text
        if "%" in text:
            text = unquote(text)
        if "\\u" in text:
            text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
        if "&" in text:
            text = html.unescape(text)
        if text == known:
            break
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _coarse(number: float) -> float:
    """A number of seven digits or more may be somebody's: its sign and size stay, and six digits of a fraction."""
    if not math.isfinite(number):
        return 0
    if abs(number) < _LONG_NUMBER:
        return number if isinstance(number, int) else float(f"{number:.6g}")
    size = 10 ** min(len(str(abs(int(number)))) - 1, 18)
    return math.copysign(size, number) if isinstance(number, float) else size if number > 0 else -size


def _pseudonym(value: Any) -> str:
    """The same for the same id as long as this gateway runs, and nobody can tell the id from it."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=_secret, digest_size=12).hexdigest()


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _remembering(mask: Mask) -> Mask:
    """`mask`, but a long text in which nothing was found, as prompts are, is looked through once."""
    clean: dict[bytes, None] = {}

    def remembered(text: str) -> str:
        if len(text) < _LONG_TEXT:
            return mask(text)
        known = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if known in clean:
            return text
        masked = mask(text)
        if masked == text:
            if len(clean) >= _MOST_KNOWN:
                clean.clear()
            clean[known] = None
        return masked

    return remembered
