"""Item content in a model: learnt projections of raw features of any modality to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl_cli.data.cache import cached
from mmssl_cli.data.features import rows_of_block
from mmssl_cli.data.graph import Edges, ItemGraph, cosine_topk, nearest_items, symmetric_weights
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.rows import take


class ContentProjections(nn.Module):
    """One learnt projection per modality, from raw features (float [I, dim], or tokens [I, n]) to [I, d].

    The rows of absent items are zero.

    Args:
        out_dim: output size d.
        initialise: fills the weight of each linear layer, whose bias is then 0; by default Xavier's uniform
            initialisation. None leaves weight and bias as PyTorch initialises them.
        trained: train the raw features as well, in float32 on the device of the interactions; ids of tokens stay.
    """

    def __init__(
        self,
        data: InteractionData,
        out_dim: int,
        initialise: Callable[[Tensor], Tensor] | None = nn.init.xavier_uniform_,
        trained: bool = False,
    ) -> None:
        super().__init__()
        self.trained = nn.ParameterDict()
        for name, values in data.features.items():
            if trained and values.is_floating_point():
                self.trained[name] = nn.Parameter(values.to(data.train.indices.device, torch.float32, copy=True))
        self.raw: dict[str, Tensor] = {**data.features, **dict(self.trained.items())}
        self.present = {name: mask.unsqueeze(1) for name, mask in data.present.items()}
        self.layers = nn.ModuleDict(
            {name: projection(values, out_dim, initialise) for name, values in data.features.items()}
        )

    def forward(self, items: Tensor | None = None) -> dict[str, Tensor]:
        """Modality -> [I, d], or [n, d] of the ``items`` (int64 [n]) alone."""
        return {
            name: projected(layer, self.raw[name], items) * (mask if items is None else mask[items])
            for (name, layer), mask in zip(self.layers.items(), self.present.values(), strict=True)
        }

    def through(self, modality: str, after: nn.Linear) -> Tensor:
        """Return a linear layer's output for the content of a modality, [I, n]: by one product where that is linear.

        A (W f + b) + c = (A W) f + A b + c, or c where an item lacks the modality.
        """
        layer, raw, present = self.layers[modality], self.raw[modality], self.present[modality]
        if not isinstance(layer, nn.Linear):
            return after(projected(layer, raw) * present)
        return linear(raw, after.weight @ layer.weight, after.weight @ layer.bias) * present + after.bias

    def differences(self, modality: str, rows: Tensor, of: Tensor, items: Tensor, others: Tensor) -> Tensor:
        """Return the inner products of rows with the content of ``items`` less that of ``others``, int64 [n], [n].

        They are 0 where an item lacks the modality. A linear layer is applied to the rows in place of both items:
        r . (W f + b) - r . (W g + b) = (r W) . (f - g).

        Args:
            rows: [m, d].
            of: the row that each pair is compared with, int64 [n].
        """
        layer, raw, present = self.layers[modality], self.raw[modality], self.present[modality].squeeze(1)
        pairs = torch.cat([items, others])
        if isinstance(layer, nn.Linear):
            rows, content = rows @ layer.weight, take(raw, pairs.to(raw.device)).to(layer.weight.device).float()
        else:
            content = projected(layer, raw, pairs)
        one, other = content.chunk(2)
        return (take(rows, of) * (one - other)).sum(dim=1) * (present[items] & present[others])


def projection(values: Tensor, out_dim: int, initialise: Callable[[Tensor], Tensor] | None) -> nn.Module:
    """Return a layer from raw features [I, dim], or from tokens [I, n] (0 is padding), to [I, out_dim].

    ``initialise`` fills the weight of a linear layer, whose bias is then 0; None is PyTorch's own initialisation.
    """
    if not values.is_floating_point():
        return nn.EmbeddingBag(int(values.max()) + 1, out_dim, mode="mean", padding_idx=0)
    layer = nn.Linear(values.shape[1], out_dim)
    if initialise is not None:
        initialise(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


def xavier_weights(
    layers: Iterable[nn.Module], initialise: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_
) -> None:
    """Fill the weights of the linear ones among the ``layers``; their biases stay as PyTorch initialises them."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            initialise(layer.weight)


def sigmoid_gate(dim: int) -> nn.Module:
    """Return a gate, the sigmoid of a linear layer from and to ``dim``."""
    return nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid())


def projected(layer: nn.Module, raw: Tensor, items: Tensor | None = None) -> Tensor:
    """Apply a ``projection`` to all rows of raw features, or to those of the ``items`` (int64 [n]) alone.

    Features that stay in host memory, or in a file in half precision, come to the layer's device block by block.
    """
    if not isinstance(layer, nn.Linear):
        return layer(raw if items is None else raw[items])
    if items is not None:
        return layer(take(raw, items.to(raw.device)).to(layer.weight.device).float())
    return linear(raw, layer.weight, layer.bias)


def linear(raw: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``raw`` [n, dim] times a weight [d, dim] plus a bias [d]; block by block as ``projected``."""
    # Trained rows always: in lower precision the weight may come as a product that is not of their type.
    if raw.device == weight.device and (raw.dtype == weight.dtype or raw.requires_grad):
        return nn.functional.linear(raw, weight, bias)
    result: Tensor = _LinearOfBlocks.apply(raw, weight, bias, rows_of_block(raw.shape[1]))
    return result


class _LinearOfBlocks(torch.autograd.Function):
    """A linear layer [d, dim] of rows [n, dim] that do not fit its device, applied a block of rows at a time."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, weight: Tensor, bias: Tensor, rows: int) -> Tensor:
        ctx.raw, ctx.rows, ctx.weight = raw, rows, weight
        blocks = (_brought(block, weight) for block in raw.split(rows))
        return torch.cat([nn.functional.linear(block, weight, bias) for block in blocks])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        # The block is needed for the weight's gradient alone, G^T X: it is brought again and not kept.
        (gradient,), of_weight = gradients, torch.zeros_like(ctx.weight)
        for of_block, block in zip(gradient.split(ctx.rows), ctx.raw.split(ctx.rows), strict=True):
            of_weight += of_block.T @ _brought(block, ctx.weight).to(of_block.dtype)
        return None, of_weight, gradient.sum(dim=0).to(of_weight.dtype), None


def _brought(block: Tensor, weight: Tensor) -> Tensor:
    return block.to(weight.device, non_blocking=True).to(weight.dtype)


def dense_content(data: InteractionData) -> dict[str, Tensor]:
    """Return raw features of each modality as floats [I, dim], to compare items by content.

    Tokens become the rows of a bag-of-tokens matrix, of unit norm. All are on the device of the interactions.
    """
    device = data.train.indices.device
    return {
        name: values.to(device).float() if values.is_floating_point() else _bag_of_tokens(values)
        for name, values in data.features.items()
    }


def nearest_content(data: InteractionData, k: int) -> dict[str, Edges]:
    """Modality -> edges from each item to the ``k`` items of nearest raw content, with their cosines."""
    graphs = {}
    for name, values in dense_content(data).items():
        present = data.present[name]
        compute = partial(nearest_items, values, k, present)
        rows, columns, cosines = cached(data.folder, "nearest-items-1", (values, present, k), compute)
        graphs[name] = (rows, columns, cosines)
    return graphs


def content_graphs(data: InteractionData, k: int, weighted: bool = True) -> dict[str, Edges]:
    """Modality -> edges from each item to the ``k`` items of nearest raw content, weighted as D^-1/2 A D^-1/2.

    A holds the cosines, or ones where not ``weighted``.
    """
    graphs = {}
    for name, (rows, columns, cosines) in nearest_content(data, k).items():
        weights = cosines if weighted else torch.ones_like(cosines)
        graphs[name] = (rows, columns, symmetric_weights(rows, columns, weights, data.num_items))
    return graphs


def nearest_warm_items(data: InteractionData, k: int = 10) -> ItemGraph:
    """Return weights [I, I] that give a cold item the mean of the ``k`` warm items nearest to it in raw content.

    The kNN mapping of Gantner et al., Learning Attribute-to-Feature Mappings for Cold-Start Recommendations (ICDM
    2010): weights are the cosines, summed over modalities, where positive, and sum to 1. A warm item keeps its own
    embedding; a cold one without content, or near to none, gets zeros.
    """
    contents = dense_content(data).items()
    rows = torch.cat([normalize(values, dim=1) * data.present[name].unsqueeze(1) for name, values in contents], dim=1)
    warm, cold = (~data.cold).nonzero().squeeze(1), data.cold.nonzero().squeeze(1)
    # One more column makes the keys equally long, so that the largest cosines are the largest sums.
    missing = (len(contents) - rows.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
    keys = torch.cat([rows[warm], missing[warm]], dim=1)
    found = cosine_topk(torch.nn.functional.pad(rows[cold], (0, 1)), keys, min(k, len(warm)))
    pairs = zip(found.split(256), rows[cold].split(256), strict=True)
    weights = torch.cat([(rows[warm[of]] * row.unsqueeze(1)).sum(dim=2) for of, row in pairs])
    weights = weights.masked_fill(found < 0, 0).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    kept = found >= 0
    to = torch.cat([warm, cold.unsqueeze(1).expand_as(found)[kept]])
    weights = torch.cat([weights.new_ones(len(warm)), weights[kept]])
    return ItemGraph.from_edges(to, torch.cat([warm, warm[found[kept]]]), weights, data.num_items)


def joined_content(data: InteractionData) -> Tensor:
    """Concatenate the raw features of all modalities, [I, sum of their columns]; zeros where an item lacks one."""
    return torch.cat(list(dense_content(data).values()), dim=1)


def _bag_of_tokens(tokens: Tensor) -> Tensor:
    bags = torch.zeros(len(tokens), int(tokens.max()) + 1, device=tokens.device)
    bags.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=bags.dtype))
    bags[:, 0] = 0  # padding
    return normalize(bags, dim=1)
