"""How many threads torch works on. The count is part of what a seed gives: sums are split over threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch on so many threads, and as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores(threads: int) -> int:
    """How many of so many threads can work at once: no more than there are cores for this process."""
    allowed = getattr(os, "sched_getaffinity", None)
    return max(1, min(threads, len(allowed(0)) if allowed else os.cpu_count() or 1))
