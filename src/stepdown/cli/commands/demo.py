"""stepdown demo: the whole spine on real traffic that comes with the package."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stepdown.build.demo import TASK, prepare
from stepdown.build.job import BuildRequest
from stepdown.build.outcome import outcome
from stepdown.build.pipeline import build
from stepdown.build.scan import scan_task
from stepdown.build.summary import summary
from stepdown.certificate.describe import describe
from stepdown.cli.commands.build import exit_code, show
from stepdown.cli.console import Console
from stepdown.cli.options import Duration, common
from stepdown.project.discovery import discover
from stepdown.serve.demo import ask_gateway


@click.command()
@click.option("--budget", type=Duration(), default="90s", show_default=True, help="Time for the build.")
@common
def command(budget: float, home: Path | None, console: Console) -> int:
    """Run everything once on 13,083 recorded answers of a 30B model, in ./demo unless --home says otherwise."""
    folder = home or Path("demo")
    with console.progress() as progress:
        progress("importing", 0.0)
        opened, imported = prepare(folder, progress)
        tasks = discover(opened, progress)
        scanned = scan_task(opened, TASK, 0, progress)
    console.say(f"Imported {imported.calls.new + imported.calls.known:,} calls into {folder}.")
    for one in tasks:
        console.say(f"Task {one.task.name}: {one.calls:,} calls, {one.verdict}. {one.reason}")
    console.say(f"Scan: {scanned.verdict}. {' '.join(scanned.reasons)}")
    console.say()
    with console.progress() as progress:
        request = BuildRequest(task=TASK, budget_s=budget, threads=os.cpu_count() or 1)
        record, built = build(opened, request, progress)
    show(console, record, built)
    console.say()
    console.say(describe(record.certificate))
    console.say()
    with console.progress() as progress:
        progress("serving", 0.0)
        asked = ask_gateway(opened, TASK)
    console.say("Served on its own wire, and asked through the openai client:")
    for reply in asked:
        sure = f", {float(reply.confidence):.1%} sure" if reply.confidence else ""
        console.say(f"  {reply.input[:70]!r} -> {reply.answer}  ({reply.rung}{sure}, {reply.seconds * 1000:.1f} ms)")
    console.say()
    console.say(
        f"Next: stepdown --home {folder} serve --upstream http://YOUR-MODEL/v1, and point a client's base URL there"
    )
    console.result({**summary(record), "report": str(built.report), "home": str(folder), "asked": asked})
    return exit_code(console, record, outcome(opened, TASK, built))
