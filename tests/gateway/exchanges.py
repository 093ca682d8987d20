"""Finished exchanges, as the gateway hands them to the recorder."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec

from stepdown.core.contract import Privacy
from stepdown.core.family import families
from stepdown.core.keys import Key
from stepdown.core.tasks import Match, Task
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.http.messages import Request
from stepdown.gateway.outcome import is_student
from stepdown.gateway.served import ResponseTemplate, ServedTask
from stepdown.wires import openai_chat

AT = 500_000 * 3600.0 + 60.0
KEY = Key(id="k1", name="reporting", digest="d", prefix="sk-stepdown-abcd", created_at=0.0)


def task(name: str = "intent", privacy: Privacy = "any") -> ServedTask:
    return ServedTask(
        task=Task(name=name, family="classify", match=Match(workload=name)),
        family=families().load("classify"),
        privacy=privacy,
        template=ResponseTemplate(like={"role": "assistant", "content": "{}"}, model="gpt-4o-mini", cost_usd=0.002),
        rung_usd={"linear": 0.0005},
    )


def answer(content: str = "yes", usage: tuple[int, int] | None = (100, 20), **more: Any) -> dict[str, Any]:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return {**body, **more}


def exchange(
    reply: bytes | list[bytes] | dict[str, Any] | None = None,
    said: str = "hello",
    wire: ModuleType = openai_chat,
    served: ServedTask | None = None,
    **fields: Any,
) -> Exchange:
    """An exchange that the upstream "openai" answered with 200, unless `fields` say otherwise."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": said}]}
    made = Exchange(Request("POST", "/v1/chat/completions", body=msgspec.json.encode(body)), wire, AT, 10.0)
    made.body, made.chat = body, wire.request(body)
    reply = answer() if reply is None else reply
    made.reply = msgspec.json.encode(reply) if isinstance(reply, dict) else reply
    made.task, made.upstream, made.status, made.latency_s = served, "openai", 200, 0.25
    made.privacy = served.privacy if served is not None else "any"
    for name, value in fields.items():
        setattr(made, name, value)
    if is_student(made.rung) and served is not None:
        made.own_usd = served.own_usd(made.rung)
    return made
