"""The items' content inside a model: learnt maps from raw features of any modality to embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_cli.data.graph import Edges, nearest_items, symmetric_weights
from mmssl_cli.data.interactions import InteractionData


class ContentProjections(nn.Module):
    """One learnt map a modality, from raw features (float [I, dim], or tokens [I, n]) to [I, d].

    Absent items come out as zeros.

    Args:
        out_dim: size d of what comes out.
        initialise: fills the weight of each linear layer; by default Xavier's uniform initialisation.
    """

    def __init__(
        self,
        data: InteractionData,
        out_dim: int,
        initialise: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_,
    ) -> None:
        super().__init__()
        self.raw = data.features
        self.present = {name: mask.unsqueeze(1) for name, mask in data.present.items()}
        self.layers = nn.ModuleDict(
            {name: projection(values, out_dim, initialise) for name, values in data.features.items()}
        )

    def forward(self, items: Tensor | None = None) -> dict[str, Tensor]:
        """Modality -> [I, d], or [n, d] of the ``items`` (int64 [n]) alone."""
        chosen: Any = slice(None) if items is None else items
        return {name: layer(self.raw[name][chosen]) * self.present[name][chosen] for name, layer in self.layers.items()}


def projection(values: Tensor, out_dim: int, initialise: Callable[[Tensor], Tensor]) -> nn.Module:
    """The learnt map from raw features [I, dim], or from tokens [I, n] (0 is padding), to [I, out_dim]."""
    if not values.is_floating_point():
        return nn.EmbeddingBag(int(values.max()) + 1, out_dim, mode="mean", padding_idx=0)
    layer = nn.Linear(values.shape[1], out_dim)
    initialise(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def dense_content(data: InteractionData) -> dict[str, Tensor]:
    """Raw features of each modality as floats [I, dim], for what compares items by content.

    Tokens become the rows of a bag-of-tokens matrix, of length 1.
    """
    return {
        name: _bag_of_tokens(values) if not values.is_floating_point() else values
        for name, values in data.features.items()
    }


def content_graphs(data: InteractionData, k: int, weighted: bool = True) -> dict[str, Edges]:
    """Modality -> edges from each item to the ``k`` items of nearest raw content, weighted as D^-1/2 A D^-1/2.

    A holds the cosines, or ones where not ``weighted``.
    """
    graphs = {}
    for name, values in dense_content(data).items():
        rows, columns, cosines = nearest_items(values, k, data.present[name])
        weights = cosines if weighted else torch.ones_like(cosines)
        graphs[name] = (rows, columns, symmetric_weights(rows, columns, weights, data.num_items))
    return graphs


def joined_content(data: InteractionData) -> Tensor:
    """Raw features of all modalities beside each other, [I, sum of their columns]; zeros where an item lacks one."""
    return torch.cat(list(dense_content(data).values()), dim=1)


def _bag_of_tokens(tokens: Tensor) -> Tensor:
    bags = torch.zeros(len(tokens), int(tokens.max()) + 1, device=tokens.device)
    bags.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=bags.dtype))
    bags[:, 0] = 0  # padding
    return nn.functional.normalize(bags, dim=1)
