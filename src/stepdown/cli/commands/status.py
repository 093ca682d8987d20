"""stepdown status: what the project holds and what stands."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.loop.home import open_home
from stepdown.loop.status import ServedStatus, TaskStatus, read_status


@click.command()
@common
def command(home: Path | None, console: Console) -> None:
    """Show calls, gold, tasks, each certificate with its age and whether it stands, and what gateways have answered."""
    status = read_status(open_home(home))
    console.say(
        f"{status.home}: {status.calls:,} calls, {status.gold:,} gold answers, {status.broken:,} broken records."
    )
    for name, count in status.workloads.items():
        console.say(f"  {name or '(no workload name)'}: {count:,} calls")
    for task in status.tasks:
        console.say(_line(task))
    for served in status.served:
        console.say(_served(served))
    if not status.tasks:
        console.say("No task has been built. Next: stepdown tasks")
    console.result(status)


def _line(task: TaskStatus) -> str:
    standing = task.stands or f"certificate in force, {task.age_days:.1f} days old"
    cost = ""
    if task.cost_per_1k is not None and task.incumbent_cost_per_1k is not None:
        cost = f"; ${task.cost_per_1k:.4f} per 1,000 requests instead of ${task.incumbent_cost_per_1k:.4f}"
    return f"  {task.task}: {task.verdict}, {task.offload:.1%} without the incumbent{cost}; {standing}."


def _served(served: ServedStatus) -> str:
    shares = ", ".join(f"{rung} {share:.1%}" for rung, share in served.shares.items())
    live = f"{served.last_hour:,} in the last hour" if served.last_hour else "none in the last hour"
    money = f"saved ${served.saved_usd:,.4f}, spent ${served.cost_usd:,.4f}"
    return f"  served {served.task or '(no task)'}: {served.requests:,} requests ({live}); {shares}; {money}."
