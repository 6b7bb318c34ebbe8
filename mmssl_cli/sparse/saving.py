"""Sparse CSR tensors as dense ones, for files that hold only these."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

#: What a CSR tensor ``name`` is saved as: ``name:rows``, ``name:columns``, ``name:values`` and ``name:shape``.
_PARTS = ("rows", "columns", "values", "shape")


def dense_parts(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, each sparse CSR one as four dense ones: row starts, columns, values and shape."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        held = tensor.detach().cpu()
        if held.layout == torch.sparse_csr:
            parts = held.crow_indices(), held.col_indices(), held.values(), torch.tensor(held.shape)
            found |= {f"{name}:{part}": value.contiguous() for part, value in zip(_PARTS, parts, strict=True)}
        else:
            found[name] = held.contiguous()
    return found


def join_parts(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what ``dense_parts`` was given.

    Raises:
        KeyError, RuntimeError: parts are missing, or are no CSR matrix.
    """
    found = {name: tensor for name, tensor in tensors.items() if ":" not in name}
    for name in dict.fromkeys(name.partition(":")[0] for name in tensors if ":" in name):
        rows, columns, values, shape = (tensors[f"{name}:{part}"] for part in _PARTS)
        # The parts come from a file: a column outside the shape would read foreign memory.
        found[name] = torch.sparse_csr_tensor(rows, columns, values, tuple(shape.tolist()), check_invariants=True)
    return found
