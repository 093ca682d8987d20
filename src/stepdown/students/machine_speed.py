"""How fast this machine trains, measured once in about a second, and kept in the home for every later plan.

Time on the processor is measured, not time on the clock: what else runs now says nothing of the next build. Plans
follow from what is kept, so that the same home plans the same build alike; the clock watches over the rest.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from stepdown.core.canonical import digest_of
from stepdown.core.training_time import MachineSpeed
from stepdown.students.artefact import write_note
from stepdown.students.encoders.threads import cores, torch_threads

_VERSION = 1
_ROWS, _TOKENS = 16, 16
_ROUNDS = 3
_THREADS_HELP = 0.6
"""n threads make a step n to this power times faster: two were measured to need 0.65 of the time of one."""
_PLAIN_S = 0.0077
"""What `_plain_work` takes on the machine on which the kinds' constants were measured."""


def machine_speed(folder: Path, cpu: str, threads: int, with_torch: bool = True) -> MachineSpeed:
    """The speed that is kept in `folder` for this processor, torch and number of threads, or measured and kept now.

    with_torch: False where there is no time for what torch trains; importing it alone takes seconds.
    """
    key = digest_of(
        (_VERSION, with_torch, cpu, _torch_version(), threads, cores(threads), os.environ.get("ONEDNN_MAX_CPU_ISA"))
    )
    path = folder / "machine-speed" / f"{key}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=MachineSpeed)
    except (OSError, msgspec.MsgspecError):
        pass
    speed = measure_machine(cpu, threads, with_torch)
    write_note(path, speed)
    return speed


def measure_machine(cpu: str, threads: int, with_torch: bool = True) -> MachineSpeed:
    """The speed of the calling thread, and what so many threads make of it."""
    slowness = _least(_plain_work) / _PLAIN_S
    if not with_torch or importlib.util.find_spec("torch") is None:
        return MachineSpeed(cpu=cpu, threads=threads, slowness=slowness)
    from stepdown.students.encoders.network import arithmetic, layer_step

    helped = cores(threads) ** _THREADS_HELP
    # Emulated bfloat16 would take longer to measure than all else, to tell that nobody wants it.
    names = ("float32", "bfloat16") if arithmetic() == "bfloat16" else ("float32",)
    with torch_threads(1):
        alone = {name: _least(layer_step(name, _ROWS, _TOKENS)) for name in names}
    return MachineSpeed(
        cpu=cpu,
        torch=_torch_version(),
        threads=threads,
        arithmetic=arithmetic(),
        token_layer_s={name: seconds / (_ROWS * _TOKENS * helped) for name, seconds in alone.items()},
        slowness=slowness,
    )


def _least(work: Callable[[], object]) -> float:
    """Processor seconds of the quickest of some rounds: cold caches and neighbours can only add."""
    taken = []
    for _ in range(_ROUNDS):
        started = time.thread_time()
        work()
        taken.append(time.thread_time() - started)
    return min(taken)


def _plain_work() -> float:
    """Some of what reading and counting texts does in Python, and of what a linear head does in numpy."""
    counts: dict[str, int] = {}
    words = [f"word{place % 997}" for place in range(4_000)]
    for word in words:
        for start in range(len(word) - 2):
            part = word[start : start + 3]
            counts[part] = counts.get(part, 0) + 1
    table = np.arange(1_000 * 80, dtype=np.float32).reshape(1_000, 80) / 1e5
    for _ in range(20):
        exponents = np.exp(table - table.max(axis=1, keepdims=True))
        exponents /= exponents.sum(axis=1, keepdims=True)
    return float(len(counts)) + float(exponents.sum())


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
