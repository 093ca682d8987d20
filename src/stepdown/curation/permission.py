"""Whether the user may train on the incumbent's outputs: what they state, else what to look up."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TERMS: tuple[tuple[str, str], ...] = (
    (r"(?:^|/)(?:gpt-oss)", "gpt-oss is published under Apache-2.0, which sets no condition on outputs"),
    (
        r"(?:^|/)(?:gpt-|o\d|chatgpt|text-davinci)",
        "OpenAI's terms restrict using output to develop models that compete with OpenAI, with an exception for "
        "models that classify or organise data and are not distributed",
    ),
    (r"claude", "Anthropic's commercial terms forbid building competing products, training competing models included"),
    (r"gemini", "Google's Gemini API terms forbid developing models that compete with it"),
    (r"gemma", "the Gemma terms reach models trained on Gemma's outputs"),
    (r"llama", "the Llama licence asks that models trained on its outputs carry Llama in their name"),
    (r"(?:^|/)(?:qwen|qwq)", "most Qwen weights are published under Apache-2.0, which sets no condition on outputs"),
    (r"deepseek", "DeepSeek's MIT-licensed weights allow distillation"),
)


def state_permission(stated: str, models: Iterable[str]) -> str:
    """The user's own words, or "not stated" with what is known of the terms of the models that answered.

    A hint to look up the terms in force with whoever serves the model; no legal advice.
    """
    if stated.strip():
        return stated.strip()
    hints = {hint for model in models for pattern, hint in _TERMS if re.search(pattern, model.casefold())}
    known = "; ".join(sorted(hints)) or "no terms are known for these models"
    return f"not stated ({known}; check the terms in force)"
