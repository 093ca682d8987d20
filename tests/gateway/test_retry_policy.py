"""What may be asked again and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.gateway.retry_policy import RetryPolicy, may_be_retried, retry_after_s

DATE = (b"date", b"Fri, 20 Nov 2026 21:00:00 GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"7")], 0.25),
        ([(b"retry-after", b"Fri, 20 Nov 2026 21:00:30 GMT"), DATE], 30.0),
        ([(b"retry-after", b"Fri, 20 Nov 2026 20:00:30 GMT"), DATE], 0.0),
        ([(b"retry-after", b"Fri, 20 Nov 2026 21:00:30 GMT")], None),
        ([(b"retry-after", b"-3")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"soon"), DATE], None),
        ([(b"retry-after", b"\xff\x00")], None),
    ],
)
def test_retry_after(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_are_jittered_and_bounded(attempt: int, chance: float) -> None:
    patience = RetryPolicy(backoff_s=0.25, most_backoff_s=4.0)
    wait = patience.wait_s(attempt, chance, None)
    assert wait is not None
    assert 0 <= wait <= min(4.0, 0.25 * 2.0 ** min(attempt, 10))


def test_waits_that_are_asked_for_are_kept_or_not_made_at_all() -> None:
    assert RetryPolicy(most_retry_after_s=10).wait_s(0, 0.0, 10.0) == 10.0
    assert RetryPolicy(most_retry_after_s=10).wait_s(0, 0.0, 10.1) is None


def test_what_may_be_retried() -> None:
    assert may_be_retried(503, [])
    assert not may_be_retried(503, [(b"x-should-retry", b"false")])
    assert not may_be_retried(400, [(b"x-should-retry", b"true")])
