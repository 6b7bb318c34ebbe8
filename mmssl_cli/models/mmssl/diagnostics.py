"""Measures of whether the adversary acts: turnover of the neighbours, outputs at one scale, gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, Factors, lowrank_norms
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.gradients import gradient_at

#: Most users whose neighbours are compared, and whose rows are judged.
COMPARED_USERS, JUDGED_USERS = 10_000, 256
#: Share of the first neighbours below which the graphs are said not to move.
LOW_TURNOVER = 0.02


def sampled(neighbours: Tensor) -> Tensor:
    """Return the neighbours [M, n, k] of evenly spaced users, at most ``COMPARED_USERS``, from all [M, U, k]."""
    return neighbours[:, :: -(-neighbours.shape[1] // COMPARED_USERS)]


def turnover(before: Tensor, now: Tensor) -> float:
    """Return the share of the neighbours ``now`` that were none ``before``; int64 [M, n, k] each, -1 is none."""
    before, now = sampled(before), sampled(now)
    known = (now.unsqueeze(3) == before.unsqueeze(2)).any(dim=3)
    chosen = now >= 0
    return float((~known & chosen).sum() / chosen.sum().clamp(min=1))


def judged(rows: BatchRows) -> BatchRows:
    """Return the first rows of a batch, at most ``JUDGED_USERS``."""
    return BatchRows(rows.users[:JUDGED_USERS], None if rows.mask is None else rows.mask[:JUDGED_USERS])


@torch.no_grad()
def discriminator_outputs(
    adversary: AdversarialSelfAugmentation, rows: BatchRows, generated: list[Factors], final: Factors
) -> dict[str, Tensor]:
    """Return mean outputs of D in evaluation mode, and the mean share of the first term in the norm of Eq. 5.

    ``D generated scaled`` judges generated rows at the norm of their user's real row: a D that reads more than scale
    tells these apart too. Arguments are as in ``AdversarialSelfAugmentation.objective``. The Gumbel noise is drawn
    aside of the training's random state.
    """
    d, device = adversary.discriminator, rows.users.device
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        torch.manual_seed(0)
        transformed = adversary.transformed_rows(rows)
    if transformed is None and rows.mask is not None:
        rows = BatchRows(rows.users[rows.mask])
        generated, final = [(u[: len(rows)], i) for u, i in generated], (final[0][: len(rows)], final[1])
    of_term, of_real = adversary.norms_of_real(rows, transformed, final)
    users = rows.local(final[0])
    fakes = [adversary.first_layer_of_generated(rows, factors) for factors in generated]
    scaled = fakes
    if adversary.settings.row_scaling == "none":
        norms = [lowrank_norms(rows.local(left), right) for left, right in generated]
        scaled = [first * (of_real / norm) for first, norm in zip(fakes, norms, strict=True)]

    def output(firsts: list[Tensor]) -> Tensor:
        return torch.stack([rows.mean(d(first, users=users)) for first in firsts]).mean()

    return {
        "D real": output([adversary.first_layer_of_real(rows, transformed, final)]),
        "D generated": output(fakes),
        "D generated scaled": output(scaled),
        "gumbel share": rows.mean((of_term / of_real).squeeze(1)),
    }


def gradient_measures(loss: Tensor, ranking: Tensor | None, parameters: list[Tensor]) -> dict[str, Tensor]:
    """Return the norm of the generator's loss's gradient at the projections, and its cosine with the ranking loss's."""
    own = gradient_at(loss, parameters)
    found = {"generator gradient": own.norm()}
    if ranking is not None:
        found["gradient cosine"] = cosine_similarity(own, gradient_at(ranking, parameters), dim=0)
    return found
