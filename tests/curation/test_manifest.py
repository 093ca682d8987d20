from __future__ import annotations

import pytest

from stepdown.curation.manifest import state_permission


def test_the_users_own_words_stand():
    assert state_permission(" agreed in writing ", ["gpt-4o"]) == "agreed in writing"


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("gpt-4o-mini", "OpenAI"),
        ("openai/gpt-oss-20b", "Apache-2.0"),
        ("claude-sonnet-4", "Anthropic"),
        ("gemini-2.0-flash", "Gemini"),
        ("meta-llama/Llama-3.1-8B", "Llama"),
        ("Qwen/Qwen3-30B-A3B", "Qwen"),
    ],
)
def test_terms_to_look_up(model, word):
    said = state_permission("", [model])
    assert said.startswith("not stated (")
    assert word in said


def test_an_unknown_model():
    assert "no terms are known" in state_permission("", ["house-model"])
