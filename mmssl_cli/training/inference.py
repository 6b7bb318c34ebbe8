"""Use of a trained model: its metrics on a split, and the best items of each user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from mmssl_cli.evaluation.metrics import evaluate_ranking, metric_names
from mmssl_cli.evaluation.ranking import Ranking, ranked_blocks
from mmssl_cli.evaluation.splits import Split
from mmssl_cli.evaluation.warm_cold import WarmCold
from mmssl_cli.models.base import Recommender
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.tables import records, row_groups
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import nearest_of_many
from mmssl_cli.training.loading import load_model, modalities_of
from pipelines.errors import UsageError, nearest
from pipelines.prepared.storage import read_table

#: Items that may be recommended: all, or those with, or without, a training interaction.
Candidates: TypeAlias = Literal["all", "warm", "cold"]
#: Columns of recommendations.
SCHEMA = pa.schema({"user": pa.string(), "rank": pa.int32(), "item": pa.string(), "score": pa.float32()})


def evaluate_run(
    run: RunFolder, data_dir: Path, split: Split, ks: Sequence[int] | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Return the metrics of a run's model as plain values: ``metrics``, ``users``, and what was evaluated.

    ``warm_cold`` has the metrics of warm and of cold items apart, as :class:`WarmCold`; None without cold ones.

    Args:
        ks: cut-offs; None for those of the run.
        out: parquet file for the metrics of each user.

    Raises:
        InputError: the run has no model yet, it or its data set is damaged, or the file cannot be written.
    """
    model, data, settings = load_model(run.path, data_dir)
    cutoffs = ks or settings.ks
    with torch.inference_mode(), _per_user_file(out, data_dir / settings.dataset, cutoffs) as write:
        warm_cold = WarmCold(data.train, relevant := getattr(data, split), cutoffs)
        means, per_user = evaluate_ranking(model.ranking(), data.train, relevant, cutoffs, write, warm_cold.add)
    return {
        "run": run.id,
        "model": settings.model,
        "variant": getattr(settings, "variant", None),
        "label": settings.label,
        "dataset": settings.dataset,
        "modalities": modalities_of(settings, data),
        "split": split,
        "users": len(per_user),
        "metrics": means,
        "warm_cold": warm_cold.result() or None,
        "per_user": str(out) if out is not None else None,
    }


@contextmanager
def _per_user_file(
    out: Path | None, dataset: Path, ks: Sequence[int]
) -> Iterator[Callable[[pd.DataFrame], None] | None]:
    """Yield a function that adds rows of users to the file ``out``, with their ids; None where no file is wanted."""
    if out is None:
        yield None
        return
    ids = read_table("users", dataset / "users.parquet")["id"]
    counts = {"user": pa.int32(), "id": pa.string(), "train_degree": pa.int32()}
    schema = pa.schema({**counts, **dict.fromkeys(metric_names(ks), pa.float64())})

    def add_named(rows: pd.DataFrame) -> None:
        named = rows.assign(id=ids.to_numpy()[rows["user"]])
        add(pa.Table.from_pandas(named, schema, preserve_index=False).replace_schema_metadata())

    with row_groups(out, schema) as add:
        yield add_named


@dataclass(frozen=True)
class Ranker:
    """The model of a run, with the original ids and titles of its data set.

    Attributes:
        cold: items without training interactions, bool [I].
        ranks_cold: whether content ranks those items.
        candidates: the items that may be recommended, bool [I]; None for all.
    """

    model: Recommender
    train: CSR
    user_ids: pd.Series
    item_ids: pd.Series
    titles: pd.Series | None
    cold: Tensor
    ranks_cold: bool
    candidates: Tensor | None = None

    @classmethod
    def load(cls, run: Path, data_dir: Path) -> Ranker:
        """Read the model of a run and the names in its data set."""
        model, data, settings = load_model(run, data_dir)
        folder = data_dir / settings.dataset
        names = read_table("items", folder / "items.parquet")
        user_ids = read_table("users", folder / "users.parquet")["id"]
        ranks_cold = data.new_items and model.cold_items is not None
        return cls(model, data.train, user_ids, names["id"], names.get("title"), data.cold, ranks_cold)

    @cached_property
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Final user [U, d] and item [I, d] embeddings.

        Raises:
            UsageError: the model has none.
        """
        if not self.model.has_embeddings():
            raise UsageError(
                f"{type(self.model).__name__} scores items without embeddings: it has none to write or to compare; "
                "choose a run of another model."
            )
        with torch.inference_mode():
            users, items = self.model.represent()
        return users.detach(), items.detach()

    @cached_property
    def ranking(self) -> Ranking:
        """Ranks the candidates for users given by their rows."""
        with torch.inference_mode():
            return self.model.ranking(self.candidates)

    def among(self, candidates: Candidates) -> Ranker:
        """Return the same with ``all`` items as candidates, or the ``warm`` or ``cold`` ones alone.

        Raises:
            UsageError: there is no such choice, no such item, or the model does not rank cold items by content.
        """
        if candidates == "all":
            return self
        if candidates not in get_args(Candidates):
            raise UsageError(f"There are no candidates {candidates!r}: {nearest(candidates, get_args(Candidates))}")
        chosen = self.cold if candidates == "cold" else ~self.cold
        if not bool(chosen.any()):
            raise UsageError(f"The data set of this run has no {candidates} items.")
        if candidates == "cold" and not self.ranks_cold:
            raise UsageError(
                "This run does not rank cold items, which have no training interaction, by their content: that needs a "
                "model of content (such as vbpr, clcrec or mmssl) and a data set prepared with --split cold-items or "
                "--k-core 0."
            )
        return replace(self, candidates=chosen)

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The rows of users given by their original ids.

        Raises:
            UsageError: no user has such an id.
        """
        return _rows(self.user_ids, ids, "user")

    def item_rows_of(self, ids: Sequence[str]) -> list[int]:
        """The rows of items given by their original ids.

        Raises:
            UsageError: no item has such an id.
        """
        return _rows(self.item_ids, ids, "item")

    def nearest_items(self, query: Tensor, items: Tensor, left_out: Sequence[int], top: int) -> pd.DataFrame:
        """The items of the highest inner product with one query: ``rank``, ``item`` and ``score``.

        Args:
            query: [d].
            items: embeddings [I, d] to rank, in place of the final ones where they differ.
            left_out: rows of items that may not appear.
        """
        masked = CSR.from_pairs([(0, row) for row in left_out], 1).to(items.device)
        first = torch.zeros(1, dtype=torch.int64, device=items.device)
        [(_, best, scores)] = ranked_blocks(query[None], items, first, top, masked)
        found = best[0][best[0] >= 0].cpu().numpy()
        rank = np.arange(1, len(found) + 1, dtype=np.int32)
        columns = {"rank": rank, "item": self.item_ids.to_numpy()[found], "score": scores[0, : len(found)].cpu()}
        return pd.DataFrame(columns).astype({"score": "float32"})

    def blocks(self, rows: Sequence[int], top: int) -> Iterator[tuple[Any, Any, Any]]:
        """A block of users at a time: their rows [b], their items [b, top] and the scores, in NumPy."""
        wanted = torch.from_numpy(np.array(rows, dtype=np.int64)).to(self.train.indices.device)
        blocks = self.ranking(wanted, top, self.train)
        while True:
            with torch.inference_mode():  # a generator would leave it on for the caller between two blocks
                block = next(blocks, None)
            if block is None:
                return
            users, items, scores = block
            yield users.cpu().numpy(), items.cpu().numpy(), scores.cpu().numpy()

    def answers(self, rows: Sequence[int], top: int) -> Iterator[dict[str, Any]]:
        """Plain values for each user: id, and the items with id, score and, where known, title."""
        for block, items, scores in self.blocks(rows, top):
            for row, best, values in zip(block, items, scores, strict=True):
                found = [self._answer(item, score) for item, score in zip(best, values, strict=True) if item >= 0]
                yield {"user": self.user_ids.iloc[row], "items": found}

    def _answer(self, item: int, score: float) -> dict[str, Any]:
        answer = {"item": self.item_ids.iloc[item], "score": float(score)}
        if self.titles is not None:
            title = self.titles.iloc[item]
            answer["title"] = title if isinstance(title, str) else None
        return answer

    def write(self, path: Path, rows: Sequence[int], top: int) -> int:
        """Write recommendations as the file's ending says, part by part, whole or not at all; return their number."""
        count = 0
        with records(path, SCHEMA) as add:
            for table in self.tables(rows, top):
                add(table)
                count += len(table)
        return count

    def tables(self, rows: Sequence[int], top: int) -> Iterator[pa.Table]:
        """A block of users at a time: their recommendations as a table of ``SCHEMA``."""
        user_ids, item_ids = (pa.array(ids, pa.string()) for ids in (self.user_ids, self.item_ids))
        for block, items, scores in self.blocks(rows, top):
            place, rank = np.nonzero(items >= 0)
            columns = [
                user_ids.take(pa.array(block[place])),
                pa.array((rank + 1).astype(np.int32)),
                item_ids.take(pa.array(items[place, rank])),
                pa.array(scores[place, rank].astype(np.float32)),
            ]
            yield pa.Table.from_arrays(columns, schema=SCHEMA)


def _rows(known: pd.Series, ids: Sequence[str], what: str) -> list[int]:
    row_of = {name: row for row, name in enumerate(known)}
    for wanted in ids:
        if wanted not in row_of:
            raise UsageError(f"There is no {what} {wanted!r}: {nearest_of_many(str(wanted), list(row_of), what)}")
    return [row_of[wanted] for wanted in dict.fromkeys(ids)]
