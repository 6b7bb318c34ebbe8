"""Gradients of the two views of MMSSL by a user's interactions.

Sec. 3.4.1 compares the source view, generated relations of a modality (Eq. 3), with the target view, the collaborative
relations that the discriminator holds against them (the cosine of Eq. 5). Both are cosines of a user with the items,
and in both the user is made from the same input: the row of the items the user interacted with. A change of that row
moves the user; the items, the degrees, the other users and the neighbours of Eq. 8 are held as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.models import content
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.sparse.csr import CSR


def item_contributions(model: MMSSL, users: Tensor, items: Tensor) -> Tensor:
    """Return what an item adds to a neighbour's h_u by Eq. 10, [I, d], from layer 0: users [U, d], items [I, d].

    It is the sum of the item's embeddings over all layers but the last, divided by the number of layers: weighted by
    the graph, it is the part of h_u that depends on the user's own row.
    """
    layers = model.settings.layers
    if not layers:
        return torch.zeros_like(items)
    return model.graph.propagate(users, items, layers - 1)[1] * layers / (layers + 1)


def margin_gradients(model: MMSSL, train: CSR, users: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the gradients of a user's mean margin by the user's row, in the collaborative view and in each modality's.

    The margin is the mean cosine with the user's training items less that with the other items: the argument of
    Eq. 14 averaged over the user's triples.

    Args:
        model: in evaluation mode.
        users: int64 [n]; each has a training item and lacks another.

    Returns:
        Target [n, I], and source [n, I] per modality; rows of users without an embedding in a view are NaN.
    """
    with torch.no_grad():
        final_users, final_items = model.embeddings()
        by_item = item_contributions(model, *model.fused_layer0(*model.views()))
        features = dict(zip(model.generator.projections, model.generator(), strict=True))
        projected = {
            name: content.projected(layer, model.generator.raw[name]) * model.generator.present[name]
            for name, layer in model.generator.projections.items()
        }
        weights = _row_weights(train, users, model.num_items, model.settings.adjacency)
    change = torch.zeros(len(users), model.num_items, dtype=torch.float64, device=users.device, requires_grad=True)
    weighted = change * weights
    of_modality = {n: _moved(features[n][0][users], weighted, projected[n]) for n in features}
    target = _moved(final_users[users], weighted, by_item)
    if model.settings.omega:
        for name, moved in of_modality.items():
            before = normalize(features[name][0][users].double(), dim=1)
            target = target + model.settings.omega * (normalize(moved, dim=1) - before)
    margins = {"": _margins(target, final_items, train, users)}
    margins |= {name: _margins(moved, features[name][1], train, users) for name, moved in of_modality.items()}
    found = {n: torch.autograd.grad(margin.sum(), change, retain_graph=True)[0] for n, margin in margins.items()}
    lengths = {"": target.norm(dim=1), **{name: moved.norm(dim=1) for name, moved in of_modality.items()}}
    for name, gradient in found.items():
        gradient[lengths[name] == 0] = torch.nan  # a cosine with nothing has no gradient
    return found.pop(""), found


def _moved(users: Tensor, weighted: Tensor, by_item: Tensor) -> Tensor:
    """Users [n, d] after a weighted change [n, I] of their rows, through the contribution of each item, [I, d]."""
    return users.double() + weighted @ by_item.double()


def _row_weights(train: CSR, users: Tensor, num_items: int, adjacency: str) -> Tensor:
    """Weight of each item in the graph for each user, as if the user had it, float64 [n, I]."""
    by_user = train.degrees()[users].clamp(min=1).double().rsqrt().unsqueeze(1)
    by_item = torch.bincount(train.indices, minlength=num_items).clamp(min=1).double().rsqrt()
    return by_user * by_item if adjacency == "sym" else by_user.expand(-1, num_items)


def _margins(moved: Tensor, items: Tensor, train: CSR, users: Tensor) -> Tensor:
    """Mean cosine of each user [n, d] with the training items less the mean with the other items [I, d], [n]."""
    items = normalize(items.double(), dim=1)
    own = train.select(users)
    sums = torch.zeros_like(moved).index_add(0, own.row_of_each(), items[own.indices])
    degrees = own.degrees().unsqueeze(1)
    contrast = sums / degrees - (items.sum(dim=0) - sums) / (len(items) - degrees)
    return (normalize(moved, dim=1) * contrast).sum(dim=1)
