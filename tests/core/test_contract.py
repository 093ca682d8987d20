"""A contract is parsed whole or refused in one paragraph that names the key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.contract import Contract, parse_contract, parse_duration, parse_task_settings
from stepdown.core.errors import ContractError
from stepdown.project.settings import TEMPLATE, Settings, parse_settings

DOCS = Path(__file__).parents[2] / "docs"


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ContractError, match="unknown key 'marign'.*Did you mean 'margin'"):
        parse_contract({"marign": 0.1})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"margin": "much"}, "margin"),
        ({"margin": 1.5}, "margin = 1.5"),
        ({"confidence": 0.2}, "confidence = 0.2"),
        ({"against": "hope"}, "against"),
        ({"latency_p95_ms": -1.0}, "latency_p95_ms"),
        ({"expires_after": "soon"}, "'soon' is not a duration"),
        ({"expires_after": 30}, "expires_after = 30"),
        ({"privacy": "secret"}, "privacy"),
    ],
)
def test_a_wrong_value_is_named(table: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        parse_contract(table)


def test_what_is_not_said_has_its_default() -> None:
    settings = parse_task_settings("t", {"contract": {"margin": 0.05, "expires_after": "2h"}})
    assert settings.contract == Contract(margin=0.05, expires_after_s=7200.0)


def test_a_misspelt_task_key_is_refused() -> None:
    with pytest.raises(ContractError, match="Did you mean 'family'"):
        parse_task_settings("t", {"famly": "classify"})
    with pytest.raises(ContractError, match="Did you mean 'tasks'"):
        parse_settings({"taks": {}})


@given(st.floats(0.001, 1e6), st.sampled_from("smhd"))
def test_durations_are_positive_seconds(number: float, unit: str) -> None:
    text = f"{number:.3f}{unit}"
    assert parse_duration(text) == pytest.approx(round(number, 3) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit])


@given(st.text(max_size=8))
def test_any_text_is_a_duration_or_a_contract_error(text: str) -> None:
    try:
        assert parse_duration(text) > 0
    except ContractError as error:
        assert "duration" in str(error)


def test_the_documented_settings_parse_and_name_every_key() -> None:
    text = (DOCS / "contract.md").read_text()
    example = text.split("```toml\n", 1)[1].split("```", 1)[0]
    settings = parse_settings(tomllib.loads(example))
    assert settings.tasks["banking-intent"].contract.slices == ("label",)
    for field in (*msgspec.structs.fields(Contract), *msgspec.structs.fields(Settings)):
        assert field.name.removesuffix("_s") in text


def test_the_template_parses_with_and_without_its_comments() -> None:
    assert parse_settings(tomllib.loads(TEMPLATE)) == Settings()
    bare = "\n".join(line.removeprefix("# ") for line in TEMPLATE.splitlines()[2:])
    assert parse_settings(tomllib.loads(bare)).tasks["my-task"].contract.latency_p95_ms == 20
