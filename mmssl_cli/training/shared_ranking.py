"""Ranking shared out among the processes of a distributed training: each ranks for its part of the users."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mmssl_cli.distributed.collectives import gather_rows, local_rows, world_size
from mmssl_cli.distributed.process_group import fail_together
from mmssl_cli.evaluation.ranking import Ranking
from mmssl_cli.sparse.csr import CSR

#: Users whose lists are gathered at once.
GATHERED_USERS = 2**16


def shared_ranking(ranking: Ranking) -> Ranking:
    """Return the same ranking, each process's part of the users ranked by it and gathered by all.

    All processes call it with the same users; one process alone ranks as before.

    Raises:
        MmsslError: ``ranking`` failed in a process; on the others ReportedByRankZero.
        LostError: another process has ended.
    """
    if world_size() == 1:
        return ranking

    def shared(user_ids: Tensor, k: int, masked: CSR | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for users in user_ids.split(GATHERED_USERS):
            with fail_together():
                blocks = [(items, scores) for _, items, scores in ranking(local_rows(users), k, masked)]
            items = torch.cat([users.new_empty(0, k), *(items for items, _ in blocks)])
            # Gathered as float64, for a process without users does not know the type of the scores.
            kind = blocks[0][1].dtype if blocks else torch.float32
            scores = torch.cat([items.new_empty(0, k, dtype=torch.float64), *(scores.double() for _, scores in blocks)])
            yield users, gather_rows(items, len(users)), gather_rows(scores, len(users)).to(kind)

    return shared
