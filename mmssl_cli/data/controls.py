"""Control features: what a model makes of content that says nothing about its item.

A model whose accuracy is the same on them owes none of it to the content.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmssl_cli.data.features import mean_over, rows_of_block


def control_features(
    features: dict[str, Tensor], present: dict[str, Tensor], control: str, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Replace the raw features of every modality by controls.

    ``shuffled`` permutes the items' features, by one permutation for all modalities. ``noise`` draws each column
    from a normal distribution with its mean and deviation over the present items; tokens are instead dealt out anew
    among all items.

    Args:
        features: [I, dim] for each modality, or ids of tokens int64 [I, n], 0 as padding.
        present: bool [I] for each modality.
        control: ``none`` (features as they are), ``shuffled`` or ``noise``.
        seed: of the permutation and the noise.

    Returns:
        Features and presence of the same shapes; those given where there is nothing to do.
    """
    if control == "none" or not features:
        return features, present
    generator = torch.Generator().manual_seed(seed)
    if control == "shuffled":
        order = torch.randperm(len(next(iter(features.values()))), generator=generator)
        return ({name: values[order] for name, values in features.items()}, {n: p[order] for n, p in present.items()})
    drawn = {name: _noise(values, present[name], generator) for name, values in features.items()}
    return drawn, present


def _noise(values: Tensor, present: Tensor, generator: torch.Generator) -> Tensor:
    if not values.is_floating_point():
        dealt = values.clone()
        tokens = values[values > 0]
        dealt[values > 0] = tokens[torch.randperm(len(tokens), generator=generator)]
        return dealt
    noise = torch.zeros(values.shape)
    if not bool(present.any()):
        return noise
    mean = mean_over(values, present, lambda rows: rows.sum(dim=0))
    deviation = mean_over(values, present, lambda rows: (rows - mean).square().sum(dim=0)).sqrt()
    size = rows_of_block(values.shape[1])
    for rows, there in zip(noise.split(size), present.split(size), strict=True):
        rows.normal_(generator=generator).mul_(deviation.float()).add_(mean.float()).mul_(there.unsqueeze(1))
    return noise
