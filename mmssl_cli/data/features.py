"""Raw item features: scaling, and placement of large ones.

They are read in blocks of rows, since they may be a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch
from torch import Tensor

BLOCK_BYTES = 64 * 2**20
#: Share of a device's free memory that raw features may take; those beyond it stay in host memory.
DEVICE_SHARE = 0.5


def placed(features: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Place features [I, n] of each modality for a model on ``device``.

    On a GPU as many as fit, in float32 (tokens as they are); the others stay in host memory, page-locked unless they
    are memory-mapped. On the CPU they are unchanged.
    """
    if device.type != "cuda":
        return {name: values.to(device) for name, values in features.items()}
    fitting = that_fit(features, DEVICE_SHARE * torch.cuda.mem_get_info(device)[0])
    return {
        name: _on_device(values, device) if name in fitting else _in_host_memory(values)
        for name, values in features.items()
    }


def that_fit(features: Mapping[str, Tensor], room: float) -> set[str]:
    """Return the modalities, smallest first, whose features together fit ``room`` bytes, and all that hold tokens."""
    chosen = {name for name, values in features.items() if not values.is_floating_point()}
    for name in sorted(features.keys() - chosen, key=lambda name: (features[name].numel(), name)):
        room -= 4 * features[name].numel()
        if room >= 0:
            chosen.add(name)
    return chosen


def _on_device(values: Tensor, device: torch.device) -> Tensor:
    values = values.to(device)
    return values.float() if values.is_floating_point() else values


def _in_host_memory(values: Tensor) -> Tensor:
    # Memory that PyTorch did not allocate is a mapped file, which a page-locked copy would read whole.
    return values.pin_memory() if values.untyped_storage().resizable() else values


def rows_of_block(dim: int) -> int:
    """Return the number of rows of raw features [I, dim] in a block of about ``BLOCK_BYTES`` in float32."""
    return max(1, BLOCK_BYTES // (4 * max(dim, 1)))


def scale_features(values: Tensor, present: Tensor, scaling: str, components: int = 64) -> Tensor:
    """Scale raw features [I, dim], ``whiten`` to at most ``components`` columns; rows of absent items become zero.

    Whitened rows have at most half as many columns as there are rows: with as many, all items are equally unlike.

    Returns:
        float32 [I, dim], or [I, c] of ``whiten``.
    """
    scaled = _scaling(values, present, scaling, components) if bool(present.any()) else torch.zeros_like
    result = torch.empty(len(values), scaled(values[:1].float()).shape[1])
    size = rows_of_block(values.shape[1])
    tables = (values.split(size), present.unsqueeze(1).split(size), result.split(size))
    for rows, there, into in zip(*tables, strict=True):
        torch.mul(scaled(rows.float()), there, out=into)
    return result


def _scaling(values: Tensor, present: Tensor, scaling: str, components: int) -> Callable[[Tensor], Tensor]:
    """Return the function that scales a block of rows, float32 [n, dim]."""
    if scaling == "standard":
        mean = mean_over(values, present, lambda rows: rows.sum(dim=0))
        deviation = mean_over(values, present, lambda rows: (rows - mean).square().sum(dim=0)).sqrt()
        deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        return lambda rows: (rows - mean.float()) / deviation.float()
    if scaling == "whiten":
        most = max(1, int(present.sum()) // 2)
        centre, directions = _principal_components(values, present, min(components, most))
        return lambda rows: (rows - centre) @ directions
    if scaling == "l2":
        return lambda rows: torch.nn.functional.normalize(rows, dim=1)
    return lambda rows: rows


def _principal_components(values: Tensor, present: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Return the mean [dim] and whitening directions [dim, c] of rows [I, dim]: ``(rows - mean) @ directions``.

    The columns of that have unit variances over the ``present`` rows. The strongest ``components`` directions, without
    those of (numerically) no variance; at least one. A direction's sign makes its largest weight positive.
    """
    mean = mean_over(values, present, lambda rows: rows.sum(dim=0))
    variances, axes = torch.linalg.eigh(mean_over(values, present, lambda rows: (rows - mean).T @ (rows - mean)))
    variances, axes = variances.flip(0)[:components], axes.flip(1)[:, :components]
    kept = variances > 1e-9 * variances[0]
    kept[0] = True
    variances, axes = variances[kept], axes[:, kept]
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    directions = axes * torch.where(largest < 0, -1.0, 1.0) / variances.clamp(min=1e-12).sqrt()
    return mean.float(), directions.float()


def mean_over(values: Tensor, present: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean over the ``present`` rows of [I, dim]; ``total`` sums a block of them, float64 [m, dim]."""
    size = rows_of_block(values.shape[1])
    totals = (total(rows[there].double()) for rows, there in zip(values.split(size), present.split(size), strict=True))
    return reduce(torch.add, totals) / present.sum()
