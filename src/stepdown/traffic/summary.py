"""Summaries of tasks: figures of their traffic, with a verdict in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import TOOL
from stepdown.core.tasks import Task
from stepdown.stats.intervals import quantile_interval
from stepdown.traffic.answers import Reading
from stepdown.traffic.tally import Sum, Tally

MONTH_S = 365.25 / 12 * 86400.0
LEAST_SPAN_S = 3600.0
FEW_CALLS = 200
ENOUGH_CALLS = 1_000
LEAST_PARSED = 0.9
MOST_NAMED = 8

_NORMAL_95 = 1.959963984540054


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A task found in traffic. Money in USD, latency in seconds, tokens per call.

    share_parsed: the share of (a sample of) answers that the family can read. distinct_inputs: estimated above 4,096.
    calls_per_month: None where the calls span less than an hour or have no times.
    verdict: "ready", "look closer", "not yet" or "stay"; reason: why, in plain words.
    """

    task: Task
    calls: int
    share_parsed: float
    distinct_inputs: int
    spend_usd: Estimate | None
    cost_per_1k: Estimate | None
    latency_p50: Estimate | None
    latency_p95: Estimate | None
    prompt_tokens: float | None
    completion_tokens: float | None
    models: dict[str, int]
    first: float | None
    last: float | None
    calls_per_month: Estimate | None
    verdict: str
    reason: str
    notes: tuple[str, ...] = ()


def summarise(tally: Tally, task: Task, kind: str, reading: Reading) -> TaskSummary:
    """The summary of a task from what was counted of its calls."""
    verdict, reason = judge(tally, task, kind, reading)
    per_month, why_not = _per_month(tally)
    notes = [why_not] if why_not else []
    if tally.models_without_price:
        names = ", ".join(repr(name) for name, _ in tally.models_without_price.most_common(3))
        unpriced = tally.calls - tally.cost.n
        notes.append(
            f"{unpriced:,} of {tally.calls:,} calls could not be priced (no price or no token counts: {names})"
        )
    return TaskSummary(
        task=task,
        calls=tally.calls,
        share_parsed=reading.share,
        distinct_inputs=tally.inputs.count,
        spend_usd=_spend(tally),
        cost_per_1k=_cost_per_1k(tally.cost),
        latency_p50=_latency(tally, 0.5),
        latency_p95=_latency(tally, 0.95),
        prompt_tokens=tally.prompt_tokens.mean if tally.prompt_tokens.n else None,
        completion_tokens=tally.completion_tokens.mean if tally.completion_tokens.n else None,
        models=dict(tally.models.most_common()),
        first=tally.first if tally.timed else None,
        last=tally.last if tally.timed else None,
        calls_per_month=per_month,
        verdict=verdict,
        reason=reason,
        notes=tuple(notes),
    )


def judge(tally: Tally, task: Task, kind: str, reading: Reading) -> tuple[str, str]:
    """The verdict on a task, and why in plain words."""
    if kind == "chat" and not tally.turns:
        return "stay", (
            "one system prompt and free texts: whether that is one task shows with more calls, or a table in "
            "stepdown.toml says so (match)"
        )
    if kind == "chat":
        return "stay", "conversations of many free turns under one system prompt: there is no input to learn from alone"
    if kind == "opening":
        return "stay", "the first turns of conversations under one system prompt"
    if kind == "unmatched":
        return "stay", "these calls share no prompt template: nothing is asked again and again"
    if tally.errors * 2 > tally.calls:
        return "stay", f"{tally.errors:,} of {tally.calls:,} calls failed: there is little to learn from"
    if task.template is None and tally.turns * 2 > tally.calls:
        return (
            "stay",
            f"{tally.turns:,} of {tally.calls:,} calls are later turns of conversations: no input is alone",
        )
    if not task.family:
        return "not yet", _of_no_family(tally)
    if task.form is not None and not task.form.fields:
        return "stay", "; ".join(("no student can fill a field of these answers", *_refused(task)))
    return _judge_answers(tally, task, reading)


def _of_no_family(tally: Tally) -> str:
    if tally.tool_calls * 2 > tally.calls:
        return f"{tally.tool_calls:,} of {tally.calls:,} answers call tools that no request defines, or too few to tell"
    return "the answers are neither drawn from a small set of labels nor JSON objects of one shape"


def _judge_answers(tally: Tally, task: Task, reading: Reading) -> tuple[str, str]:
    if task.template is None:
        return "look closer", f"the answers have {_offer(task)}, but the prompts share no template that shows the input"
    if tally.inputs.count < 2 or not task.template.slots:
        return "not yet", "the prompt never varies, so there is nothing to learn"
    if reading.distinct < 2 and len(task.labels) < 2:
        return "not yet", "every answer seen is the same"
    if tally.calls < FEW_CALLS:
        return "not yet", f"only {tally.calls:,} calls; about {ENOUGH_CALLS:,} are wanted to train and to prove"
    shown = f"{_offer(task)} over {tally.inputs.count:,} inputs"
    if tally.calls < ENOUGH_CALLS:
        return "look closer", f"{shown}, but only {tally.calls:,} calls; {ENOUGH_CALLS:,} would prove more"
    if reading.share < LEAST_PARSED:
        why = f" ({reading.unread})" if reading.unread else ""
        return "look closer", f"{shown}, but only {reading.share:.0%} of the answers can be read at {task.answer}{why}"
    if tally.inputs.count < FEW_CALLS:
        return "look closer", f"{shown}: a cache may do as well as a model"
    readable = f"{shown}, {reading.share:.0%} of the answers readable at {task.answer}"
    refused = _refused(task)
    return ("look closer", "; ".join((readable, *refused))) if refused else ("ready", readable)


def _offer(task: Task) -> str:
    """A description of the answers' parts."""
    if task.form is None:
        return f"{len(task.labels):,} labels"
    tools = _listed("tool", task.form.tools)
    fields = _listed("field", [field.name for field in task.form.fields if field.name != TOOL or not tools])
    return " with ".join(offer for offer in (tools, fields) if offer)


def _listed(noun: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"{len(names):,} {noun}{'s' if len(names) != 1 else ''} ({', '.join(names[:MOST_NAMED])}{more})"


def _refused(task: Task) -> list[str]:
    """The reasons for fields that are left to the incumbent, by name."""
    refused = list(task.form.refused.items()) if task.form is not None else []
    named = [f"{name!r} is left to the incumbent: {reason}" for name, reason in refused[:MOST_NAMED]]
    return [*named, f"and {len(refused) - MOST_NAMED:,} fields more"] if len(refused) > MOST_NAMED else named


def _spend(tally: Tally) -> Estimate | None:
    """The cost of all calls at list prices; calls without a price are taken to cost the mean of the others."""
    cost = tally.cost
    if not cost.n:
        return None
    unpriced = tally.calls - cost.n
    value = cost.mean * tally.calls
    spread = _NORMAL_95 * cost.standard_error * unpriced
    method = "sum at list prices"
    if unpriced:
        method += f", {unpriced:,} calls without a price at the mean of the others"
    return Estimate(
        value=value,
        low=max(cost.total, value - spread),
        high=value + spread,
        n=cost.n,
        method=method,
        unit="USD",
        estimated=True,
    )


def _cost_per_1k(cost: Sum) -> Estimate | None:
    if not cost.n:
        return None
    value, spread = 1e3 * cost.mean, 1e3 * _NORMAL_95 * cost.standard_error
    return Estimate(
        value=value,
        low=max(0.0, value - spread),
        high=value + spread,
        n=cost.n,
        method="mean at list prices, normal interval",
        unit="USD per 1,000 calls",
        estimated=True,
    )


def _latency(tally: Tally, quantile: float) -> Estimate | None:
    """A latency percentile. An end that the sample is too small to bound is the sample's own."""
    sample = tally.latencies.items
    if not sample:
        return None
    interval = quantile_interval(sample, quantile)
    low = interval.lower if math.isfinite(interval.lower) else min(sample)
    high = interval.upper if math.isfinite(interval.upper) else max(sample)
    method = "order statistics" if tally.latencies.seen == len(sample) else "order statistics of a uniform sample"
    return Estimate(value=interval.estimate, low=low, high=high, n=len(sample), method=method, unit="s")


def _per_month(tally: Tally) -> tuple[Estimate | None, str]:
    if not tally.timed:
        return None, "no calls per month: the calls have no times"
    span = tally.last - tally.first
    if span < LEAST_SPAN_S:
        return None, f"no calls per month: the calls span {span / 60:.0f} minutes, less than an hour"
    scale = MONTH_S / span * tally.calls / tally.timed
    spread = _NORMAL_95 * math.sqrt(tally.timed)
    return Estimate(
        value=scale * tally.timed,
        low=scale * max(0.0, tally.timed - spread),
        high=scale * (tally.timed + spread),
        n=tally.timed,
        method=f"rate over {span / 3600:.1f} h carried forward, Poisson interval; hours and days are taken to be alike",
        unit="calls per month",
        estimated=True,
    ), ""
