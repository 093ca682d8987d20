"""The gateway's speed, beside LiteLLM's proxy and firstpass in the same run: a fixed upstream, one worker, every call
recorded.

usage: python -m benchmarks.gateway_speed [--seconds 5] [--rounds 3] [--workers 1] [--only through] [--linear-home DIR]

STEPDOWN_BENCH_LITELLM and STEPDOWN_BENCH_FIRSTPASS name the peers' commands (litellm[proxy] 1.109.1, firstpass 0.9.0,
each in an environment of its own); without one its peer is skipped. Rounds are interleaved (upstream, gateway, peers,
upstream, ...); figures are medians with least and most. --only through leaves out what students answer. Exits 1 where
an answer was wrong, missing, or not recorded; what misses a figure is only shown.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._gateway import homes, processes, traffic
from benchmarks._gateway.processes import Server
from benchmarks._gateway.wrk import Load, Wrk, middle, shown, spread

BODIES = 512
PACED, PAUSE_MS = 0, 5
"""One connection that waits before each request, so that every server is asked about as often: a key among the numbers
of connections."""
SAMPLE = 200
CATCH_UP_S = 300.0
FIGURES_S = 3.0
"""After so long /metrics tells all: what is recorded is told of once a second."""


@dataclass
class Side:
    """One server under load and what it did."""

    server: Server
    wrk: Wrk
    paced: Wrk | None = None
    home: Path | None = None
    loads: dict[int, list[Load]] = field(default_factory=dict)
    sustained: dict[int, list[float]] = field(default_factory=dict)
    """Requests/s of each round, its time with what the store took to have all of its calls."""
    cpu_us: dict[int, list[float]] = field(default_factory=dict)
    """Processor time of a request in each round, of all processes, until the store has its calls."""
    catch_up_s: list[float] = field(default_factory=list)
    calls_before: int = 0
    asked: int = 0
    rss_mb: tuple[float, float] = (0.0, 0.0)

    def of(self, connections: int, figure: Callable[[Load], float]) -> float:
        return middle([figure(load) for load in self.loads[connections]])


def main() -> None:
    """Print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--only", choices=("through",))
    parser.add_argument("--linear-home", type=Path)
    parser.add_argument("--encoder-home", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        linear = homes.home_for("linear", chosen.linear_home, scratch)
        faults = pass_through(linear, scratch, chosen.rounds, chosen.seconds, chosen.workers)
        if chosen.only is None:
            encoder = homes.home_for("encoder", chosen.encoder_home, scratch)
            faults += local_answers([linear, encoder], scratch, chosen.rounds, chosen.seconds)
            starts([linear, encoder], scratch, chosen.starts)
    print()
    print("\n".join(faults) or "Every answer was right and every answered call is in the store.")
    sys.exit(1 if faults else 0)


def pass_through(home: Path, scratch: Path, rounds: int, seconds: float, workers: int) -> list[str]:
    """Through the gateway and through the peer to one upstream. Returns what was wrong."""
    asked = traffic.requests_of_task(BODIES)
    bodies = traffic.passed_through(asked)
    with ExitStack() as stack:
        upstream = stack.enter_context(processes.fixed_upstream(scratch))
        address = f"{upstream.url}/v1"
        wrk = Wrk("through", bodies, scratch)
        paced = Wrk("paced", bodies, scratch, pause_ms=PAUSE_MS)
        alone = Side(upstream, wrk, paced)
        served = processes.gateway(home, address, scratch, "--workers", str(workers))
        ours = Side(stack.enter_context(served), wrk, paced, home)
        sides = [alone, ours]
        started = (processes.litellm(traffic.MODEL, address, scratch), processes.firstpass(address, scratch))
        peers = [Side(server, wrk, paced) for server in map(stack.enter_context, started) if server is not None]
        sides += peers
        faults = _run(sides, (PACED, 1, 8, 32), rounds, seconds)
        for side in sides[1:]:
            faults += _sampled(side, bodies[:SAMPLE], traffic.is_fixed)
        faults += _all_kept(ours)
        _show("Pass-through", sides, (PACED, 1, 8, 32))
        _show_added(alone, sides[1:])
        for side in sides[1:]:
            print(f"{side.server.name}: {side.rss_mb[0]:.0f} MB ready, {side.rss_mb[1]:.0f} MB after the load")
        for peer in peers:
            _show_ratios(alone, ours, peer)
    return faults


def local_answers(served: Sequence[Path], scratch: Path, rounds: int, seconds: float) -> list[str]:
    """Answers of students, each home's cascade by a gateway of its own. Returns what was wrong."""
    asked = traffic.requests_of_task(BODIES)
    bodies = [one.body for one in asked]
    expected = {home: traffic.answers_offline(home, [one.text for one in asked[:SAMPLE]]) for home in served}
    with ExitStack() as stack:
        upstream = stack.enter_context(processes.fixed_upstream(scratch))
        wrk = Wrk("local", bodies, scratch)
        sides = [
            Side(stack.enter_context(processes.gateway(home, f"{upstream.url}/v1", scratch)), wrk, home=home)
            for home in served
        ]
        faults = _run(sides, (1, 32), rounds, seconds)
        for side in sides:
            right = expected[side.home or served[0]]
            faults += _sampled(side, bodies[:SAMPLE], functools.partial(_is_category, right))
            faults += _all_kept(side)
        _show("Answers of students", sides, (1, 32))
        for side in sides:
            rungs = side.server.figures("stepdown_requests_total")
            print(f"{side.server.name}: {side.rss_mb[0]:.0f} MB ready, {side.rss_mb[1]:.0f} MB after; {rungs}")
    return faults


def _is_category(right: Sequence[str], number: int, body: dict[str, Any]) -> bool:
    return traffic.category_of(body) == right[number]


def starts(served: Sequence[Path], scratch: Path, times: int) -> None:
    """From the start of the process to the first 200 of /readyz."""
    with processes.fixed_upstream(scratch) as upstream:
        for home in served:
            took = []
            for _ in range(times):
                with processes.gateway(home, f"{upstream.url}/v1", scratch) as server:
                    took.append(server.ready_s)
            said = ", ".join(f"{each:.2f}" for each in took)
            print(f"\nStart to ready ({home.name}): {middle(took):.2f} s, goal 1.5 s (each: {said})")


def _run(sides: Sequence[Side], connections: Sequence[int], rounds: int, seconds: float) -> list[str]:
    faults = []
    for side in sides:
        if side.home is not None:
            side.calls_before = homes.calls_in(side.home)
        ready = side.server.rss_mb()
        warm = side.wrk.load(side.server.url, 4, 1.0)  # Pools, caches, lazily made parts.
        _caught_up(side, warm.requests - warm.failed)
        side.rss_mb = (ready, 0.0)
    for number in connections:
        for _ in range(rounds):
            for side in sides:
                wrk = side.paced if number == PACED and side.paced is not None else side.wrk
                cpu_s, started = side.server.cpu_s(), time.monotonic()
                load = wrk.load(side.server.url, max(1, number), seconds)
                side.loads.setdefault(number, []).append(load)
                if load.failed:
                    faults.append(f"{side.server.name}: {load.failed} of {load.requests} requests failed.")
                _caught_up(side, load.requests - load.failed)
                side.sustained.setdefault(number, []).append(load.requests / (time.monotonic() - started))
                side.cpu_us.setdefault(number, []).append((side.server.cpu_s() - cpu_s) / load.requests * 1e6)
    for side in sides:
        side.rss_mb = (side.rss_mb[0], side.server.rss_mb())
    return faults


def _caught_up(side: Side, answered: int) -> None:
    """Wait until what was answered is in the store, so that the next side has the machine for itself."""
    side.asked += answered
    if side.home is None:
        return
    started = time.monotonic()
    while homes.calls_in(side.home) < side.calls_before + side.asked and time.monotonic() - started < CATCH_UP_S:
        time.sleep(0.05)
    side.catch_up_s.append(time.monotonic() - started)


def _sampled(side: Side, bodies: Sequence[bytes], right: Callable[[int, dict[str, Any]], bool]) -> list[str]:
    wrong = traffic.wrong_answers(side.server.port, bodies, right)
    side.asked += len(bodies) - wrong.total()
    return [f"{side.server.name}: {count} of {len(bodies)} sampled: {what}." for what, count in wrong.items()]


def _all_kept(side: Side) -> list[str]:
    """Every answered request is in the store. wrk leaves when its time is up: those requests may be there as well."""
    assert side.home is not None
    _caught_up(side, 0)
    time.sleep(FIGURES_S)
    kept = homes.calls_in(side.home) - side.calls_before
    by_status = side.server.figures("stepdown_requests_total")
    answered = round(sum(count for labels, count in by_status.items() if 'status="none"' not in labels))
    left = round(sum(by_status.values())) - answered
    dropped = side.server.figures("stepdown_dropped_calls_total")
    print(
        f"\n{side.server.name}: {answered:,} answered ({side.asked:,} seen by clients), {left} left "
        f"by the client, {kept:,} in the store, dropped {sum(dropped.values()):.0f}; caught up in "
        f"{middle(side.catch_up_s):.2f} s (at most {max(side.catch_up_s):.2f}) after each round"
    )
    faults = []
    if not answered <= kept <= answered + left or answered < side.asked:
        faults.append(
            f"{side.server.name}: {answered} answered, {side.asked} seen, {left} left, but {kept} in the store."
        )
    if any(dropped.values()):
        faults.append(f"{side.server.name}: calls were dropped: {dropped}.")
    return faults


def _show(title: str, sides: Sequence[Side], connections: Sequence[int]) -> None:
    print(
        f"\n{title}\n\n| server | connections | requests/s | with catching up | p50 ms | p99 ms | CPU µs a request |"
        "\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for side in sides:
        for number in connections:
            loads = side.loads[number]
            cells = (
                spread(loads, lambda load: load.rate),
                shown(middle(side.sustained[number])),
                spread(loads, _p50),
                spread(loads, _p99),
                shown(middle(side.cpu_us[number])),
            )
            print(f"| {side.server.name} | {_named(number)} | {' | '.join(cells)} |")
    print(flush=True)


def _named(connections: int) -> str:
    return f"1, {PAUSE_MS} ms between requests" if connections == PACED else str(connections)


def _added(alone: Side, side: Side, connections: int, figure: Callable[[Load], float]) -> list[float]:
    """Of each round: through the server, minus the upstream alone."""
    rounds = zip(side.loads[connections], alone.loads[connections], strict=True)
    return [figure(through) - figure(bare) for through, bare in rounds]


def _show_added(alone: Side, sides: Sequence[Side]) -> None:
    for side in sides:
        for number in (1, PACED):
            both = [_added(alone, side, number, figure) for figure in (_p50, _p99)]
            said = [f"{shown(middle(each))} ms ({shown(min(each))}–{shown(max(each))})" for each in both]
            print(f"{side.server.name} adds with connections: {_named(number)}: {said[0]} at p50, {said[1]} at p99")


GOALS = {"LiteLLM": (1 / 14, 1 / 14, 35.0), "firstpass": (0.8, 0.8, 1.1)}
"""Shares of each peer's: what may be added at p50 and p99 with 1 connection; requests/s at 32 connections, at least."""


def _show_ratios(alone: Side, ours: Side, peer: Side) -> None:
    """Ratios of medians, each median over the rounds."""
    name = peer.server.name
    p50_goal, p99_goal, rate_goal = GOALS[name]
    print(f"\n| what, as a share of {name}'s | goal | here |\n| --- | --- | --- |")
    for number in (1, PACED):
        for at, figure, goal in (("p50", _p50, p50_goal), ("p99", _p99, p99_goal)):
            theirs, own = (middle(_added(alone, side, number, figure)) for side in (peer, ours))
            print(f"| connections: {_named(number)}; added at {at} | at most {goal:.2g} | {own / theirs:.3g} |")
    times = ours.of(32, lambda load: load.rate) / peer.of(32, lambda load: load.rate)
    print(f"| connections: 32; requests/s | at least {rate_goal:g} | {times:.3g} |")
    print(f"| connections: 32; p99 | under 15 ms | {ours.of(32, _p99):.1f} ms (theirs: {peer.of(32, _p99):.1f}) |")


def _p50(load: Load) -> float:
    return load.p50_ms


def _p99(load: Load) -> float:
    return load.p99_ms


if __name__ == "__main__":
    main()
