"""K-means on the device of the points."""

from __future__ import annotations

import torch
from torch import Tensor


def k_means(
    points: Tensor, clusters: int, generator: torch.Generator, iterations: int = 10, block_rows: int = 4096
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm by Euclidean distance, from distinct random points.

    Args:
        points: [n, d].
        clusters: their number k; as many as there are points where that is fewer.
        generator: draws the first centres, on the device of the points.
        iterations: rounds of assigning points and moving centres; a centre without points stays where it is.
        block_rows: points compared with the centres at a time.

    Returns:
        Centres [k, d], and the nearest centre of each point, int64 [n].
    """
    start = torch.randperm(len(points), generator=generator, device=points.device)[:clusters]
    centres = points[start]
    for _ in range(iterations):
        nearest = _nearest(points, centres, block_rows)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centres)).unsqueeze(1)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres, _nearest(points, centres, block_rows)


def _nearest(points: Tensor, centres: Tensor, block_rows: int) -> Tensor:
    # |x - c|^2 less |x|^2, which is the same for all centres.
    offsets = centres.square().sum(dim=1) / 2
    return torch.cat([(block @ centres.T - offsets).argmax(dim=1) for block in points.split(block_rows)])
