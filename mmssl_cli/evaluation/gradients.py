"""Gradients of the cross-modal contrast (Eq. 11) by negative: Eq. 18 to 21 and Fig. 5."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def gradient_weight(similarity: np.ndarray, temperature: float) -> np.ndarray:
    """Eq. 21: phi(x) = sqrt(1 - x^2) exp(x / tau), to which the gradient of a negative of cosine x is proportional."""
    x = np.asarray(similarity, dtype=np.float64)
    return np.sqrt(np.clip(1 - x**2, 0, None)) * np.exp(x / temperature)


def weight_peak(temperature: float) -> float:
    """The cosine where phi is largest: the root of x^2 + tau x - 1 in [0, 1]. Beyond it the weight falls to 0."""
    return float((-temperature + np.hypot(temperature, 2)) / 2)


def negative_gradients(
    final: Tensor, view: Tensor, anchors: Tensor, temperature: float, block_rows: int = 128
) -> Iterator[tuple[Tensor, Tensor]]:
    """Eq. 20 without its "proportional to": the norm of each negative's share of an anchor's gradient.

    The anchor is e_u of a view; the loss is its own term of Eq. 11, unweighted. Its negatives are h_u' and e_u' of
    all the other users, of which N has the share
    ``(q_N - (q_u . q_N) q_u) exp(q_u . q_N / tau) / (tau |e_u| sum_A exp(q_u . q_A / tau))``, where q are the
    embeddings at unit norm and A runs over h and e of all users, as in Eq. 11.

    Args:
        final: h, [U, d].
        view: e of one modality, [U, d].
        anchors: users that are anchors, int64 [n]; their rows of ``view`` are not zero.
        block_rows: anchors at a time.

    Yields:
        For a block of b anchors the cosines and the norms, float64 [b, 2 (U - 1)]: first h_u', then e_u'.
    """
    lengths = view.double().norm(dim=1)
    candidates = torch.cat([torch.nn.functional.normalize(rows.double(), dim=1) for rows in (final, view)])
    squares = candidates.square().sum(dim=1)  # 1, but 0 for a zero row, which has no direction to pull in
    for block in anchors.split(block_rows):
        x = candidates[block + len(view)] @ candidates.T
        share = torch.softmax(x / temperature, dim=1)
        # |q_N - x q_u|^2 = |q_N|^2 - x^2, since q_u has unit norm.
        norms = (squares - x.square()).clamp(min=0).sqrt() * share / (temperature * lengths[block].unsqueeze(1))
        others = torch.ones_like(x, dtype=torch.bool)
        rows = torch.arange(len(block), device=x.device)
        others[rows, block] = others[rows, block + len(view)] = False
        yield x[others].view(len(block), -1), norms[others].view(len(block), -1)


def share_of_hardest(similarities: Tensor, norms: Tensor, fraction: float) -> Tensor:
    """Return the share of an anchor's summed norms that its most similar ``fraction`` of negatives hold, [b].

    Args:
        similarities, norms: of a block of anchors, [b, n]; at least one negative counts as the most similar.
    """
    count = max(1, round(fraction * similarities.shape[1]))
    hardest = similarities.topk(count, dim=1).indices
    return norms.gather(1, hardest).sum(dim=1) / norms.sum(dim=1)
