"""The demonstration's last act: the gateway is started for real and asked through the vendor's own client."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from stepdown.core.calls import Call
from stepdown.core.errors import ResourceError, needs
from stepdown.core.tasks import Template, input_text
from stepdown.project.home import Home

if TYPE_CHECKING:
    from openai import OpenAI

ASKED = 5
START_S = 30.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request through the gateway: its variable part, what came back, who answered, how sure, in how long."""

    input: str
    answer: str
    rung: str
    confidence: str
    seconds: float
    certificate: str


def ask_gateway(home: Home, task: str) -> list[Asked]:
    """Serve the project on a free port with its recorded answers as the upstream, and send a few of its requests.

    The last one asks for the incumbent by header. Raises MissingExtra, ResourceError.
    """
    with needs("demo", "Asking the gateway through the OpenAI client"):
        from openai import OpenAI
    with home.store() as store:
        gold = store.gold()
        known = (call for call in store.calls(task) if not call.rung)
        tested = (call for call in known if call.id in gold and gold[call.id].split == "test")
        calls = list(itertools.islice(tested, 0, ASKED * 40, 40))
        template = store.tasks()[task].template
    with _serving(home) as address, OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        asked = [_ask(client, call, template, {}) for call in calls]
        asked += [_ask(client, call, template, {"x-stepdown-route": "incumbent"}) for call in calls[-1:]]
    return asked


def _ask(client: OpenAI, call: Call, template: Template | None, headers: dict[str, str]) -> Asked:
    started = time.perf_counter()
    raw = client.chat.completions.with_raw_response.create(**call.request, extra_headers=headers)
    seconds = time.perf_counter() - started
    value = template.cut(call.request) if template else None
    return Asked(
        input=input_text(value) if value else "",
        answer=raw.parse().choices[0].message.content or "",
        rung=raw.headers.get("x-stepdown-rung", ""),
        confidence=raw.headers.get("x-stepdown-confidence", ""),
        seconds=seconds,
        certificate=raw.headers.get("x-stepdown-certificate", ""),
    )


@contextlib.contextmanager
def _serving(home: Home) -> Iterator[str]:
    """The gateway as a process of its own, ended as an operator would end it."""
    command = [sys.executable, "-m", "stepdown", "serve", "--home", str(home.folder), "--port", "0"]
    process = subprocess.Popen(  # noqa: S603
        [*command, "--upstream", "replay:", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ResourceError(
                "The gateway did not start.",
                "",
                f"Run it by hand: stepdown --home {home.folder} serve --upstream replay:",
            )
        yield msgspec.json.decode(line)["address"]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
