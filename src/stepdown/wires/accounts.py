"""Finish reasons and token usage, translated between the wires.

Sources: docs.anthropic.com/en/api/messages (stop reasons, usage), platform.openai.com/docs/api-reference/chat/object.
"""

from __future__ import annotations

from typing import Any

from stepdown.wires.loose import count, mapping

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def finish_reason_of(stop_reason: Any) -> str:
    """Why an answer ended, in chat terms."""
    return FINISH_REASONS.get(str(stop_reason), "stop")


def stop_reason(finish_reason: Any, has_tools: bool, refused: bool) -> str:
    """Why the answer ended. A forced tool call ends with "stop" on the chat wire, and with "tool_use" on this one."""
    reason = STOP_REASONS.get(str(finish_reason), "end_turn")
    if reason == "end_turn":
        return "tool_use" if has_tools else "refusal" if refused else reason
    return reason


def chat_usage(usage: Any) -> dict[str, Any]:
    """Tokens in chat terms, where the prompt's count includes what was read from and written to the cache."""
    counts = {key: value for key, value in mapping(usage).items() if isinstance(value, int)}
    if not counts:
        return {}
    read, written = counts.get("cache_read_input_tokens", 0), counts.get("cache_creation_input_tokens", 0)
    prompt, completion = counts.get("input_tokens", 0) + read + written, counts.get("output_tokens", 0)
    whole: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if read or written:
        whole["prompt_tokens_details"] = {"cached_tokens": read, "cache_write_tokens": written}
    return whole


def messages_usage(usage: Any) -> dict[str, Any]:
    """Tokens as this wire counts them: what was read from or written to the cache is not part of `input_tokens`."""
    counts = mapping(usage)
    details = mapping(counts.get("prompt_tokens_details"))
    read, written = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    whole = {
        "input_tokens": max(count(counts.get("prompt_tokens")) - read - written, 0),
        "output_tokens": count(counts.get("completion_tokens")),
    }
    if read or written:
        whole |= {"cache_read_input_tokens": read, "cache_creation_input_tokens": written}
    return whole
