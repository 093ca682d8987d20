"""What a stream used is asked for beside, and its client gets the bytes that it would have got without."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.gateway.upstreams._usage import UsageFilter, with_usage
from stepdown.wires import openai_chat
from tests.gateway.asked import exchange
from tests.gateway.large_model import SAID, LargeModel, Says, Seen, usual_answer
from tests.gateway.serving import asked, kept, puzzle, serving

DELTA = '"choices":[{"index":0,"delta":{"content":",\\"usage\\":null,"},"finish_reason":null}]'
PLAIN = (f'data: {{"id":"a",{DELTA}}}\n\n'.encode(), b": a comment\n\n", b"data: [DONE]\n\n")
ASKED = (
    f'data: {{"id":"a",{DELTA},"usage":null}}\n\n'.encode(),
    b": a comment\n\n",
    b'data: {"id":"a","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n',
    b"data: [DONE]\n\n",
)


@given(cuts=st.lists(st.integers(0, sum(map(len, ASKED))), max_size=6), ends=st.sampled_from([b"\n", b"\r\n"]))
def test_the_client_gets_the_same_bytes_however_a_stream_is_cut(cuts: list[int], ends: bytes) -> None:
    stream = b"".join(ASKED).replace(b"\n", ends)
    one = exchange(openai_chat, stream=True)
    usage = UsageFilter(one)
    places = [0, *sorted(cuts), len(stream)]
    got = b"".join(usage.feed(stream[start:end]) for start, end in itertools.pairwise(places))
    assert got + usage.close() == b"".join(PLAIN).replace(b"\n", ends)
    assert b'"prompt_tokens":3' in one.withheld


@pytest.mark.parametrize(
    "piece",
    [
        b'data: {"choices":[],"usage":{"a":1}',
        b'data: {"usage": not json}\n\n',
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":3}}\n\n',
        b'data: {"choices":[{"delta":{"usage":null}}]}\n\n',
        b"data: " + b"x" * (2 << 20),
    ],
)
def test_what_is_no_usage_of_its_own_passes_as_it_is(piece: bytes) -> None:
    usage = UsageFilter(exchange(openai_chat, stream=True))
    assert usage.feed(piece) + usage.close() == piece


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
def test_the_clients_own_bytes_are_kept_where_it_says_nothing_of_its_stream(options: Any) -> None:
    more = {} if options is None else {"stream_options": options}
    one = exchange(openai_chat, stream=True, **more)
    sent = with_usage(one)
    assert json.loads(sent) == {**one.body, "stream_options": {**(options or {}), "include_usage": True}}
    if options is None:
        assert sent.endswith(one.request.body[1:])


def test_a_server_that_does_not_know_the_option_is_asked_without_it(tmp_path: Path) -> None:
    def old(seen: Seen) -> Says:
        if b"stream_options" in seen.body:
            return Says(b'{"error": {"message": "unrecognized request argument: stream_options"}}', 400)
        return usual_answer(seen)

    model = LargeModel(old).start()
    try:
        with serving(_empty(tmp_path), "--upstream", model.url) as gateway:
            for count in (2, 3):  # The first is asked twice, the others once.
                got = gateway.ask(puzzle(9000 + count), stream=True)
                assert got.status_code == 200
                assert got.content.endswith(b"data: [DONE]\n\n")
                assert sum(seen.method == "POST" for seen in model.seen) == count
            call = kept(gateway.home, got.headers["x-stepdown-id"])
            assert (call.prompt_tokens, call.cost_usd) == (None, None)
            assert call.account is not None
            assert call.account.estimated
    finally:
        model.stop()


def test_streams_are_priced_on_either_wire_and_over_both(upstream: LargeModel, tmp_path: Path) -> None:
    home = _empty(tmp_path)
    claude = (
        f'[[gateway.upstreams]]\nurl = "{upstream.url}"\nname = "claude"\nkind = "anthropic"\nmodels = ["claude"]\n'
    )
    plain = f'[[gateway.upstreams]]\nurl = "{upstream.url}"\nname = "chat"\n'
    (home / "stepdown.toml").write_text(f"{claude}{plain}")
    with serving(home) as gateway:
        client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0)
        for model in ("claude", "gpt-4o-mini"):
            raw = client.chat.completions.with_raw_response.create(**{**asked("hi"), "model": model}, stream=True)
            chunks = list(raw.parse())
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
            assert "usage" not in chunks[0].to_dict()
            assert (call := kept(home, raw.headers["x-stepdown-id"])).account is not None
            assert (call.prompt_tokens, call.completion_tokens, call.account.estimated) == (40, 9, False)
        theirs = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
        with theirs.messages.stream(
            model="gpt-4o-mini", max_tokens=50, messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            assert stream.get_final_message().usage.output_tokens == 9


def test_it_is_not_asked_for_where_the_settings_say_so(upstream: LargeModel, tmp_path: Path) -> None:
    home = _empty(tmp_path)
    (home / "stepdown.toml").write_text(f'[[gateway.upstreams]]\nurl = "{upstream.url}"\nask_usage = false\n')
    with serving(home) as gateway:
        gateway.ask("hi", stream=True)
        assert "stream_options" not in upstream.last().json


def _empty(folder: Path) -> Path:
    (folder / "home").mkdir()
    return folder / "home"
