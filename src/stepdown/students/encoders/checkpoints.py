"""What a training had reached, on disk at most every 20 seconds, so that a killed build loses no more than that.

Safetensors and JSON alone: nothing that could run when it is read. What cannot be read is as if it were not there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from stepdown.core.pace import Cuts

if TYPE_CHECKING:
    from torch import Tensor

_FACTS = "facts"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a phase stood. step: the next one. losses: of the epoch under way."""

    step: int
    is_done: bool = False
    cuts: Cuts = ()
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read."""

    facts: Facts
    tensors: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one student: a file a phase. folder: None for a training that keeps none."""

    def __init__(self, folder: Path | None, every_s: float) -> None:
        self._folder = folder
        self._every_s = every_s
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last one is old enough for another."""
        return self._folder is not None and time.monotonic() - self._written >= self._every_s

    def read(self, phase: str) -> Saved | None:
        """What a phase had reached, None where it had not begun."""
        if self._folder is None:
            return None
        try:
            with safe_open(self._folder / f"{phase}.safetensors", "pt") as stored:
                facts = msgspec.json.decode((stored.metadata() or {})[_FACTS], type=Facts)
                # Copied: how a product is summed depends on where memory begins, and a mapped file's is another place.
                return Saved(facts, {name: stored.get_tensor(name).clone() for name in stored.keys()})  # noqa: SIM118
        except (OSError, KeyError, SafetensorError, msgspec.MsgspecError):
            return None

    def write(self, phase: str, facts: Facts, tensors: dict[str, Tensor]) -> None:
        """Replace the phase's checkpoint in one step."""
        if self._folder is None:
            return
        from safetensors.torch import save_file

        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{phase}.unfinished"
        save_file(tensors, unfinished, metadata={_FACTS: msgspec.json.encode(facts).decode()})
        os.replace(unfinished, self._folder / f"{phase}.safetensors")
        self._written = time.monotonic()

    def remembered(self, name: str, make: Callable[[], NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
        """An array that takes long to make and is the same each time: made once."""
        import torch

        saved = self.read(name)
        if saved is not None:
            return saved.tensors[name].numpy() if name in saved.tensors else None
        made = make()
        tensors = {} if made is None else {name: torch.tensor(made)}
        self.write(name, Facts(step=0, is_done=True), tensors)
        return made
