"""int8 weight matrices with one scale per row: a quarter of the size on disk for a half-step of rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class QuantisedRows:
    """values: int8 (rows, columns); scales: float32 (rows,). A row is values · scale."""

    values: NDArray[np.int8]
    scales: FloatArray

    def __len__(self) -> int:
        return len(self.scales)

    def rows(self, chosen: NDArray[np.intp] | list[int] | slice) -> FloatArray:
        """float32 (k, columns)."""
        return self.values[chosen] * self.scales[chosen][:, None]

    def sums(self, chosen: list[int]) -> FloatArray:
        """The sum of the chosen rows: float32 (columns,); zeros for none."""
        total: FloatArray = np.add.reduce(self.rows(chosen), axis=0)
        return total


def quantise_rows(matrix: FloatArray) -> QuantisedRows:
    """Symmetric rounding of each row to 255 steps. Rows of zeros stay zeros."""
    peaks = np.abs(matrix).max(axis=1)
    scales = (np.maximum(peaks, 1e-30) / 127.0).astype(np.float32)
    values = np.rint(matrix / scales[:, None]).astype(np.int8)
    return QuantisedRows(values, scales)
