"""The largest of each row of a wide matrix, found through the maxima of chunks of its columns."""

from __future__ import annotations

import torch
from torch import Tensor

#: Columns of a chunk, and the fewest chunks for each value wanted with which they pay on the CPU.
CHUNK, FEWEST = 64, 16


def topk(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return ``torch.topk(values, k, dim=1)``: values and columns [n, k], descending; of equal ones, any.

    The k largest of a row lie in the k chunks whose maxima are the largest: each of these chunks has a value that no
    value of another chunk exceeds. So the search goes through a maximum a chunk, and then through k chunks. On a GPU
    PyTorch's own search is taken.

    Args:
        values: [n, m].
        k: values a row, at most m.
    """
    columns = values.shape[1]
    chunks = columns // CHUNK
    if values.device.type != "cpu" or chunks < FEWEST * k:
        return torch.topk(values, k, dim=1)
    maxima = values[:, : CHUNK * chunks].unflatten(1, (chunks, CHUNK)).amax(dim=2)
    first = torch.topk(maxima, k, dim=1, sorted=False).indices
    inside = (CHUNK * first.unsqueeze(2) + torch.arange(CHUNK)).flatten(1)
    beyond = torch.arange(CHUNK * chunks, columns).expand(len(values), -1)
    candidates = torch.cat([inside, beyond], dim=1)
    largest, at = torch.topk(values.gather(1, candidates), k, dim=1)
    return largest, candidates.gather(1, at)
