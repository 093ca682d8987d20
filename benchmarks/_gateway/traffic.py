"""Requests from the shipped traffic: those of the task, and the same for which no student may answer."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._gateway.fixed_upstream import COMPLETION
from benchmarks._gateway.homes import DATA, TASK

MODEL = "Qwen/Qwen3-30B-A3B"


@dataclass(frozen=True)
class Asked:
    """One request. text: the task's variable part."""

    text: str
    body: bytes


def requests_of_task(count: int, step: int = 5) -> list[Asked]:
    """Requests as they were recorded, every `step`-th."""
    with gzip.open(DATA / "traffic.jsonl.gz", "rb") as file:
        lines = list(itertools.islice(file, 0, count * step, step))
    return [_asked(json.loads(line)["request"]) for line in lines]


def _asked(request: dict[str, Any]) -> Asked:
    prompt = request["messages"][0]["content"]
    text = prompt.split("New Question: ", 1)[1].rsplit("\n\n====", 1)[0]
    return Asked(text, json.dumps(request).encode())


def passed_through(asked: Sequence[Asked]) -> list[bytes]:
    """The same bodies with a beginning that no task's template has."""
    bodies = []
    for one in asked:
        request = json.loads(one.body)
        request["messages"][0]["content"] = "Please translate: " + request["messages"][0]["content"]
        bodies.append(json.dumps(request).encode())
    return bodies


def answers_offline(home: Path, texts: Sequence[str]) -> list[str]:
    """What `stepdown answer` says to each text, without a gateway: what must come over the wire."""
    path = home / "rows.jsonl"
    rows = [{"id": number, "input": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "-m", "stepdown", "answer", TASK, "--file", str(path), "--home", str(home), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = {row["id"]: row["answer"] for row in map(json.loads, done.stdout.splitlines())}
    return [str(found[number]) for number in range(len(texts))]


def wrong_answers(port: int, bodies: Sequence[bytes], right: Callable[[int, dict[str, Any]], bool]) -> Counter[str]:
    """Send every body once, eight at a time; what was wrong with the answers. right: (which, the decoded body)."""
    with ThreadPoolExecutor(8) as threads:
        said = threads.map(lambda number: _check(port, number, bodies[number], right), range(len(bodies)))
        return Counter(one for one in said if one)


def _check(port: int, number: int, body: bytes, right: Callable[[int, dict[str, Any]], bool]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"content-type": "application/json", "authorization": "Bearer sk-test"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        whole = response.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    if response.status != 200:
        return f"status {response.status}"
    return "" if right(number, json.loads(whole)) else "wrong answer"


def is_fixed(number: int, body: dict[str, Any]) -> bool:
    """Whether an answer is the fixed upstream's; peers may change its id and add fields."""
    return content_of(body) == content_of(COMPLETION)


def content_of(body: dict[str, Any]) -> str:
    return str(body["choices"][0]["message"]["content"])


def category_of(body: dict[str, Any]) -> str:
    return str(json.loads(content_of(body))["category"])
