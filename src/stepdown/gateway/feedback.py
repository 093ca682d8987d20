"""POST /v1/feedback: what turned out to be right, or how good an answer was, becomes gold or a verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from stepdown.gateway.errors import Refused
from stepdown.gateway.http.messages import JSON, Request, Response
from stepdown.gateway.limits import Bucket
from stepdown.gateway.reading import check_json

MAX_BYTES = 64 << 10


class Feedback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Feedback on one call: `gold`, the right answer; `accepted`, whether the answer given was right; or `score`, how
    good it was in [0, 1]. id: the answer's own id or the header x-stepdown-id. source: the client's comment on where it
    comes from; who gave it is the key, whatever stands there."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    gold: Any | msgspec.UnsetType = msgspec.UNSET
    accepted: bool | msgspec.UnsetType = msgspec.UNSET
    score: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | msgspec.UnsetType = msgspec.UNSET
    source: Annotated[str, msgspec.Meta(max_length=200)] = ""


Keep = Callable[[Feedback], str]
"""Keeps feedback and says what became of it. Raises Refused: an unknown call, a value that cannot be an answer."""

_decode = msgspec.json.Decoder(Feedback).decode


def read_feedback(request: Request) -> Feedback:
    """The feedback in a request's body. Raises Refused."""
    check_json(request)
    if len(request.body) > MAX_BYTES:
        raise Refused(413, f"Feedback is larger than {MAX_BYTES >> 10} KB.", "too_large")
    try:
        feedback = _decode(request.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(
            400,
            f"The feedback cannot be read: {error}. Expected {{id, gold}} or {{id, accepted}} or {{id, score}}.",
            "invalid_feedback",
        ) from None
    given = [value for value in (feedback.gold, feedback.accepted, feedback.score) if value is not msgspec.UNSET]
    if len(given) != 1:
        raise Refused(400, "Expected exactly one of gold, accepted and score.", "invalid_feedback")
    if "\0" in feedback.id + feedback.source:
        raise Refused(400, "The id or the source holds a NUL, which not every store can.", "invalid_feedback")
    return feedback


class FeedbackRate:
    """How fast each key gives feedback. Memory is bounded by the keys there are."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._buckets: dict[str, Bucket] = {}

    def admit(self, key_id: str, now: float) -> None:
        """Counts a piece of feedback of a key ("" for none). Raises Refused. now: seconds since the epoch."""
        bucket = self._buckets.setdefault(key_id, Bucket(self._per_minute, now))
        wait_s = bucket.wait_s(1.0, now)
        if wait_s:
            reason = f"This key may give {self._per_minute:g} pieces of feedback a minute."
            raise Refused(429, reason, "rate_limited", wait_s)
        bucket.take(1.0, now)


def feedback_response(feedback: Feedback, became: str) -> Response:
    """What is said back: the id, and what the feedback became ("gold" or "verdict")."""
    return Response(200, [JSON], msgspec.json.encode({"id": feedback.id, "became": became}))
