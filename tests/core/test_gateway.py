"""The [gateway] table is read whole or refused in a paragraph that names the key and shows no secret."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from stepdown.core.contract import TaskSettings, parse_task_settings
from stepdown.core.errors import ContractError
from stepdown.core.gateway import KEY_VARIABLE, GatewaySettings, UpstreamSettings
from stepdown.core.limits import Limits
from stepdown.core.secret import Secret
from stepdown.project.settings import TEMPLATE, Settings, parse_settings

HIDDEN = "sk-hunter2"
DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"


def read(text: str) -> Settings:
    return parse_settings(tomllib.loads(text))


def test_nothing_said_is_loopback_and_no_upstream() -> None:
    found = read("").gateway
    assert (found.host, found.all_upstreams(), found.retention_s) == ("127.0.0.1", (), None)


def test_the_documented_table_parses_and_names_every_key() -> None:
    text = DOCS.read_text(encoding="utf-8")
    settings = read(text.split("```toml\n", 1)[1].split("```", 1)[0])
    assert [one.name for one in settings.gateway.all_upstreams()] == ["api.openai.com", "azure"]
    assert settings.gateway.retention_s == 90 * 86400
    task = settings.task("banking-intent")
    assert (task.incumbent, task.cache_s, task.limits.usd_per_day) == ("gpt-4o-mini", 600.0, 20)
    for kind in (GatewaySettings, UpstreamSettings, Limits):
        for field in msgspec.structs.fields(kind):
            assert re.search(rf"\b{field.name}\b", text), field.name


def test_the_template_mentions_the_gateway() -> None:
    bare = "\n".join(line.removeprefix("# ") for line in TEMPLATE.splitlines()[2:])
    assert read(bare).gateway.upstream.startswith("https://")


def test_a_key_is_shown_nowhere_and_revealed_where_asked_for() -> None:
    settings = read(
        f'[gateway]\nupstream = "http://h"\nupstream_key = "{HIDDEN}"\n'
        f'[[gateway.upstreams]]\nurl = "http://i"\nkey = "{HIDDEN}"\n'
    )
    assert HIDDEN not in repr(settings) + str(settings) + f"{settings.gateway.upstream_key}"
    assert [one.secret({}).reveal() for one in settings.gateway.all_upstreams()] == [HIDDEN, HIDDEN]
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[gateway]\nupstream_kee = "{HIDDEN}"', "Did you mean 'upstream_key'"),
        (f'[gateway]\nupstream_key = ["{HIDDEN}"]', "gateway"),
        (f'[gateway]\nupstream_key = 12\nupstream = "http://{HIDDEN}@h"', "gateway"),
        (f'gateway = "{HIDDEN}"', "no table"),
        (f'[gateway]\nupstream = "https://user:{HIDDEN}@host/v1"', "user or a password"),
        (f'[[gateway.upstreams]]\nurl = "http://h"\nkye = "{HIDDEN}"', "Did you mean 'key'"),
        (f'[gateway]\nupstreams = ["{HIDDEN}"]', "list of tables"),
        ('[[gateway.upstreams]]\nname = "x"', "url"),
        ('[[gateway.upstreams]]\nurl = "ftp://h"', "http://"),
        ('[[gateway.upstreams]]\nurl = "http://[::1"', "http://"),
        ('[[gateway.upstreams]]\nurl = "http://h"\ntotal_s = 0', "total_s"),
        ('[[gateway.upstreams]]\nurl = "http://h"\nretries = 100', "retries"),
        ('[[gateway.upstreams]]\nurl = "http://h"\nname = "a"\n[[gateway.upstreams]]\nurl = "u"\nname = "a"', "url"),
        ("[gateway]\nport = 70000", "port = 70000"),
        ('[gateway]\nport = "x"', "port"),
        ("[gateway]\ncapture_share = 2.0", "capture_share = 2.0"),
        ('[gateway]\nretention = "for ever"', "not a duration"),
        ("[gateway]\nmax_body_bytes = 1", "max_body_bytes = 1"),
        ("[gateway]\ncapture_bytes = 1", "capture_bytes = 1"),
        ("[gateway]\ncapture_lag_bytes = -1", "capture_lag_bytes = -1"),
        ("[gateway]\ncapture_lag_s = -0.5", "capture_lag_s = -0.5"),
        ('[gateway]\nsync = "all"', "sync"),
        ("[gateway]\nbody_timeout_s = 0", "body_timeout_s"),
        ("[gateway]\ndrain_s = -1", "drain_s"),
        ('[tasks.a]\ncache = "soon"', "not a duration"),
        ("[tasks.a.limits]\nusd_per_dy = 1", "Did you mean 'usd_per_day'"),
        ("[tasks.a.limits]\nusd_per_day = 0", "usd_per_day = 0"),
        ("[tasks.a.limits]\nusd_per_day = nan", "usd_per_day = nan"),
        ('[tasks.a]\nlimits = "many"', "limits"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_with_it(text: str, said: str) -> None:
    with pytest.raises(ContractError) as refused:
        read(text)
    assert said in str(refused.value)
    assert HIDDEN not in str(refused.value)


def test_only_the_first_upstream_takes_the_key_of_the_environment_unasked() -> None:
    found = read(
        '[[gateway.upstreams]]\nurl = "http://a"\n[[gateway.upstreams]]\nurl = "http://b"\n'
        '[[gateway.upstreams]]\nurl = "http://c"\nkey_env = "OTHER"\n'
    ).gateway.all_upstreams()
    keys = [one.secret({KEY_VARIABLE: "first", "OTHER": "third"}) for one in found]
    assert [one.reveal() for one in keys] == ["first", "", "third"]


def test_upstreams_without_a_name_get_one_each() -> None:
    table = '[[gateway.upstreams]]\nurl = "http://h/1"\n[[gateway.upstreams]]\nurl = "http://h/2"\n'
    named = read(table + '[[gateway.upstreams]]\nurl = "file"\nkind = "replay"\nname = "h"').gateway.all_upstreams()
    assert [one.name for one in named] == ["h-2", "h-3", "h"]


def test_a_tasks_own_keys_have_quiet_defaults() -> None:
    assert parse_task_settings("t", {}) == TaskSettings()
    assert TaskSettings().cache_s is None
    assert not TaskSettings().limits.any()
    assert Limits(usd_per_day=1).any()


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret()
    assert len({Secret("a"), Secret("a"), Secret("")}) == 2
