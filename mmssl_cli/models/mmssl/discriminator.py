"""The graph structure discriminator: Eq. 4 and the gradient penalty of Eq. 7.

Its input is a whole row over the items, yet no batch x items block is formed for a row that is a product of thin
factors: with a = l R^T the first layer is W a = l (R^T W^T). The width of the layers does not depend on the items.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmssl_cli.models.mmssl.batch_rows import BatchRows

#: Normalisation after each hidden layer of D, by name; made for a width.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "none": lambda _: nn.Identity(),
}


class Discriminator(nn.Module):
    """Two layers of linear, LeakyReLU, normalisation and dropout, then one output through a sigmoid (Eq. 4)."""

    def __init__(
        self,
        num_items: int,
        hidden: int,
        dropout: float,
        init: str = "default",
        user_dim: int | None = None,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.first = nn.Linear(num_items, hidden)
        self.rest = nn.Sequential(
            nn.LeakyReLU(0.2),
            NORMS[norm](hidden),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            NORMS[norm](hidden),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
            nn.Sigmoid(),
        )
        #: Of a discriminator that knows the user: from the user's embedding to the last hidden layer.
        self.of_user = None if user_dim is None else nn.Linear(user_dim, hidden, bias=False)
        if init == "xavier":
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)

    def first_layer_dense(self, rows: Tensor) -> Tensor:
        """First-layer output [n, hidden], less its bias, of dense rows [n, I]."""
        return rows @ self.first.weight.T

    def first_layer_lowrank(self, left: Tensor, right: Tensor) -> Tensor:
        """First-layer output [n, hidden], less its bias, of the rows left @ right.T: [n, d] and [I, d]."""
        return left @ (self.first.weight @ right).T

    def first_layer_sparse(self, row_of_each: Tensor, columns: Tensor, num_rows: int) -> Tensor:
        """First-layer output [n, hidden], less its bias, of sparse 0/1 rows: int64 [entries] rows and columns."""
        empty = self.first.weight.new_zeros(num_rows, self.first.out_features)
        return empty.index_add(0, row_of_each, self.first.weight.T[columns])

    def forward(self, first_layer: Tensor, rows: BatchRows | None = None, users: Tensor | None = None) -> Tensor:
        """Eq. 4: D [n] in (0, 1) from first-layer outputs less their bias [n, hidden]; near 1 for observed rows.

        Batch statistics and dropout are those of all the ``rows``, of which these may be a part. ``users`` [n, d] are
        the rows' users, whose product with the last hidden layer adds to the output before the sigmoid.
        """
        layers = self.rest if self.of_user is None else self.rest[:-2]
        z = first_layer + self.first.bias
        z = layers(z) if rows is None else rows.apply(layers, z)
        if self.of_user is None:
            return z.squeeze(1)
        assert users is not None
        output: Tensor = self.rest[-2](z).squeeze(1) + (z * self.of_user(users)).sum(dim=1)
        return output.sigmoid()

    def gradient_penalty(
        self, first_layer: Tensor, rows: BatchRows | None = None, users: Tensor | None = None
    ) -> Tensor:
        """Eq. 7: mean of (|dD/da| - 1)^2 at rows given by their first-layer outputs [n, hidden].

        With v = dD/dz at the first layer z = W a, |dD/da|^2 = |W^T v|^2 = v^T (W W^T) v. Dropout is off and batch
        normalisation uses its running statistics, so that a row's gradient is its own.
        """
        training = self.training
        self.eval()
        # The rows depend on W only through z here, and dD/da depends on z: both paths keep their gradient.
        at = first_layer if first_layer.requires_grad else first_layer.detach().requires_grad_()
        (v,) = torch.autograd.grad(self(at, users=users).sum(), at, create_graph=True)
        self.train(training)
        gram = self.first.weight @ self.first.weight.T
        squared = ((v @ gram) * v).sum(dim=1)
        # The root has no derivative at 0, which saturated sigmoids reach.
        distances = (torch.sqrt(squared + 1e-12) - 1).square()
        return distances.mean() if rows is None else rows.mean(distances)
