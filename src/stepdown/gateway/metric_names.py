"""What the gateway counts: every metric with its kind, its labels and what it means.

Source of the naming: prometheus.io/docs/practices/naming (base units, `_total` for counters).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """name: without the `_total` that the exposition adds to counters. buckets: upper bounds in seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_TASK, _UPSTREAM = ("task", "rung"), ("upstream",)
_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ADDED = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

REQUESTS = Metric(
    "stepdown_requests",
    "counter",
    "Model calls answered, by task, rung that answered, wire and class of status.",
    (*_TASK, "wire", "status"),
)
ESCALATIONS = Metric(
    "stepdown_escalations",
    "counter",
    "Calls of a task that went to the incumbent, and why no student answered.",
    ("task", "reason"),
)
DURATION = Metric(
    "stepdown_request_duration_seconds",
    "histogram",
    "Time from a request's arrival to the last byte of its answer.",
    _TASK,
    _LATENCY,
)
ADDED = Metric(
    "stepdown_added_duration_seconds",
    "histogram",
    "The part of a request's time that the gateway and its students took, without the upstream's.",
    _TASK,
    _ADDED,
)
TOKENS = Metric(
    "stepdown_tokens",
    "counter",
    "Tokens of answered calls; estimated from the length of the text where the upstream sent no usage.",
    (*_TASK, "direction"),
)
COST = Metric(
    "stepdown_cost_usd",
    "counter",
    "What answers cost, in USD, with the students that were tried, as far as their model has a price.",
    _TASK,
)
ALONE = Metric(
    "stepdown_incumbent_cost_usd",
    "counter",
    "What the incumbent alone would have cost for the same calls, in USD; less what they cost, it is what was saved.",
    _TASK,
)
DROPPED = Metric("stepdown_dropped_calls", "counter", "Calls that were answered but not kept, and why.", ("reason",))
REFUSALS = Metric(
    "stepdown_refusals", "counter", "Requests refused by keys, limits or budgets, and why.", ("task", "reason")
)
CACHE_LOOKUPS = Metric(
    "stepdown_cache_lookups", "counter", "Look-ups in the response cache, and whether it had the answer.", ("result",)
)
UPSTREAM_RETRIES = Metric("stepdown_upstream_retries", "counter", "Requests asked again of an upstream.", _UPSTREAM)
UPSTREAM_FAILURES = Metric(
    "stepdown_upstream_failures",
    "counter",
    "Requests that an upstream failed, by kind of failure.",
    (*_UPSTREAM, "kind"),
)
BREAKER = Metric(
    "stepdown_upstream_breaker_open",
    "gauge",
    "1 while an upstream is left alone because it failed too often.",
    _UPSTREAM,
)
IN_FLIGHT = Metric("stepdown_requests_in_flight", "gauge", "Requests being answered now.")
QUEUE = Metric("stepdown_queue_depth", "gauge", "What waits: texts for students.", ("queue",))
WAITING_BYTES = Metric(
    "stepdown_capture_waiting_bytes", "gauge", "Bytes of answered calls on this machine's disk that the store lacks."
)
CAPTURE_HEALTHY = Metric(
    "stepdown_capture_healthy_workers", "gauge", "Gateway processes whose disk takes the calls that they answer."
)
MOVERS = Metric("stepdown_movers", "gauge", "Processes that move calls from this machine's disk into the store.")
STORE_HEALTHY = Metric("stepdown_store_healthy", "gauge", "1 while the store takes what is moved into it.")
CERTIFICATE = Metric(
    "stepdown_certificate_valid_until_seconds",
    "gauge",
    "When a task's certificate lapses, in seconds since the epoch; absent where none is in force.",
    ("task",),
)
MATCH_RATE = Metric(
    "stepdown_match_rate_collapsed",
    "gauge",
    "1 while a task's requests are no longer known as its own, and those of no task have risen instead.",
    ("task",),
)
CACHE_BYTES = Metric("stepdown_cache_bytes", "gauge", "Bytes that the response cache holds.")
WORKERS = Metric("stepdown_workers", "gauge", "Gateway processes that are running.")
BUILD = Metric("stepdown_build_info", "gauge", "1, with the version of stepdown that runs.", ("version",))

METRICS = (
    REQUESTS,
    ESCALATIONS,
    DURATION,
    ADDED,
    TOKENS,
    COST,
    ALONE,
    DROPPED,
    REFUSALS,
    CACHE_LOOKUPS,
    UPSTREAM_RETRIES,
    UPSTREAM_FAILURES,
    BREAKER,
    IN_FLIGHT,
    QUEUE,
    WAITING_BYTES,
    CAPTURE_HEALTHY,
    MOVERS,
    STORE_HEALTHY,
    CERTIFICATE,
    MATCH_RATE,
    CACHE_BYTES,
    WORKERS,
    BUILD,
)

SHARED_BY_ALL = frozenset({CERTIFICATE.name, BUILD.name, BREAKER.name, WAITING_BYTES.name})
"""Gauges that every process knows alike: of several processes the largest counts, not the sum."""
