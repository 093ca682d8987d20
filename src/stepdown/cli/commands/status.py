"""stepdown status: what the project holds and what stands."""

from __future__ import annotations

from pathlib import Path

import click

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.errors import TamperedError
from stepdown.project.home import open_home
from stepdown.project.journal import read_anchor
from stepdown.project.status import ServedStatus, TaskStatus, read_status


@click.command()
@click.option(
    "--anchor",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A head of the journal that was kept elsewhere (stepdown audit anchor): the journal must continue it.",
)
@common
def command(anchor: Path | None, home: Path | None, console: Console) -> None:
    """Show calls, gold, tasks, each certificate with its age and whether it stands, and what gateways have answered.

    Everything that decides an answer is checked against the journal; what is not as it was written is named, and the
    exit code is then 1.
    """
    status = read_status(open_home(home), read_anchor(anchor) if anchor else None)
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
    for alarm in status.alarms:
        console.say(f"  ALARM {alarm}")
    for note in status.notes:
        console.note(f"stepdown: {note}")
    console.result(status)
    if status.findings:
        raise TamperedError(" ".join(status.findings))


def _line(task: TaskStatus) -> str:
    newest = f" The newest build is {task.newest} (stepdown builds {task.task})." if task.newest else ""
    if not task.in_force:
        return f"  {task.task}: not in force, nothing is answered without the incumbent: {task.stands}.{newest}"
    cost = ""
    if task.cost_per_1k is not None and task.incumbent_cost_per_1k is not None:
        cost = f"; ${task.cost_per_1k:.4f} per 1,000 requests instead of ${task.incumbent_cost_per_1k:.4f}"
    share = f"{task.offload:.1%} without the incumbent{cost}"
    imported = ", imported from another project" if task.imported else ""
    return (
        f"  {task.task}: {task.verdict}, {share}; certificate in force, {task.age_days:.1f} days old{imported}.{newest}"
    )


def _served(served: ServedStatus) -> str:
    shares = ", ".join(f"{rung} {share:.1%}" for rung, share in served.shares.items())
    live = f"{served.last_hour:,} in the last hour" if served.last_hour else "none in the last hour"
    money = f"saved ${served.saved_usd:,.4f}, spent ${served.cost_usd:,.4f}"
    return f"  served {served.task or '(no task)'}: {served.requests:,} requests ({live}); {shares}; {money}."
