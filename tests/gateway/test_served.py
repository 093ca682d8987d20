"""Every call says who answered it, how sure, under which certificate and in which trace, in records of earlier versions
too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scipy.stats import binomtest

from stepdown.core.calls import Call
from stepdown.core.served import AskedRung, Served
from stepdown.gateway.exchange import Exchange
from stepdown.gateway.outcome import outcome_of, served_of
from stepdown.gateway.records import fill_in, pack, unpack
from stepdown.project.builds import latest
from stepdown.project.home import open_home
from tests.cli.conftest import stepdown
from tests.cli.tickets import TASK
from tests.gateway.exchanges import exchange, task
from tests.gateway.large_model import LargeModel
from tests.gateway.serving import Gateway, copied, kept, serving, sure, unsure

SURE = sure()[0]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
ASKED = (AskedRung("linear", 0.4, 0.9, (0.25, -1.5)), AskedRung("encoder", 0.95, 0.9, (0.5,)))
SERVED_TASK = replace(task(), build="001-abc", cascade="c" * 64, certificate="d" * 64)


def served(gateway: Gateway, got: Any) -> Served:
    call = kept(gateway.home, got.headers["x-stepdown-id"])
    assert call.served is not None
    return call.served


def test_a_students_answer_says_everything_that_decided_it(gateway: Gateway) -> None:
    found = served(gateway, got := gateway.ask(SURE, headers=TRACED))
    folder = latest(open_home(gateway.home), TASK)
    certificate, spec = folder.read_certificate(), folder.read_cascade()
    assert (found.rung, found.build, found.trace, found.parent) == ("linear", folder.path.name, TRACE, SPAN)
    assert (found.certificate, found.cascade) == (certificate.digest, spec.digest)
    assert (found.selection, found.probability, found.reason, found.cached) == ("", 1.0, "", False)
    assert [(one.rung, one.threshold) for one in found.asked] == [(one.kind, one.threshold) for one in spec.rungs]
    assert f"{found.confidence:.4f}" == got.headers["x-stepdown-confidence"]
    assert found.answered is not None
    assert found.answered.confidence >= found.answered.threshold
    assert found.answered.signals


def test_an_escalated_call_keeps_which_rungs_were_asked_and_how_sure_they_were(gateway: Gateway) -> None:
    found = served(gateway, got := gateway.ask(unsure()))
    assert (found.rung, found.selection, found.reason) == ("incumbent", "escalated", "unsure")
    assert found.asked
    assert all(one.confidence < one.threshold for one in found.asked)
    assert f"{found.confidence:.4f}" == got.headers["x-stepdown-confidence"]
    assert found.certificate
    assert found.answered is None


def test_what_a_client_insists_on_is_told_apart(gateway: Gateway) -> None:
    found = served(gateway, gateway.ask(unsure(), headers={"x-stepdown-route": "students"}))
    assert (found.rung, found.reason) == ("linear", "unsure")
    assert found.answered is not None
    assert found.answered.confidence < found.answered.threshold


def test_of_no_task_only_a_trace_is_kept(gateway: Gateway) -> None:
    plain = {"messages": [{"role": "user", "content": "hello"}]}
    assert kept(gateway.home, gateway.ask("", **plain).headers["x-stepdown-id"]).served is None
    assert served(gateway, gateway.ask("", headers=TRACED, **plain)) == Served(trace=TRACE, parent=SPAN)
    wrong = gateway.ask("", headers={"traceparent": "00-no-trace-01"}, **plain)
    assert kept(gateway.home, wrong.headers["x-stepdown-id"]).served is None


def test_the_holdback_has_its_probability(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(
        certified, tmp_path / "home", f"[tasks.{TASK}.contract]\nmargin = 0.05\nholdback = 0.4\nprivacy = 'redact'\n"
    )
    with serving(home, "--upstream", upstream.url) as gateway:
        found = [served(gateway, gateway.ask(SURE, headers=TRACED)) for _ in range(60)]
    held = [one for one in found if one.selection == "holdback"]
    assert {(one.rung, one.probability, one.asked, one.trace) for one in held} == {("incumbent", 0.4, (), TRACE)}
    assert {one.rung for one in found if one not in held} == {"linear"}
    assert binomtest(len(held), 60, 0.4).pvalue > 1e-6


def test_the_calls_of_the_command_line_show_it(gateway: Gateway) -> None:
    got = gateway.ask(SURE, headers=TRACED)
    found = served(gateway, got)
    said = stepdown("calls", TASK, "--limit", "1", "--json", "--home", str(gateway.home))
    (row,) = (json.loads(line) for line in said.out.splitlines())
    assert row["id"] == got.headers["x-stepdown-id"]
    assert found.answered is not None
    assert row["served"] == {
        **{"rung": "linear", "cached": False, "reason": None, "build": found.build, "cascade": found.cascade},
        **{"certificate": found.certificate, "confidence": found.confidence, "trace": TRACE, "parent": SPAN},
        **{"threshold": found.answered.threshold, "signals": list(found.answered.signals)},
        "asked": [{**msgspec.structs.asdict(one), "signals": list(one.signals)} for one in found.asked],
        **{"selection": "", "probability": 1.0},
    }
    shown = stepdown("calls", TASK, "--limit", "1", "--home", str(gateway.home)).out
    assert f"{found.confidence:.3f}" in shown


def no_cost(call: Call) -> None:
    return None


@pytest.mark.parametrize(
    "fields",
    [
        {"rung": "encoder", "upstream": "", "asked": ASKED},
        {"asked": ASKED, "selection": "escalated", "reason": "unsure"},
        {"selection": "holdback", "selection_probability": 0.25},
        {"rung": "cache", "upstream": "", "repeated": "linear"},
        {"rung": "cache", "upstream": "cache", "repeated": "incumbent", "selection": "escalated"},
        {"reason": "certificate lapsed"},
    ],
)
@pytest.mark.parametrize("is_read", [False, True])
def test_a_record_holds_it(fields: dict[str, Any], is_read: bool) -> None:
    one = exchange(served=SERVED_TASK, **fields)
    one.request.headers[b"traceparent"] = TRACED["traceparent"].encode()
    expected = served_of(one)
    assert expected is not None
    assert expected.trace == TRACE
    again, outcome = read(pack(one, outcome_of(one, no_cost) if is_read else None))
    assert served_of(again) == expected
    assert outcome.call is not None
    assert outcome.call.served == expected


def read(record: bytes) -> tuple[Exchange, Any]:
    found = unpack(record)
    assert isinstance(found, tuple)
    one, outcome = found
    if outcome is None:
        fill_in(one)
        outcome = outcome_of(one, no_cost)
    return one, outcome


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize(
    ("fields", "provider", "expected"),
    [
        ({"rung": "linear", "upstream": ""}, "stepdown/linear", Served(rung="linear", certificate="d" * 64)),
        ({"rung": "cache", "upstream": ""}, "stepdown/cache", Served(rung="cache", cached=True, certificate="d" * 64)),
        (
            {"selection": "holdback", "selection_probability": 0.25},
            "openai",
            Served(selection="holdback", probability=0.25, certificate="d" * 64),
        ),
        ({}, "openai", Served()),
    ],
)
def test_a_record_of_the_version_before_is_read(
    fields: dict[str, Any], provider: str, expected: Served, is_read: bool
) -> None:
    one = exchange(served=SERVED_TASK, **fields)
    record = msgspec.msgpack.decode(pack(one, outcome_of(one, no_cost) if is_read else None))
    record = record[:-1]  # it ended with the trace
    if is_read:
        call = record[7][0]
        del call["served"]
        call |= {"provider": provider, "selection": one.selection, "selection_probability": one.selection_probability}
    _, outcome = read(msgspec.msgpack.encode(record))
    assert outcome.call is not None
    assert outcome.call.served == expected
    assert outcome.call.provider == one.upstream.replace("cache", "")
