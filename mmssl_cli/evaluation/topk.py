"""The largest of each row of a wide matrix, found through the maxima of chunks of its columns."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor

#: Most columns of a chunk, and the fewest columns for each value wanted with which chunks pay on the CPU.
CHUNK, FEWEST = 16, 16


def topk(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return ``torch.topk(values, k, dim=1)``: values and columns [n, k], descending; of equal ones, any.

    The k largest of a row lie in the k chunks whose maxima are the largest: each of these chunks has a value that no
    value of another chunk exceeds. So the search goes through a maximum a chunk, and then through k chunks. Chunk j
    holds the columns j, j + chunks, j + 2 chunks and so on, so that the maxima are taken of whole rows of memory. On a
    GPU PyTorch's own search is taken.

    Args:
        values: [n, m].
        k: values a row, at most m.
    """
    columns = values.shape[1]
    if values.device.type != "cpu" or columns < FEWEST * k:
        return torch.topk(values, k, dim=1)
    size = min(CHUNK, isqrt(columns // k))  # m / size maxima and k size values are fewest together at sqrt(m / k)
    chunks = columns // size
    maxima = values[:, : size * chunks].unflatten(1, (size, chunks)).amax(dim=1)
    first = torch.topk(maxima, k, dim=1, sorted=False).indices
    inside = (first.unsqueeze(1) + (chunks * torch.arange(size)).unsqueeze(1)).flatten(1)
    beyond = torch.arange(size * chunks, columns).expand(len(values), -1)
    candidates = torch.cat([inside, beyond], dim=1)
    largest, at = torch.topk(values.gather(1, candidates), k, dim=1)
    return largest, candidates.gather(1, at)
