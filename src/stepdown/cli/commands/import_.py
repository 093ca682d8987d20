"""stepdown import: traffic, gold and verdicts in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from stepdown.cli.console import Console
from stepdown.cli.kind_flags import FormatCommand
from stepdown.cli.options import common
from stepdown.core.errors import InputError, UsageError
from stepdown.project.home import open_home
from stepdown.project.import_traffic import ImportRequest, ImportResult, import_traffic


@click.command(cls=FormatCommand)
@click.argument("files", nargs=-1, metavar="FILE…")
@click.option("--format", help="The format of the files; found out when not given.")
@click.option("--task", help="The workload name for calls that carry none.")
@click.option("--gold", multiple=True, metavar="FILE", help="Trusted answers: CSV or JSONL of id,gold[,split].")
@click.option(
    "--gold-is",
    type=click.Choice(["drawn", "random-sample", "all", "volunteered"]),
    help="Why these calls were labelled: stepdown drew them, you drew them at random, they are all there are, or "
    "somebody chose them. Found out when not given.",
)
@click.option("--verdicts", multiple=True, metavar="FILE", help="A judge's verdicts: CSV or JSONL of id,loss[,answer].")
@common
def command(home: Path | None, console: Console, files: tuple[str, ...], options: dict[str, Any], **asked: Any) -> None:
    """Import recorded traffic: files or folders, plain, .gz or .zst; - is stdin."""
    request = ImportRequest(paths=files, options=options, **{**asked, "gold_is": asked["gold_is"] or ""})
    if not (files or request.gold or request.verdicts):
        raise UsageError("There is nothing to import.", "Expected a FILE, --gold FILE or --verdicts FILE.", "Name one.")
    with console.progress() as progress:
        result = import_traffic(open_home(home), request, progress)
    _say(console, result)
    console.result(result)
    if not _anything(result):
        raise _nothing(result, (*files, *request.gold, *request.verdicts))
    if result.broken or result.gold_without_call:
        console.note(f"stepdown: {' '.join(_left_over(result))}")
    for doubt in result.doubts:
        console.note(f"stepdown: {doubt}")


def _anything(result: ImportResult) -> bool:
    parts = (result.calls, result.gold, result.verdicts)
    return any(part.new + part.known + part.changed for part in parts)


def _nothing(result: ImportResult, names: Iterable[str]) -> InputError:
    if not result.broken:
        return InputError(
            f"There is no file to read in {', '.join(names)}.",
            "Expected logs; files and folders whose names begin with a dot are passed over.",
            "Check the folder.",
        )
    return InputError(
        f"Nothing could be read: {_counted(result.broken, 'broken record')}, the first {_place(result)}.",
        "Expected at least one that is whole.",
        "Check the file, or name its format with --format.",
    )


def _left_over(result: ImportResult) -> Iterator[str]:
    """What was read and is of no use yet."""
    if result.broken:
        kept = "was" if result.broken == 1 else "were"
        yield f"{_counted(result.broken, 'record')} could not be read and {kept} kept aside,"
        yield f"the first {_place(result)}."
        yield "Everything else was imported; once corrected, the same file can be imported again."
    if result.gold_without_call:
        single = result.gold_without_call == 1
        yield f"{_counted(result.gold_without_call, 'gold answer')} {'belongs' if single else 'belong'} to no call yet."
        yield "If its call is not to come, check that the ids are those of the calls."


def _place(result: ImportResult) -> str:
    first = result.examples[0]
    return f"in {first.source}{f' line {first.line}' if first.line else ''}: {first.reason}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


_TAKEN_FOR = {
    "drawn": "for calls that stepdown drew: evidence.",
    "random-sample": "for a random sample, as you declare: evidence, with that assumption on the certificate.",
    "all": "covering every call of their task: evidence is drawn from them.",
    "volunteered": "for calls that somebody chose: learned from, and no evidence. To have evidence, let stepdown draw "
    "the calls (stepdown sample TASK) or, if these are a random sample, import them with --gold-is random-sample.",
    "without call": "for calls that are not here yet.",
}


def _say(console: Console, result: ImportResult) -> None:
    calls, gold = result.calls, result.gold
    console.say(f"{calls.new:,} calls imported, {calls.known:,} known already, {calls.changed:,} with a known id but")
    console.say(f"other content (left as they were); {_counted(result.broken, 'record')} could not be read.")
    for broken in result.examples:
        console.say(f"  {broken.source}{f':{broken.line}' if broken.line else ''}: {broken.reason}")
    if gold.new + gold.known + gold.changed:
        console.say(f"{gold.new:,} gold answers new, {gold.changed:,} changed, {gold.known:,} known already.")
    for basis, count in result.gold_is.items():
        console.say(f"  {_counted(count, 'gold answer')} {_TAKEN_FOR[basis]}")
    for name, count in result.workloads.items():
        console.say(f"  {name or '(no workload name)'}: {count:,} calls")
    if _anything(result):
        console.say("Next: stepdown tasks")
