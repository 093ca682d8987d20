"""Remembered tasks as the journal has them, whatever their rows in the store are called by now."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stepdown.core.canonical import digest_of
from stepdown.core.tasks import Task


def as_remembered(tasks: Mapping[str, Task], rows: Mapping[str, str]) -> dict[str, Task]:
    """The tasks of the store by name. One whose row somebody renamed is found by what else it says, under the name that
    the journal has: settings, contract and build go by that. rows: the digest of each as it was remembered last."""
    found = dict(tasks)
    strange = [name for name, task in tasks.items() if rows.get(name) != digest_of(task)]
    for name, digest in rows.items() if strange else ():
        if name in tasks and name not in strange:
            continue
        for other in strange:
            task = msgspec.structs.replace(tasks[other], name=name)
            if digest_of(task) == digest:
                found.pop(other, None)
                found[name] = task
    return found
