"""Flips one bit at a time in every file of a project, and sees whether anybody notices.

    python -m benchmarks.byte_flips --flips 1000

A project with two tasks is built (linear students), with a key, feedback, and a signed journal where `cryptography` is
there. Files are chosen with a chance that grows with the root of their size, so that small ones are hit too. After each
flip the check that `stepdown status` makes is made, and the tasks are opened as a gateway opens them and asked the same
inputs. A flip is

- found: `status` names something, or says of a task that it is not in force, or cannot read the settings;
- refused: `status` names nothing, and no student of that task answers;
- audit: answers are the same; what was flipped decides none now, and `stepdown audit verify`, which reads every call,
  names it;
- harmless: answers and facts are the same; where it was is counted;
- SILENT: an answer, or a fact about a task or a certificate, is another, and nothing was said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks._gateway.homes import stepdown
from stepdown.core.canonical import digest_of
from stepdown.core.errors import StepdownError
from stepdown.core.inputs import Input
from stepdown.core.store import Feedback
from stepdown.gateway.cascades import RungThreads
from stepdown.project.home import Home, open_home, write_whole
from stepdown.project.integrity import audit
from stepdown.project.journal import note_feedback
from stepdown.project.signing import can_check, make_key
from stepdown.project.status import read_status
from stepdown.serve.served_tasks import ServedTasks

CALLS = 1000
ASKED = 50
TASKS = {
    "desk": {"refund": "my money back", "delivery": "my parcel", "account": "my password", "praise": "well done"},
    "mood": {"angry": "this is outrageous", "calm": "no hurry at all", "sad": "what a pity"},
}
SETTINGS = """\
[gateway]
retention = "90d"

[tasks.desk]
family = "classify"
answer = "$.category"
incumbent = "gpt-4o-mini"
cache = "10m"

[tasks.desk.contract]
margin = 0.05
holdback = 0.01

[tasks.mood]
family = "classify"
answer = "$.category"

[tasks.mood.contract]
margin = 0.05
holdback = 0.01
"""
UNTOUCHED = (".lock", "-wal", "-shm")


def inputs(task: str, count: int) -> list[tuple[str, str]]:
    """Texts and their labels; every fifth text could be of any."""
    phrases = TASKS[task]
    names = sorted(phrases)
    found = []
    for number in range(count):
        label = names[number % len(names)]
        said = phrases[label] if number % 5 else "hm well"
        found.append((f"hello {said} order {number * 7919 % 10**6} item {number * 104729 % 10**5}", label))
    return found


def write_traffic(folder: Path) -> None:
    """calls.jsonl and gold.csv of both tasks."""
    calls, gold = [], ["id,gold"]
    for task in TASKS:
        for number, (text, label) in enumerate(inputs(task, CALLS)):
            answer = json.dumps({"category": label, "team": f"{label} team", "confidence": 0.9})
            message = {"role": "assistant", "content": answer}
            system = {"role": "system", "content": f"You work at the {task}. Answer with a category."}
            request = {"model": "gpt-4o-mini", "messages": [system, {"role": "user", "content": text}]}
            response = {"model": "gpt-4o-mini", "choices": [{"index": 0, "message": message}]}
            usage = {"prompt_tokens": 40, "completion_tokens": 12}
            call = {"id": f"{task}-{number}", "timestamp": 1.75e9 + number, "workload_id": task, "request": request}
            calls.append(json.dumps({**call, "response": {**response, "usage": usage}}))
            gold.append(f"{task}-{number},{label}")
    (folder / "calls.jsonl").write_text("\n".join(calls) + "\n", encoding="utf-8")
    (folder / "gold.csv").write_text("\n".join(gold) + "\n", encoding="utf-8")


def build(folder: Path) -> Path:
    """The project. Its store is in one file."""
    home = folder / "home"
    home.mkdir(parents=True)
    write_traffic(folder)
    settings = SETTINGS
    if can_check():
        settings += f'\n[audit]\npublic_key = "{make_key(folder / "key.pem")}"\n'
    write_whole(home / "stepdown.toml", settings)
    stepdown(home, "import", str(folder / "calls.jsonl"), "--gold", str(folder / "gold.csv"))
    for task in TASKS:
        stepdown(home, "build", task, "--budget", "8s")
    stepdown(home, "key", "create", "web", "--may-label")
    project = open_home(home)
    with project.store() as store:
        for number in range(40):
            said = Feedback(call=f"desk-{number}", kind="gold", value="refund", key="k", name="web")
            store.add_feedback("desk", said, project.clock())
        note_feedback(store, project.clock(), every_s=0.0)
    if can_check():
        stepdown(home, "audit", "sign", "--key", str(folder / "key.pem"))
    with closing(sqlite3.connect(home / ".stepdown/store.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


class Project:
    """The project as `status` and a gateway see it. The clock stands, so that nothing but a flip changes anything."""

    def __init__(self, home: Path) -> None:
        self._home, self._now = home, time.time()
        self._loop = asyncio.new_event_loop()
        self._threads = RungThreads(self._loop)

    def opened(self) -> Home:
        return replace(open_home(self._home), clock=lambda: self._now)

    def said(self) -> tuple[list[str], Any]:
        """(what `status` says is not as it was or not in force, what it tells of tasks and certificates)."""
        status = read_status(self.opened())
        words = [*status.findings, *status.notes, *(task.stands for task in status.tasks if task.stands)]
        told = (status.tasks, status.gold, status.events, status.head, status.feedback, status.keys)
        return words, msgspec.to_builtins(told)

    def served(self) -> dict[str, Any]:
        """By task: None where no student answers, else what a gateway knows of it and answers."""
        home = self.opened()
        with home.store() as store:
            tasks = ServedTasks(home, self._threads).look(store) or []
            keys = [digest_of(key) for key in store.keys()]  # noqa: SIM118
        return {"keys": keys, **{task.name: self._loop.run_until_complete(_answers(task)) for task in tasks}}

    def audited(self) -> tuple[str, ...]:
        return audit(self.opened(), None, "", lambda what, share: None).findings


async def _answers(task: Any) -> Any:
    if task.decide is None or task.template is None:
        return None
    texts = [text for text, _ in inputs(task.name, ASKED)]
    decided = [await task.decide(Input(text), False) for text in texts]  # one by one: batches differ in the last bits
    written = [
        task.family.write_answer(task.task, one.answer, one.confidence, task.template.like) if one.answer else None
        for one in decided
    ]
    facts = (task.certificate, task.valid_from, task.valid_until, task.privacy, task.holdback, task.cache_s)
    more = (task.incumbent, task.build, dict(task.rung_usd), digest_of(task.task), digest_of(task.template))
    return [msgspec.to_builtins(decided), written, facts, more]


def rows_of(store: Path) -> dict[str, Any]:
    """By table, its rows; a word where they cannot be read."""
    found: dict[str, Any] = {}
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = bytes
            names = [
                row[0].decode("utf-8", "replace")
                for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for name in names:
                try:
                    found[name] = list(database.execute(f'SELECT * FROM "{name}" NOT INDEXED'))
                except sqlite3.Error:
                    found[name] = "cannot be read"
    except sqlite3.Error:
        return {"": "cannot be read"}
    return found


def place(home: Path, path: Path, rows: dict[str, Any]) -> str:
    """Where a flip was, in words to count by."""
    name = path.relative_to(home).as_posix()
    if name.endswith("store.sqlite"):
        now = rows_of(path)
        changed = sorted(table for table in rows.keys() | now.keys() if rows.get(table) != now.get(table))
        return "store: " + (", ".join(changed) or "no row (free space, an index, a header)")
    parts = name.split("/")
    return f"{parts[1]}/…/{'/'.join(parts[4:])}" if parts[0] == ".stepdown" and len(parts) > 4 else parts[-1]


def judge(project: Project, told: Any, served: dict[str, Any]) -> tuple[str, str]:
    """(what became of a flip, in which words)."""
    try:
        words, now_told = project.said()
    except StepdownError as error:
        return "found", str(error)
    if words:
        return "found", words[0]
    try:
        now = project.served()
    except StepdownError as error:
        return "refused", str(error)
    if any(now.get(task) is None for task in TASKS):
        return "refused", ""
    if now != served or now_told != told:
        return "SILENT", ""
    try:
        findings = project.audited()
    except StepdownError as error:
        findings = (str(error),)
    return ("audit", findings[0]) if findings else ("harmless", "")


def flip_all(home: Path, flips: int, seed: int, only: str) -> Iterable[tuple[str, str, str]]:
    """(what became of it, where, in which words) for each flip, undone after."""
    generator = random.Random(seed)
    project = Project(home)
    words, told = project.said()
    served = project.served()
    if words or any(served[task] is None for task in TASKS):
        raise SystemExit(f"the project is not in force before anything is flipped: {words}")
    files = sorted(path for path in home.rglob("*") if path.is_file() and not path.name.endswith(UNTOUCHED))
    files = [path for path in files if path.stat().st_size and path.name.endswith(only)]
    weights = [path.stat().st_size ** 0.5 for path in files]
    store = home / ".stepdown/store.sqlite"
    rows, whole = rows_of(store), store.read_bytes()
    for _ in range(flips):
        (path,) = generator.choices(files, weights)
        data = path.read_bytes()
        at = generator.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << generator.randrange(8)]) + data[at + 1 :])
        where = place(home, path, rows)
        try:
            became, why = judge(project, told, served)
        except Exception as error:  # noqa: BLE001 a mistake of ours: the command line makes a paragraph of it
            became, why = "found (internal error)", f"{type(error).__name__}: {error}"
        yield became, where, f"{path.relative_to(home)}:{at} {why}"
        path.write_bytes(data)
        store.write_bytes(whole)
        for suffix in ("-wal", "-shm"):
            store.with_name(store.name + suffix).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="NAME", help="Flip in files whose names end so (store.sqlite).")
    parser.add_argument("--home", type=Path, help="A project of an earlier run; built anew when it is not there.")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.home or Path(temporary) / "flips"
        home = folder / "home" if (folder / "home").exists() else build(folder)
        became: Counter[str] = Counter()
        places: dict[str, Counter[str]] = {}
        for what, where, why in flip_all(home, given.flips, given.seed, given.only):
            became[what] += 1
            places.setdefault(what, Counter())[where] += 1
            if what not in ("found", "refused", "harmless", "audit"):
                print(f"{what}: {where}: {why}", flush=True)
    print(f"| of {given.flips:,} flips | |\n| --- | --- |")
    for what, count in became.most_common():
        print(f"| {what} | {count} |")
    for what, counts in places.items():
        print(f"{what}: " + "; ".join(f"{where} {count}" for where, count in counts.most_common()))
    raise SystemExit(int(became["SILENT"] > 0))


if __name__ == "__main__":
    main()
