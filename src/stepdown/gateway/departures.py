"""Where a request asks for another answer than the recorded ones were, so that a student's would be a wrong one."""

from __future__ import annotations

from typing import Any

from stepdown.gateway.served import Manners


def why_cut_short(chat: dict[str, Any], completion: dict[str, Any], manners: Manners) -> str:
    """The limit in a request that would have ended the incumbent's answer early; "" where none would.

    A number of tokens that recorded requests allowed too is known to be enough.
    """
    choices = completion["choices"]
    tokens = completion["usage"]["completion_tokens"] // len(choices)
    limit = tokens_allowed(chat)
    if limit is not None and limit < tokens and not 0 < manners.least_limit <= limit:
        return "max_tokens"
    stops = chat.get("stop")
    for stop in [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else ():
        if isinstance(stop, str) and stop and stop in (choices[0]["message"].get("content") or ""):
            return "stop"
    return ""


def tokens_allowed(chat: dict[str, Any]) -> int | None:
    """How long an answer a request allows; None where it says nothing."""
    limits = [chat.get("max_completion_tokens"), chat.get("max_tokens")]
    said = [limit for limit in limits if isinstance(limit, int) and not isinstance(limit, bool)]
    return min(said, default=None)
