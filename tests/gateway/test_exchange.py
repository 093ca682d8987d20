"""Ids of calls: never the same twice, in whatever process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FORKING = """
import os
from tests.gateway.exchanges import exchange

exchange()  # What was drawn for the parent must not be its children's too.

def say():
    os.write(1, "".join(f"{exchange().id}\\n" for _ in range(100)).encode())

children = []
for _ in range(4):
    child = os.fork()
    if not child:
        say()
        os._exit(0)
    children.append(child)
say()
for child in children:
    os.waitpid(child, 0)
"""


def test_forked_workers_give_different_ids() -> None:
    # In a process without threads, as the gateway's workers are forked from one.
    run = subprocess.run(
        [sys.executable, "-c", FORKING], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    found = run.stdout.split()
    assert len(found) == 500
    assert len(set(found)) == len(found)
