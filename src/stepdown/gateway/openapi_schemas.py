"""The bodies of the HTTP surface as JSON Schema: what the gateway looks at itself, and room for all else a wire has.

Sources: the API references of chat completions (platform.openai.com/docs/api-reference/chat) and of messages
(docs.claude.com/en/api/messages). Fields that only pass through are left to those.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stepdown.gateway.feedback import Feedback
from stepdown.gateway.reading import ROUTES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_KNOWN_ID = {"type": "string", "minLength": 1, "maxLength": 500}


def _open(properties: Schema, *required: str, description: str = "") -> Schema:
    """An object that may hold more than is said of it."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": True}
    if required:
        schema["required"] = list(required)
    return {"description": description, **schema} if description else schema


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """A reference to one of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Schema]:
    """Every named schema."""
    message = _open({"role": _TEXT}, description="A message with whatever its wire allows in it.")
    request = {"model": _TEXT, "messages": _list(ref("Message")), "stream": {"type": "boolean"}}
    return {
        "Message": message,
        "ChatCompletionRequest": _open(
            {**request, "metadata": {"type": ["object", "null"]}, "n": {"type": ["integer", "null"]}},
            "messages",
            description="Any chat completions request. Unknown fields pass through untouched.",
        ),
        "MessagesRequest": _open(
            {**request, "max_tokens": {"type": "integer"}, "metadata": {"type": ["object", "null"]}},
            "messages",
            description="Any messages request. Unknown fields pass through untouched.",
        ),
        "ChatCompletion": _chat_completion(),
        "AnthropicMessage": _open(
            {
                "id": _TEXT,
                "type": {"const": "message"},
                "role": {"const": "assistant"},
                "model": _TEXT,
                "content": _list(_open({"type": _TEXT}, "type")),
                "stop_reason": {"type": ["string", "null"]},
                "usage": _open({"input_tokens": _COUNT, "output_tokens": _COUNT}),
            },
            "content",
        ),
        "ModelList": _open(
            {
                "object": {"const": "list"},
                "data": _list(_open({"id": _TEXT, "object": {"const": "model"}, "owned_by": _TEXT}, "id")),
            },
            "object",
            "data",
        ),
        "Feedback": _feedback(),
        "FeedbackKept": {
            "type": "object",
            "properties": {"id": _KNOWN_ID, "became": {"enum": ["gold", "verdict"]}},
            "required": ["id", "became"],
            "additionalProperties": False,
        },
        "State": _open(
            {
                "status": {"enum": ["ok", "ready", "not ready"]},
                "reason": _TEXT,
                "warnings": {"type": "array", "items": _TEXT},
            },
            "status",
        ),
        "ChatError": _open(
            {"error": _open({"message": _TEXT, "type": _TEXT, "param": {}, "code": {}}, "message")},
            "error",
            description="An error as chat completions have it.",
        ),
        "MessagesError": _open(
            {"type": {"const": "error"}, "error": _open({"type": _TEXT, "message": _TEXT}, "type", "message")},
            "type",
            "error",
            description="An error as messages have it.",
        ),
    }


def headers_of_answers() -> dict[str, Schema]:
    """The headers that say who answered, by name."""
    said = {
        "x-stepdown-id": "The call's id, for feedback.",
        "x-stepdown-rung": "Who answered: a student's kind, incumbent, cache; abstained or refused where nobody did.",
        "x-stepdown-task": "The task that the request is of.",
        "x-stepdown-reason": "Why no student answered.",
        "x-stepdown-confidence": "The student's calibrated confidence, in [0, 1].",
        "x-stepdown-certificate": "The first 16 digits of the certificate that a student answered under.",
    }
    return {name: {"description": text, "schema": _TEXT} for name, text in said.items()}


def parameters() -> list[Schema]:
    """The headers of a model call that are the gateway's own."""
    return [
        {
            "name": "x-stepdown-route",
            "in": "header",
            "description": "Who must answer: the incumbent, or students although none is sure enough.",
            "schema": {"enum": list(ROUTES)},
        },
        {
            "name": "x-stepdown-workload",
            "in": "header",
            "description": "The task by name, where it should not be told from the prompt. Also x-workload-id.",
            "schema": {"type": "string", "maxLength": 200},
        },
    ]


def _chat_completion() -> Schema:
    choice = _open(
        {"index": _COUNT, "message": _open({"role": _TEXT}), "finish_reason": {"type": ["string", "null"]}}, "message"
    )
    usage = _open({"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT})
    properties = {"id": _TEXT, "object": _TEXT, "created": {"type": "integer"}, "model": _TEXT}
    return _open({**properties, "choices": _list(choice), "usage": usage}, "choices")


def _feedback() -> Schema:
    """As the type has it, and that exactly one of three is given, which a type cannot say."""
    _, components = msgspec.json.schema_components([Feedback], ref_template="#/components/schemas/{name}")
    schema: Schema = components["Feedback"]
    said = " ".join(str(schema["description"]).split())
    return {**schema, "description": said, "oneOf": [{"required": [name]} for name in ("gold", "accepted", "score")]}
