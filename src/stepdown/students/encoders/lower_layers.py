"""The lowest layers of an encoder that is fine-tuned above them: they do not learn, so each text passes them once.

Imported only by code that trains. Source: Liu, Agarwal & Venkataraman 2021, AutoFreeze.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stepdown.students.encoders.network import Encoder, autocast, padded

MOST_BYTES = 1 << 30
"""What cached vectors may take of memory; where they would take more, all layers learn."""
_BYTES = 2
_BATCH = 64


class LowerLayers:
    """What the first `count` layers say of every row, in half precision, one row's tokens after the other's."""

    def __init__(self, network: Encoder, sequences: Sequence[NDArray[np.int64]], count: int) -> None:
        self.count = count
        self._lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._vectors = torch.empty(int(self._starts[-1]), network.shape.hidden, dtype=torch.float16)
        order = np.argsort(self._lengths, kind="stable")
        with torch.inference_mode(), autocast():
            for first in range(0, len(order), _BATCH):
                rows = order[first : first + _BATCH]
                ids, lengths = padded([sequences[row] for row in rows])
                read = network.read(ids, lengths, upto=count)
                present = torch.arange(ids.shape[1])[None] < lengths[:, None]
                places = np.concatenate([np.arange(self._starts[row], self._starts[row + 1]) for row in rows])
                self._vectors[torch.from_numpy(places)] = read[present].half()

    def of(self, rows: NDArray[np.int64]) -> Tensor:
        """float32 (batch, longest, hidden) of the chosen rows; beyond a row's end lies another's, which is masked."""
        longest = int(self._lengths[rows].max())
        places = self._starts[rows][:, None] + np.arange(longest)[None]
        return self._vectors[torch.from_numpy(np.minimum(places, len(self._vectors) - 1))].float()


def fits(sequences: Sequence[NDArray[np.int64]], hidden: int) -> bool:
    """Whether the vectors of so many tokens may be held in memory."""
    return sum(len(sequence) for sequence in sequences) * hidden * _BYTES <= MOST_BYTES
