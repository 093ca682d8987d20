"""The HTTP surface as an OpenAPI 3.1 description: every path, every status the gateway gives itself, both error shapes.

Source of the format: spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from stepdown.gateway.http.messages import JSON, Request, Response
from stepdown.gateway.openapi_schemas import Schema, headers_of_answers, parameters, ref, schemas
from stepdown.wires import anthropic_messages, openai_chat

_ANY_PATH = (
    "What is below /v1/ and not listed here (embeddings, files …) passes through to the first upstream that has it. "
    "HEAD is answered wherever GET is."
)
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}, {}]

_ANY = {
    400: "Not HTTP/1.1, or not what this path takes.",
    404: "Nothing is there.",
    405: "Not with this method; `allow` names those that are.",
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    414: "The target is too long.",
    431: "The headers are too large.",
    500: "The gateway failed; its log says where.",
    503: "Too many connections are open.",
}
_KEYED = {401: "No key, or an unknown, revoked or expired one."}
_CALLED = {
    **_KEYED,
    403: "The key may not ask for this task or model.",
    404: "No upstream takes this model; or the replay has no such recording.",
    415: "The content type is not JSON.",
    422: "No student may answer, and the request or its task's contract allows nobody else.",
    429: "A limit or a budget is reached; `retry-after` says for how many seconds.",
    502: "The upstream's answer was broken.",
    503: "No upstream can be reached or is configured, or each failed too often and is left alone for a moment.",
    504: "The upstream took too long.",
}
_JUDGED = {
    **_KEYED,
    403: "This key has no access to the task.",
    404: "No recorded call has this id (yet).",
    409: "The call has another gold answer, which was imported; or calls that differ have an answer of this id.",
    415: "The content type is not JSON.",
    422: "The value cannot be an answer of the call's task, or the call has none to judge.",
    503: "The store cannot be reached.",
}

_HEADERS = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}


def describe(version: str) -> dict[str, Any]:
    """The description as a JSON-serialisable dictionary. version: of stepdown."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "stepdown", "version": version, "description": _ANY_PATH},
        "paths": _paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def description(version: str) -> Callable[[Request], Awaitable[Response]]:
    """What answers GET /openapi.json."""
    body = msgspec.json.encode(describe(version))

    async def answer(request: Request) -> Response:
        return Response(200, [JSON], body)

    return answer


def _paths() -> dict[str, Any]:
    chat = _call("Answer a chat.", "ChatCompletionRequest", "ChatCompletion", "ChatError")
    messages = _call("Answer a conversation.", "MessagesRequest", "AnthropicMessage", "MessagesError")
    paths: dict[str, Any] = {}
    for prefix in ("/v1", ""):
        paths[prefix + openai_chat.PATH] = {"post": chat}
        paths[prefix + anthropic_messages.PATH] = {"post": messages}
        paths[prefix + "/models"] = {
            "get": _plain("The upstreams' models and the tasks' aliases.", "ModelList", _KEYED)
        }
    paths["/v1/feedback"] = {"post": _feedback()}
    paths["/healthz"] = {"get": _plain("The process lives.", "State", {})}
    ready = _plain("Requests may come.", "State", {})
    ready["responses"]["503"] = _said("They may not yet or no longer, and why.", ref("State"), ref("ChatError"))
    paths["/readyz"] = {"get": ready}
    paths["/metrics"] = {"get": _plain("Metrics as Prometheus reads them.", "", {})}
    paths["/openapi.json"] = {"get": _plain("This description.", "", {}, {"application/json": {"schema": {}}})}
    return paths


def _call(summary: str, request: str, answer: str, error: str) -> dict[str, Any]:
    content = {"application/json": {"schema": ref(answer)}, "text/event-stream": {"schema": {}}}
    headers = headers_of_answers()
    passed_on: dict[str, Any] = {
        "description": "The upstream's answer, its status and body untouched.",
        "headers": headers,
        "content": {"*/*": {"schema": {}}},
    }
    return {
        "summary": summary,
        "security": _SECURITY,
        "parameters": parameters(),
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(request)}}},
        "responses": {
            "200": {"description": "The answer, whole or as events.", "headers": headers, "content": content},
            **_errors({**_ANY, **_CALLED}, error),
            "default": passed_on,
        },
    }


def _feedback() -> dict[str, Any]:
    return {
        "summary": "Say what would have been right, or how good an answer was.",
        "security": _SECURITY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Feedback")}}},
        "responses": {
            "200": _said("What it became.", ref("FeedbackKept")),
            **_errors({**_ANY, **_JUDGED}, "ChatError"),
        },
    }


def _plain(summary: str, schema: str, more: dict[int, str], content: dict[str, Any] | None = None) -> dict[str, Any]:
    """A path that takes no body. schema: "" for text that is no JSON."""
    text = {"text/plain": {"schema": {"type": "string"}}}
    content = content or ({"application/json": {"schema": ref(schema)}} if schema else text)
    return {
        "summary": summary,
        **({"security": _SECURITY} if more else {}),
        "responses": {"200": {"description": "OK.", "content": content}, **_errors({**_ANY, **more}, "ChatError")},
    }


def _errors(statuses: dict[int, str], error: str) -> dict[str, Any]:
    said = {}
    for status, text in sorted(statuses.items()):
        said[str(status)] = _said(text, ref(error))
        if status in _HEADERS:
            said[str(status)]["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
    return said


def _said(text: str, *shapes: Schema) -> dict[str, Any]:
    schema = shapes[0] if len(shapes) == 1 else {"anyOf": list(shapes)}
    return {"description": text, "content": {"application/json": {"schema": schema}}}
