"""A request as it may leave where a contract says "redact": personal data masked, and nothing that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepdown.core.calls import masked

_READABLE = frozenset({"text", "refusal", "thinking", "tool_use", "tool_result", "tool_call", "function"})
"""The kinds of parts whose every text can be masked. Images, sound and files cannot."""


def masked_body(body: dict[str, Any], mask: Callable[[str], str]) -> dict[str, Any]:
    """A request with every text in it masked but the model's name. Raises ValueError for what nobody can mask."""
    for message in body["messages"]:
        _check(message.get("content"))
    _check(body.get("system"))
    return {key: value if key == "model" else masked(value, mask) for key, value in body.items()}


def _check(content: Any) -> None:
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        if kind not in _READABLE:
            raise ValueError(f"a part of the kind {str(kind)[:50]!r}")
        _check(part.get("content"))
