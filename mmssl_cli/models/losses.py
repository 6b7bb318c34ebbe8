"""Losses that several models share: ranking by BPR or softmax, contrast by InfoNCE.

With several processes each takes its part of the anchors, against the candidates of the whole batch; the mean over
the processes is the loss (see ``mmssl_cli.distributed.collectives``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from mmssl_cli.data.sampling import Batch
from mmssl_cli.distributed.collectives import local_rows, local_slice, sharded_mean, world_size
from mmssl_cli.models.rows import take


def bpr_loss(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Eq. 14: mean of -log sigmoid(y_up - y_un) over a batch of embeddings [B, d] each."""
    count = len(users)
    users, positives, negatives = local_rows(users), local_rows(positives), local_rows(negatives)
    return sharded_mean(nn.functional.softplus((users * (negatives - positives)).sum(dim=1)), count)


def softmax_loss(users: Tensor, positives: Tensor, items: Tensor, temperature: float) -> Tensor:
    """Softmax over the items of the batch: each user's positive [B, d] against all the batch's positives.

    The score is the cosine over ``temperature``. Another triple with the same item, as ``items`` (int64 [B]) tells,
    is no negative.
    """
    users = normalize(local_rows(users), dim=1)
    positives = normalize(positives, dim=1)
    logits = users @ positives.T / temperature
    same = items.unsqueeze(0) == local_rows(items).unsqueeze(1)
    same.diagonal(local_slice(len(items)).start).fill_(False)
    logits = logits.masked_fill(same, -torch.inf)
    targets = torch.arange(len(items), device=items.device)
    if world_size() == 1:
        return nn.functional.cross_entropy(logits, targets)
    return sharded_mean(nn.functional.cross_entropy(logits, local_rows(targets), reduction="none"), len(targets))


def info_nce(
    anchors: Tensor,
    others: Tensor,
    temperature: float,
    positives: Tensor | None = None,
    cosine: bool = True,
    excluded: Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    """InfoNCE (van den Oord et al., 2018): the mean over anchors of -log softmax at their positive.

    Args:
        anchors: [n, d].
        others: [m, d], the candidates.
        temperature: divides the similarities.
        positives: int64 [n], which of ``others`` is each anchor's; by default row r is anchor r's.
        cosine: compare by cosine, else by inner product.
        excluded: int64 [n], one of ``others`` that is no candidate of each anchor; by default all are.
        counts: int64 [n], with n = m: row r of both stands for so many equal rows; by default for one.
    """
    if positives is None:
        positives = torch.arange(len(anchors), device=anchors.device)
    own = local_rows(anchors)
    if cosine:
        own, others = normalize(own, dim=1), normalize(others, dim=1)
    total: Tensor = _InfoNCE.apply(
        own / temperature,
        others,
        local_rows(positives),
        None if excluded is None else local_rows(excluded),
        None if counts is None else counts.to(others.dtype),
    )
    return total / ((len(anchors) if counts is None else counts.sum()) / world_size())


#: Cosines that are compared at once: few on a CPU, such that they stay in its cache, and many on a GPU.
BLOCK_ELEMENTS = {"cpu": 2**18}
_BLOCK_ELEMENTS_ELSEWHERE = 2**26
#: Fewest anchors of a block, with which products are fast.
_LEAST_ANCHORS = 64


def _anchors_at_once(anchors: Tensor, others: Tensor) -> int:
    return max(_LEAST_ANCHORS, BLOCK_ELEMENTS.get(anchors.device.type, _BLOCK_ELEMENTS_ELSEWHERE) // len(others))


class _InfoNCE(torch.autograd.Function):
    """The sum over anchors [n, d] of logsumexp(scores) - score of the positive; scores [n, m] exist in blocks alone.

    Equal anchors and candidates are counted instead of repeated. The gradient is made beside the loss, while a block's
    scores are at hand, and needs nothing of them afterwards.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, others: Tensor, positives: Tensor, excluded: Tensor | None, counts: Tensor | None
    ) -> Tensor:
        total, to_anchors, to_others = anchors.new_zeros(()), torch.empty_like(anchors), torch.zeros_like(others)
        logs = None if counts is None else counts.log()
        size, device = _anchors_at_once(anchors, others), anchors.device.type
        lower = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float64
        dtype = min(lower, anchors.dtype, others.dtype, key=lambda kind: torch.finfo(kind).bits)
        every, candidates = anchors.to(dtype), others.to(dtype)
        memory = every.new_empty(min(len(every), size), len(others))
        for start in range(0, len(every), size):
            of = slice(start, start + size)
            rows, at = every[of], positives[of].unsqueeze(1)
            scores = torch.mm(rows, candidates.T, out=memory[: len(rows)])
            if excluded is not None:
                scores.scatter_(1, excluded[of].unsqueeze(1), -torch.inf)
            logits = scores.float() if scores.dtype == torch.bfloat16 else scores
            chosen = logits.gather(1, at)
            if logs is not None:
                logits += logs
            peaks = logits.amax(dim=1, keepdim=True)
            probabilities = logits.sub_(peaks).exp_()  # in place, and divided by their sums below
            sums = probabilities.sum(dim=1, keepdim=True)
            weights = torch.ones_like(sums) if counts is None else counts[positives[of]].unsqueeze(1).to(sums.dtype)
            total += (weights * (sums.log() + peaks - chosen)).sum()
            gradients = probabilities.mul_(weights / sums).scatter_add_(1, at, -weights).to(dtype)
            to_anchors[of] = gradients @ candidates
            if dtype == to_others.dtype:
                to_others.addmm_(gradients.T, rows)
            else:  # sums stay in full precision
                to_others += gradients.T @ rows
        ctx.save_for_backward(to_anchors, to_others)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        to_anchors, to_others = ctx.saved_tensors
        return to_anchors * gradients[0], to_others * gradients[0], None, None, None


def log_sum_of_scores(anchors: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Return log sum_j exp(a . o_j / temperature) of ``anchors`` [n, d] over ``others`` [m, d], float32 [n].

    Scores [n, m] exist in blocks alone, and are made again for the gradient.
    """

    def of_block(rows: Tensor, others: Tensor) -> Tensor:
        return ((rows @ others.T).float() / temperature).logsumexp(dim=1)

    size = _anchors_at_once(anchors, others)
    blocks = [checkpoint(of_block, rows, others, use_reentrant=False) for rows in anchors.split(size)]
    return torch.cat(blocks)


def contrast_nodes(anchors: Tensor, others: Tensor, nodes: Tensor, temperature: float, negatives: str) -> Tensor:
    """InfoNCE between two embeddings of the same nodes, of which a batch holds some.

    Args:
        anchors, others: two embeddings of all nodes, [N, d] each; row r of one is the positive of row r of the other.
        nodes: those of the batch, each once, int64 [n].
        temperature: divides the cosines.
        negatives: ``batch`` compares a node with the others of the batch, ``all`` with all N.
    """
    if negatives == "all":
        return info_nce(take(anchors, nodes), others, temperature, positives=nodes)
    return info_nce(take(anchors, nodes), take(others, nodes), temperature)


def contrast_batch(
    anchors: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], batch: Batch, temperature: float, negatives: str
) -> tuple[Tensor, Tensor]:
    """``contrast_nodes`` of the batch's users and of its positive items, from two embeddings of all of both."""
    (of_users, of_items), (other_users, other_items) = anchors, others
    return (
        contrast_nodes(of_users, other_users, batch.distinct_users, temperature, negatives),
        contrast_nodes(of_items, other_items, batch.positives.unique(), temperature, negatives),
    )


#: Numbers of rows, int64 [n], and how many equal ones each stands for, int64 [n] or None for one.
CountedRows = tuple[Tensor, Tensor | None]


def contrasted_rows(batch: Batch, rows: str) -> tuple[CountedRows, CountedRows]:
    """Return the users and the positive items of a batch, each once, with ``counts`` of ``info_nce``.

    The counts are those of every triple (``triples``), else None.
    """
    users, items = (
        nodes.unique(return_counts=True) if rows == "triples" else (nodes.unique(), None)
        for nodes in (batch.users, batch.positives)
    )
    return users, items


def l2_of(*rows: Tensor) -> Tensor:
    """Half the squared norm of embeddings, a mean over the B triples of a batch; the first ones are [B, d]."""
    norm: Tensor = _HalfSquaredNorm.apply(*rows)
    return norm / len(rows[0])


class _HalfSquaredNorm(torch.autograd.Function):
    """Half the squared norm of several tables, in one pass over each, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, *tables: Tensor) -> Tensor:
        ctx.save_for_backward(*tables)
        return torch.stack([torch.linalg.vector_norm(table) for table in tables]).square().sum() / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(table * gradients[0] for table in ctx.saved_tensors)


def frobenius_norm(table: Tensor) -> Tensor:
    """Frobenius norm of a table [n, d], as ``table.norm()``, in one pass over it backwards; the gradient at 0 is 0."""
    norm: Tensor = _FrobeniusNorm.apply(table)
    return norm


class _FrobeniusNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        norm = table.norm()
        ctx.save_for_backward(table, norm)
        return norm

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        table, norm = ctx.saved_tensors
        return table * (gradient / norm.clamp(min=torch.finfo(norm.dtype).tiny))
