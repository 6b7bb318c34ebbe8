"""0/1 matrices as compressed sparse rows: two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


@dataclass(frozen=True)
class CSR:
    """A 0/1 matrix by rows: row ``r`` holds the columns ``indices[indptr[r]:indptr[r + 1]]``, ascending.

    Attributes:
        indptr: int64 [rows + 1], starts at 0 and ends at the number of entries.
        indices: int64 [entries], the column of each entry.
    """

    indptr: Tensor
    indices: Tensor

    @classmethod
    def from_pairs(cls, pairs: np.ndarray | Tensor | Sequence[tuple[int, int]], num_rows: int) -> CSR:
        """Build from (row, column) pairs in any order.

        Args:
            pairs: integers [n, 2]; a pair given twice is kept twice.
            num_rows: rows of the matrix; rows without a pair are empty.

        Raises:
            ValueError: a row outside ``0 .. num_rows - 1`` or a negative column.
        """
        table = torch.as_tensor(pairs, dtype=torch.int64).reshape(-1, 2)
        rows, columns = table[:, 0], table[:, 1]
        if len(table) and (int(rows.min()) < 0 or int(rows.max()) >= num_rows or int(columns.min()) < 0):
            raise ValueError(f"expected rows in 0..{num_rows - 1} and columns of at least 0")
        # One number a pair sorts by row and then by column, in half the memory of two sorts with their orders.
        width = int(columns.max()) + 1 if len(table) else 1
        starts = row_starts(torch.bincount(rows, minlength=num_rows))
        keys = rows * width + columns
        if not in_order(keys):
            keys = keys.sort().values
        return cls(starts, keys.remainder_(width))

    @property
    def num_rows(self) -> int:
        """Rows of the matrix, empty ones included."""
        return len(self.indptr) - 1

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.indices)

    def row(self, index: int) -> Tensor:
        """Return the columns of one row, ascending, int64."""
        return self.indices[int(self.indptr[index]) : int(self.indptr[index + 1])]

    def degrees(self) -> Tensor:
        """Return the number of entries of each row, int64 [rows]."""
        return self.indptr[1:] - self.indptr[:-1]

    def row_of_each(self) -> Tensor:
        """Return the row of every entry, int64 [entries], in the order of ``indices``."""
        rows = torch.arange(self.num_rows, device=self.indptr.device)
        return torch.repeat_interleave(rows, self.degrees(), output_size=len(self.indices))

    def entries(self) -> tuple[Tensor, Tensor]:
        """Return the row and the column of every entry, int64 [entries] each."""
        return self.row_of_each(), self.indices

    def to_scipy(self, num_columns: int) -> sp.csr_matrix:
        """Return the matrix [rows, num_columns] of SciPy, float64."""
        indptr, indices = self.indptr.cpu().numpy(), self.indices.cpu().numpy()
        return sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(self.num_rows, num_columns))

    def select(self, rows: Tensor) -> CSR:
        """Return the given rows (int64 [n], repeats allowed), in the given order, as a matrix of n rows."""
        lengths = self.indptr[rows + 1] - self.indptr[rows]
        indptr = row_starts(lengths)
        shift = torch.repeat_interleave(self.indptr[rows] - indptr[:-1], lengths)
        return CSR(indptr, self.indices[torch.arange(len(shift), device=shift.device) + shift])

    def where(self, kept: Tensor) -> CSR:
        """Return a matrix of as many rows with some of the entries: those ``kept``, bool [entries]."""
        counts = torch.bincount(self.row_of_each()[kept], minlength=self.num_rows)
        return CSR(row_starts(counts), self.indices[kept])

    def to(self, device: torch.device | str) -> CSR:
        """Copy the matrix to another device."""
        return CSR(self.indptr.to(device), self.indices.to(device))


def in_order(keys: Tensor) -> bool:
    """Return True if numbers [n] ascend."""
    return bool((keys[1:] >= keys[:-1]).all())


def row_starts(lengths: Tensor) -> Tensor:
    """Return the start of each row and the end of the last one, int64 [rows + 1], from the rows' lengths."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
