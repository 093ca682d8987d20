"""The way of a new user: a gateway with no task and clients that name none, until students answer and go on answering.

usage: python -m benchmarks.first_use [--calls 6000] [--budget 90s] [--home DIR]

`stepdown serve` starts in an empty folder before an upstream that replays recorded answers. Mixed calls come through
the `openai` client, half of them streamed, none with a workload: real answers of Qwen3-30B to banking queries, one
short line that asks whether a message is spam, and free chat. Then `tasks`, `import --gold`, `build`, the live step
down, a restart, more traffic in another month, a rebuild, and more traffic. Nothing is done by hand between. Exits 1
where a step fails, a task's name changes, a request is taken for another task's, or a certified task stops answering.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, AsyncStream

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PARTS = {"captured": 0.66, "live": 0.16, "after the restart": 0.1, "after the rebuild": 0.08}
"""The shares of the calls by the time at which they are sent."""
MIX = {"banking": 0.5, "spam": 0.4, "chat": 0.1}
AT_ONCE = 8
SEED = 7
_LANDED_S, _READY_S = 120.0, 120.0


@dataclass(frozen=True)
class Asked:
    """A request with its recorded answer. gold: "" where there is none."""

    kind: str
    request: dict[str, Any]
    response: dict[str, Any]
    gold: str = ""


@dataclass
class Seen:
    """What came back in one part: who answered and which task was named, by kind; ids with gold; what went wrong."""

    rungs: dict[str, Counter[str]] = field(default_factory=dict)
    tasks: dict[str, Counter[str]] = field(default_factory=dict)
    gold: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def students(self, kind: str) -> float:
        """The share that the incumbent did not answer."""
        counted = self.rungs.get(kind, Counter())
        return 1 - counted["incumbent"] / max(1, counted.total())


def main() -> None:
    """Go the whole way and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6_000)
    parser.add_argument("--budget", default="90s", help="Of each build.")
    parser.add_argument("--home", type=Path, help="An empty folder; a temporary one when not given.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = arguments.home or Path(temporary) / "home"
        home.mkdir(parents=True, exist_ok=True)
        way = Way(home, requests(arguments.calls), arguments.budget)
        way.go()
    for line in way.failures:
        print(f"FAILED: {line}")
    sys.exit(1 if way.failures else 0)


class Way:
    """The steps, in order."""

    def __init__(self, home: Path, parts: dict[str, list[Asked]], budget: str) -> None:
        self.home, self.parts, self.budget = home, parts, budget
        self.failures: list[str] = []
        self.names: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        self.recordings = home / "recorded.jsonl.gz"
        with gzip.open(self.recordings, "wt", encoding="utf-8") as file:
            for asked in (one for part in parts.values() for one in part):
                file.write(json.dumps({"request": asked.request, "response": asked.response}) + "\n")

    def go(self) -> None:
        with self.gateway() as url:
            self.send(url, "captured")
            self.find_tasks()
            self.label("captured")
            self.build()
            self.wait_for_students(url)
            self.send(url, "live")
        with self.gateway() as url:
            self.send(url, "after the restart")
            self.label("live", "after the restart")
            self.build(again=True)
            self.send(url, "after the rebuild")
        self.find_tasks()
        self.judge()

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """`stepdown serve`, from its start to its end."""
        command = ["serve", "--upstream", f"replay:{self.recordings}", "--port", "0", "--home", str(self.home)]
        log = self.home / "serve.log"
        with log.open("ab") as file:
            process = subprocess.Popen([sys.executable, "-m", "stepdown", *command], stdout=file, stderr=file)
            start = log.stat().st_size
            try:
                yield self._ready(process, log, start)
            finally:
                process.send_signal(signal.SIGTERM)
                if process.wait(60) != 0:
                    self.failures.append(f"the gateway ended with {process.returncode}")

    def _ready(self, process: subprocess.Popen[bytes], log: Path, start: int) -> str:
        until = time.monotonic() + _READY_S
        while time.monotonic() < until and process.poll() is None:
            found = re.findall(r"http://127\.0\.0\.1:\d+", log.read_bytes()[start:].decode())
            if found and _answers(f"{found[0]}/readyz"):
                return str(found[0])
            time.sleep(0.1)
        raise SystemExit(f"The gateway did not start: {log.read_text()[-2000:]}")

    def send(self, url: str, part: str) -> None:
        """Send a part's calls, and wait until the store has them."""
        started = time.monotonic()
        seen = self.seen[part] = asyncio.run(send_all(url, self.parts[part]))
        took = time.monotonic() - started
        self.failures += [f"{part}: {one}" for one in seen.wrong[:5]]
        waiting = re.compile(rb"^stepdown_capture_waiting_bytes (\S+)$", re.MULTILINE)
        _until(lambda: _waits(url, waiting) == 0.0, "calls did not reach the store")
        shares = ", ".join(f"{kind} {seen.students(kind):.1%}" for kind in MIX)
        print(f"{part}: {len(self.parts[part]):,} calls in {took:.0f} s; answered by students: {shares}", flush=True)

    def find_tasks(self) -> None:
        found = self.run("tasks")
        calls = {one["task"]["name"]: one["calls"] for one in found}
        print(f"tasks: {calls}", flush=True)
        if not self.names:
            for kind, label in (("banking", "card_arrival"), ("spam", "spam")):
                names = [one["task"]["name"] for one in found if label in one["task"]["labels"]]
                if len(names) != 1:
                    raise SystemExit(f"{kind}: expected one task, found {names} among {sorted(calls)}")
                self.names[kind] = names[0]
            self.first_names = set(calls)
        elif set(calls) != self.first_names:
            self.failures.append(f"the tasks were {sorted(self.first_names)} and are {sorted(calls)}")

    def label(self, *parts: str) -> None:
        """Gold for every call, under the id that its answer's header gave."""
        path = self.home / "gold.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "gold"))
            writer.writerows(pair for part in parts for pair in self.seen[part].gold.items())
        print(f"gold: {self.run('import', '--gold', str(path))['gold']}", flush=True)

    def build(self, again: bool = False) -> None:
        for kind, name in self.names.items():
            started = time.monotonic()
            record = self.run("build", name, "--budget", self.budget, may_refuse=again)
            verdict, offload = record.get("verdict", record.get("error")), record.get("offload") or 0.0
            took = time.monotonic() - started
            print(f"build {kind} ({name}): {verdict}, offload {offload:.1%} ({took:.0f} s)", flush=True)
            if verdict != "certified" and not again:
                self.failures.append(f"{kind} was not certified: {record}")

    def wait_for_students(self, url: str) -> None:
        """A running gateway takes up what was certified by itself, within seconds."""
        in_force = re.compile(rb"^stepdown_certificate_valid_until_seconds\{", re.MULTILINE)
        _until(
            lambda: len(in_force.findall(_get(f"{url}/metrics"))) == len(self.names), "no certificate came into force"
        )

    def judge(self) -> None:
        for part, seen in self.seen.items():
            if part == "captured":
                continue
            if set(seen.rungs["chat"]) - {"incumbent"}:
                self.failures.append(f"{part}: free chat was answered by {seen.rungs['chat']}")
            for kind, name in self.names.items():
                if seen.students(kind) == 0.0:
                    self.failures.append(f"{part}: no student answered {kind}")
                if set(seen.tasks[kind]) != {name}:
                    self.failures.append(f"{part}: requests of {kind} were taken for {dict(seen.tasks[kind])}")

    def run(self, *arguments: str, may_refuse: bool = False) -> Any:
        command = [sys.executable, "-m", "stepdown", *arguments, "--home", str(self.home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            found = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise SystemExit(f"stepdown {' '.join(arguments)}: {done.stderr[-2000:]}") from None
        if done.returncode and not (may_refuse or arguments[0] == "build"):
            raise SystemExit(f"stepdown {' '.join(arguments)}: {found}")
        return found


async def send_all(url: str, calls: Sequence[Asked]) -> Seen:
    """Every call once, half of them streamed, a few at a time."""
    seen = Seen()
    waiting = iter(enumerate(calls))

    async def work(client: AsyncOpenAI) -> None:
        for place, asked in waiting:
            await _send(client, asked, place % 2 == 1, seen)

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        await asyncio.gather(*(work(client) for _ in range(AT_ONCE)))
    return seen


async def _send(client: AsyncOpenAI, asked: Asked, streamed: bool, seen: Seen) -> None:
    try:
        answer = await client.chat.completions.with_raw_response.create(**asked.request, stream=streamed)
        content = await _content(answer.parse())
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what this looks for
        seen.wrong.append(f"{asked.kind}: {type(error).__name__}: {str(error)[:200]}")
        return
    headers = answer.headers
    rung = headers.get("x-stepdown-rung", "")
    seen.rungs.setdefault(asked.kind, Counter())[rung] += 1
    seen.tasks.setdefault(asked.kind, Counter())[headers.get("x-stepdown-task", "")] += 1
    if asked.gold:
        seen.gold[headers["x-stepdown-id"]] = asked.gold
    recorded = asked.response["choices"][0]["message"]["content"]
    if rung == "incumbent" and content != recorded:
        seen.wrong.append(f"{asked.kind}: the incumbent's answer is {content[:80]!r} instead of {recorded[:80]!r}")
    if not content:
        seen.wrong.append(f"{asked.kind}: an empty answer of {rung}")


async def _content(said: Any) -> str:
    """The text of a completion, whole or as a stream."""
    if not isinstance(said, AsyncStream):
        return said.choices[0].message.content or ""
    pieces = [chunk.choices[0].delta.content or "" async for chunk in said if chunk.choices]
    return "".join(pieces)


def requests(count: int) -> dict[str, list[Asked]]:
    """All calls by part, mixed. Those of the last parts are of another month."""
    generator = random.Random(SEED)
    sources = {"banking": banking, "spam": spam, "chat": chat}
    parts: dict[str, list[Asked]] = {part: [] for part in PARTS}
    for kind, share in MIX.items():
        wanted = round(count * share)
        found = sources[kind](generator, wanted)
        start = 0
        for place, (part, of_part) in enumerate(PARTS.items()):
            end = wanted if place == len(PARTS) - 1 else start + round(wanted * of_part)
            month = "November" if part == "captured" else "December"
            parts[part] += [make(month, generator.randint(1, 30)) for make in found[start:end]]
            start = end
    for calls in parts.values():
        generator.shuffle(calls)
    return parts


Make = Callable[[str, int], Asked]
"""A request as it is sent in a month, on a day."""


def banking(generator: random.Random, count: int) -> list[Make]:
    """Real answers of a 30B model to customers' queries."""
    folder = SHARED / "banking77_qwen3"
    with (folder / "gold.csv").open(newline="", encoding="utf-8") as file:
        gold = {row["id"]: row["gold"] for row in csv.DictReader(file)}
    with gzip.open(folder / "traffic.jsonl.gz", "rt", encoding="utf-8") as file:
        calls = [json.loads(line) for line in file]
    chosen = generator.sample(calls, count)
    made = [Asked("banking", call["request"], call["response"], gold[call["id"]]) for call in chosen]
    return [lambda month, day, asked=asked: asked for asked in made]  # type: ignore[misc]


def spam(generator: random.Random, count: int) -> list[Make]:
    """Messages with their published label as the answer: one short line under a system prompt that says the date."""
    rows = [
        line.split("\t", 1)
        for path in sorted((SHARED / "sms_spam" / "data").rglob("*"))
        if path.is_file() and path.suffix in ("", ".txt", ".tsv", ".csv")
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith(("ham\t", "spam\t"))
    ]
    rows = [[label, text] for text, label in {text.strip(): label for label, text in rows}.items() if text]

    def make(label: str, text: str) -> Make:
        def asked(month: str, day: int) -> Asked:
            messages = [
                {"role": "system", "content": f"It is {month} {day}, 2026."},
                {"role": "user", "content": f"Spam? {text}"},
            ]
            return Asked("spam", {"model": "small-model", "messages": messages}, _response(label), label)

        return asked

    return [make(*row) for row in generator.sample(rows, count)]


def chat(generator: random.Random, count: int) -> list[Make]:
    """Free questions with long answers."""
    found = []
    for path in sorted((SHARED / "medquad" / "5_NIDDK_QA").glob("*.xml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found += re.findall(r"<Question[^>]*>(.*?)</Question>\s*<Answer>(.*?)</Answer>", text, re.DOTALL)
    pairs = {question.strip(): answer.strip()[:600] for question, answer in found if answer.strip()}
    made = []
    for question, answer in generator.sample(sorted(pairs.items()), min(count, len(pairs))):
        request = {"model": "chat-model", "messages": [{"role": "user", "content": question}]}
        made.append(Asked("chat", request, _response(answer)))
    repeated = (made * (count // len(made) + 1))[:count]
    return [lambda month, day, asked=asked: asked for asked in repeated]  # type: ignore[misc]


def _response(content: str) -> dict[str, Any]:
    message, tokens = {"role": "assistant", "content": content}, len(content) // 4 + 1
    return {
        "id": "chatcmpl-recorded",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "recorded-model",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 60, "completion_tokens": tokens, "total_tokens": 60 + tokens},
    }


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: bytes = answer.read()
        return found


def _answers(url: str) -> bool:
    try:
        _get(url)
    except OSError:
        return False
    return True


def _waits(url: str, waiting: re.Pattern[bytes]) -> float:
    return sum(map(float, waiting.findall(_get(f"{url}/metrics")))) if _answers(f"{url}/metrics") else -1.0


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + _LANDED_S
    while not holds():
        if time.monotonic() > until:
            raise SystemExit(otherwise)
        time.sleep(0.3)


if __name__ == "__main__":
    main()
