"""Resident memory of a fresh process that opens something and answers with it. Run as a module, JSON in and out.

in:  {"opener": "package.module:function", "folder": "…", "inputs": [{"text": "…"}]}
out: {"opened": [bytes], "answering": [bytes, …]}
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from stepdown.core.errors import ResourceError
from stepdown.core.estimates import Estimate
from stepdown.core.inputs import Input

_TIMEOUT_S = 60.0
_MEGABYTE = 1e6


class _Question(msgspec.Struct, frozen=True):
    opener: str
    folder: str
    inputs: list[Input]


def resident_bytes() -> int:
    """This process's resident memory, from /proc, else psutil, else the peak that the system reports."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import psutil
    except ModuleNotFoundError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(psutil.Process().memory_info().rss)


def measure_memory(opener: str, folder: Path, inputs: Sequence[Input]) -> Estimate:
    """MB of a fresh process that has opened `folder` with `opener` and answers `inputs`; the interval is their range.

    opener: "package.module:function"; the function takes the folder and returns a student or a cascade.
    Raises ResourceError when that process fails.
    """
    question = msgspec.json.encode(_Question(opener=opener, folder=str(folder), inputs=list(inputs)))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stepdown.evaluation.resident"],
            input=question,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
        words = failure.stderr or str(failure).encode()
        output = words.decode("utf-8", "replace").strip().splitlines()
        raise ResourceError(
            f"The process that measures memory failed: {output[-1] if output else failure}.",
            f"It opens {folder} with {opener} and answers {len(inputs)} inputs.",
            "Check that the artefact opens on its own.",
        ) from None
    found = json.loads(done.stdout.splitlines()[-1])
    sizes = [*found["opened"], *found["answering"]]
    return Estimate(
        value=sizes[-1] / _MEGABYTE,
        low=min(sizes) / _MEGABYTE,
        high=max(sizes) / _MEGABYTE,
        n=len(sizes),
        method="resident memory of one fresh process, interpreter included; range over opening and answering",
        unit="MB",
    )


def _answering(opened: object) -> Callable[[Input], object]:
    answer: Callable[[Input], object] | None = getattr(opened, "answer", None) or getattr(opened, "decide", None)
    if answer is None:
        raise TypeError(f"{type(opened).__name__} has neither answer(input) nor decide(input)")
    return answer


def main() -> None:
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    module, _, function = question.opener.partition(":")
    opened = getattr(importlib.import_module(module), function)(Path(question.folder))
    sizes = {"opened": [resident_bytes()], "answering": []}
    answer = _answering(opened)
    for input in question.inputs:
        answer(input)
        sizes["answering"].append(resident_bytes())
    sys.stdout.write("\n" + json.dumps(sizes) + "\n")


if __name__ == "__main__":
    main()
