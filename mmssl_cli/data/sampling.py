"""Training triples (user, positive item, negative item), drawn a whole epoch at a time on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmssl_cli.sparse.csr import CSR
from pipelines.errors import InputError


@dataclass(frozen=True)
class Batch:
    """A step's triples, int64 [B] each, and the users in them, each once and ascending, int64 [at most B].

    Padded batches all have the same number of ``distinct_users``; ``mask`` (bool) is False at those that are padding.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor
    distinct_users: Tensor
    mask: Tensor | None = None

    def renumbered(self) -> tuple[Batch, Tensor, Tensor]:
        """Renumber the triples by rows of the batch's own users and items.

        For computations that are costly per node and needed for those of the batch alone.

        Returns:
            The batch in numbers of rows; its users and its items, each once and ascending, int64.
        """
        items, rows = torch.cat([self.positives, self.negatives]).unique(return_inverse=True)
        positives, negatives = rows.split(len(self.positives))
        users = torch.searchsorted(self.distinct_users, self.users)
        every_user = torch.arange(len(self.distinct_users), device=users.device)
        return Batch(users, positives, negatives, every_user), self.distinct_users, items


class TripleSampler:
    """Sampler of an epoch's triples in batches of one size.

    An epoch has ceil(training interactions / batch size) steps. ``user_sampling`` is ``interaction`` (a random
    order of all interactions; the last batch is filled up from the start of that order) or ``user`` (users evenly,
    each of a batch distinct, then one of their items at random). Negatives are never training items of the user.

    Args:
        padded: give all batches the same number of distinct users, filled up with users that a mask excludes.

    Raises:
        InputError: no user has both a training item and an item left to be a negative.
    """

    def __init__(
        self,
        train: CSR,
        num_items: int,
        batch_size: int,
        user_sampling: str,
        negative_sampler: str,
        padded: bool = False,
        trained_negatives: bool = False,
    ) -> None:
        self.num_items = num_items
        #: Items that may be negatives, int64, ascending; None for all.
        self.candidates = train.indices.unique() if trained_negatives else None
        num_candidates = num_items if self.candidates is None else len(self.candidates)
        self.user_sampling = user_sampling
        self.negative_sampler = negative_sampler
        degrees = train.degrees()
        usable = (degrees > 0) & (degrees < num_candidates)
        self.train = train
        self.active_users = torch.nonzero(usable).squeeze(1)
        keep = usable[train.row_of_each()]
        self.pair_users = train.row_of_each()[keep]
        self.pair_items = train.indices[keep]
        if not len(self.pair_users):
            raise InputError(
                "No user has a training item and an item left over to contrast it with; expected at least one."
            )
        self.keys = train.row_of_each() * num_items + train.indices
        pool = len(self.pair_users) if user_sampling == "interaction" else len(self.active_users)
        self.batch_size = min(batch_size, pool)
        self.steps = -(-len(self.pair_users) // batch_size)
        self.width = self._usual_width() if padded else None

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        users, positives = self._positives(generator)
        negatives = self._negatives(users, generator)
        shape = (self.steps, self.batch_size)
        distinct, masks = self._distinct(users.view(shape))
        for parts in zip(*(of.view(shape) for of in (users, positives, negatives)), distinct, masks, strict=True):
            yield Batch(*parts)

    def _distinct(self, users: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
        """Return the distinct users of each batch [steps, B], ascending, and their masks, with one synchronisation."""
        ordered = users.sort(dim=1).values
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        counts = first.sum(dim=1)
        if self.width is None:
            return ordered[first].split(counts.tolist()), [None] * len(users)
        self.width = max(self.width, int(counts.max()))
        padded = ordered[:, :1].repeat(1, self.width)  # any user will do
        _ = padded.scatter_(1, first.cumsum(dim=1) - 1, ordered)
        return list(padded), list(torch.arange(self.width, device=users.device) < counts.unsqueeze(1))

    def _usual_width(self) -> int:
        """Return a number of distinct users that a batch of random interactions almost never exceeds.

        Whether a user is in a batch and whether another is are negatively correlated, so that the variance of their
        number is at most the sum of their own; eight deviations are allowed for.
        """
        if self.user_sampling == "user":
            return self.batch_size
        share = self.train.degrees()[self.active_users].double() / len(self.pair_users)
        drawn = 1 - (1 - share).pow(self.batch_size)
        bound = drawn.sum() + 8 * (drawn * (1 - drawn)).sum().sqrt()
        return min(self.batch_size, len(self.active_users), -(-int(bound) // 64) * 64)

    def _positives(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        needed = self.steps * self.batch_size
        device = self.pair_users.device
        if self.user_sampling == "interaction":
            order = torch.randperm(len(self.pair_users), generator=generator, device=device)
            order = torch.cat([order, order])[:needed]
            return self.pair_users[order], self.pair_items[order]
        # A batch never crosses from one shuffle of the users into the next, so that its users are distinct.
        a_shuffle = len(self.active_users) // self.batch_size * self.batch_size
        shuffles = [
            torch.randperm(len(self.active_users), generator=generator, device=device)[:a_shuffle]
            for _ in range(-(-needed // a_shuffle))
        ]
        users = self.active_users[torch.cat(shuffles)[:needed]]
        starts, degrees = self.train.indptr[users], self.train.degrees()[users]
        # float64: a float32 fraction times a degree above 2**24 could reach the degree itself.
        fraction = torch.rand(needed, generator=generator, device=device, dtype=torch.float64)
        return users, self.train.indices[starts + (fraction * degrees).long()]

    def _negatives(self, users: Tensor, generator: torch.Generator) -> Tensor:
        negatives = self._draw(len(users), generator)
        rejected = torch.nonzero(self._observed(users, negatives)).squeeze(1)
        for attempt in range(1000):
            if not len(rejected):
                return negatives
            # Popular items can be all that a heavy user has seen: give up on popularity after a while.
            negatives[rejected] = self._draw(len(rejected), generator, even=attempt > 20)
            rejected = rejected[self._observed(users[rejected], negatives[rejected])]
        for at in rejected.tolist():  # users who have nearly every item
            left = torch.full((self.num_items,), self.candidates is None, device=users.device)
            if self.candidates is not None:
                left[self.candidates] = True
            left[self.train.row(int(users[at]))] = False
            choices = torch.nonzero(left).squeeze(1)
            pick = torch.randint(len(choices), (1,), generator=generator, device=users.device)
            negatives[at] = choices[pick].squeeze()
        return negatives

    def _draw(self, count: int, generator: torch.Generator, even: bool = False) -> Tensor:
        device = self.keys.device
        if self.negative_sampler == "uniform" or even:
            if self.candidates is not None:
                picks = torch.randint(len(self.candidates), (count,), generator=generator, device=device)
                return self.candidates[picks]
            return torch.randint(self.num_items, (count,), generator=generator, device=device)
        picks = torch.randint(len(self.train.indices), (count,), generator=generator, device=device)
        return self.train.indices[picks]

    def _observed(self, users: Tensor, items: Tensor) -> Tensor:
        wanted = users * self.num_items + items
        at = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        return self.keys[at] == wanted
