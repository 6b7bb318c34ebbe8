"""Recommendations of a trained model: the best items for users, for new users, and beside an item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmssl_cli.evaluation.ann_index import check_installed, index_ranking
from mmssl_cli.evaluation.ranking import Ranking, ranked_blocks, ranked_scores
from mmssl_cli.models.base import Recommender
from mmssl_cli.runs.tables import records
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import nearest_of_many, pluralize
from mmssl_cli.training.loading import load_model
from pipelines.errors import UsageError, nearest
from pipelines.prepared.storage import read_table

#: Original ids, one or several; whole numbers count as texts.
Ids: TypeAlias = str | int | Sequence[str | int]
#: Items that may be recommended: all, or those with, or without, a training interaction.
Candidates: TypeAlias = Literal["all", "warm", "cold"]
#: Columns of recommendations.
SCHEMA = pa.schema({"user": pa.string(), "rank": pa.int32(), "item": pa.string(), "score": pa.float32()})


@dataclass(frozen=True)
class Ranker:
    """The model of a run, with the original ids and titles of its data set.

    Attributes:
        cold: items without training interactions, bool [I].
        ranks_cold: whether content ranks those items.
        candidates: the items that may be recommended, bool [I]; None for all.
        search: ``exact``, or the kind of the index that makes the lists of users.
    """

    model: Recommender
    train: CSR
    user_ids: pd.Series
    item_ids: pd.Series
    titles: pd.Series | None
    cold: Tensor
    ranks_cold: bool
    candidates: Tensor | None = None
    search: str = "exact"

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
    def _user_index(self) -> pd.Index[str]:
        return pd.Index(self.user_ids)

    @cached_property
    def _item_index(self) -> pd.Index[str]:
        return pd.Index(self.item_ids)

    @cached_property
    def _directions(self) -> Tensor:
        return normalize(self.embeddings[1], dim=1)

    @cached_property
    def ranking(self) -> Ranking:
        """Ranks the candidates for users given by their rows."""
        with torch.inference_mode():
            if self.search != "exact":
                return index_ranking(*self.embeddings, self.search, self.candidates)
            return self.model.ranking(self.candidates)

    def among(self, candidates: Candidates | Sequence[str | int]) -> Ranker:
        """Return the same with fewer candidates: the ``warm`` or ``cold`` items alone, or those of the given ids.

        Raises:
            UsageError: there is no such choice, no such item, or the model does not rank cold items by content.
        """
        if not isinstance(candidates, str):
            ids = listed_ids(() if candidates is None else candidates)
            if not ids:
                raise UsageError("There are no candidates: expected the id of at least one item.")
            named = torch.zeros_like(self.cold)
            named[self.item_rows_of(ids)] = True
            return self._of(named, "named")
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
        return self._of(chosen, candidates)

    def through(self, kind: str) -> Ranker:
        """Return the same with lists of users through an index of a kind (``faiss`` or ``hnsw``), approximate ones.

        Raises:
            UsageError: faiss is not installed, or the scores of the model are no inner products of embeddings.
        """
        check_installed(f"--search {kind}", "exact")
        if type(self.model).score is not Recommender.score:
            raise UsageError(
                f"--search {kind} finds the largest inner products of embeddings, and {type(self.model).__name__} has "
                "scores of its own; leave it out."
            )
        return replace(self, search=kind)

    def recall(self, rows: Sequence[int], top: int) -> float:
        """Return the share of the exact best items of at most 1,000 of these users that are in their lists."""
        sample = np.random.default_rng(0).permutation(rows)[:1000].tolist()
        found = np.concatenate([items for _, items, _ in self.blocks(sample, top)])
        wanted = torch.tensor(sample, device=self.train.indices.device)
        blocks = ranked_blocks(*self.embeddings, wanted, top, self.train, candidates=self.candidates)
        exact = np.concatenate([items.cpu().numpy() for _, items, _ in blocks])
        hits = (exact[:, :, None] == found[:, None]).any(axis=2)
        return float(hits[exact >= 0].mean())

    def _of(self, chosen: Tensor, name: str) -> Ranker:
        both = chosen if self.candidates is None else self.candidates & chosen
        if not bool(both.any()):
            raise UsageError(f"None of the candidates is among the {name} items.")
        return replace(self, candidates=both)

    @property
    def num_candidates(self) -> int:
        """Number of items that may be recommended."""
        return len(self.item_ids) if self.candidates is None else int(self.candidates.sum())

    def rows_of(self, ids: Sequence[str | int]) -> list[int]:
        """The rows of users given by their original ids.

        Raises:
            UsageError: no user has such an id.
        """
        return _rows(self._user_index, ids, "user")

    def item_rows_of(self, ids: Sequence[str | int]) -> list[int]:
        """The rows of items given by their original ids.

        Raises:
            UsageError: no item has such an id.
        """
        return _rows(self._item_index, ids, "item")

    def best_for(self, liked: Sequence[int], top: int) -> tuple[np.ndarray, np.ndarray]:
        """The best items for a new user who liked some: their rows [n] and scores [n], n <= top.

        The score is the inner product of an item's final embedding with the mean of those of the liked items, each
        normalised to unit norm; for a model without embeddings that of ``score_from_items``.

        Args:
            liked: rows of items, at least one; they are left out.
        """
        if self._scores_by_items():
            return self._from_items(liked, top, self.model.score_from_items)
        return self._nearest(self._directions[liked].mean(0), self.embeddings[1], liked, top)

    def most_similar(self, item: int, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The items most similar to one, by the cosine of final embeddings: their rows [n] and scores [n], n <= top.

        For a model without embeddings the score is that of ``similar_to``.
        """
        if self._scores_by_items():
            return self._from_items([item], top, self.model.similar_to)
        return self._nearest(self._directions[item], self._directions, [item], top)

    def _scores_by_items(self) -> bool:
        if not self.model.has_embeddings() and not self.model.scores_new_users():
            raise UsageError(
                f"{type(self.model).__name__} has no embeddings and does not score items from items: it has no similar "
                "items and no recommendations for new users; choose a run of another model, or define "
                "score_from_items(items) in a model of your own."
            )
        return not self.model.has_embeddings()

    def _from_items(
        self, items: Sequence[int], top: int, score: Callable[[CSR], Tensor]
    ) -> tuple[np.ndarray, np.ndarray]:
        row = self._one_row(items)
        ranking = partial(ranked_scores, lambda _: score(row), len(self.item_ids), candidates=self.candidates)
        return self._best(ranking, items, top)

    def _nearest(
        self, query: Tensor, items: Tensor, left_out: Sequence[int], top: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._best(partial(ranked_blocks, query[None], items, candidates=self.candidates), left_out, top)

    def _best(self, ranking: Ranking, left_out: Sequence[int], top: int) -> tuple[np.ndarray, np.ndarray]:
        masked = self._one_row(left_out)
        first = torch.zeros(1, dtype=torch.int64, device=masked.indices.device)
        with torch.inference_mode():
            [(_, best, scores)] = ranking(first, top, masked)
        kept = best[0] >= 0
        return best[0][kept].cpu().numpy(), scores[0][kept].float().cpu().numpy()

    def _one_row(self, items: Sequence[int]) -> CSR:
        return CSR.from_pairs([(0, row) for row in items], 1).to(self.train.indices.device)

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
                yield {"user": self.user_ids.iloc[row], "items": self.named(best[best >= 0], values[best >= 0])}

    def answer_for(self, liked: Sequence[int], top: int) -> dict[str, Any]:
        """Plain values for a new user: the ids of the items liked, ``like``, and ``items`` as in ``answers``."""
        return {"like": self.item_ids.iloc[liked].tolist(), "items": self.named(*self.best_for(liked, top))}

    def named(self, items: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
        """Plain values of items [n] by their rows: ``item``, ``score`` and, where known, ``title``."""
        return [self._named(item, score) for item, score in zip(items, scores, strict=True)]

    def _named(self, item: int, score: float) -> dict[str, Any]:
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

    def write_for(self, path: Path, liked: Sequence[int], top: int) -> int:
        """Write the recommendations for a new user likewise, without a column ``user``; return their number."""
        items, scores = self.best_for(liked, top)
        rank = pa.array(np.arange(1, len(items) + 1, dtype=np.int32))
        schema = SCHEMA.remove(0)
        with records(path, schema) as add:
            add(pa.table([rank, pa.array(self.item_ids.to_numpy()[items], pa.string()), pa.array(scores)], schema))
        return len(items)

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


def listed_ids(ids: object) -> list[Any]:
    """Return one id or several as a list.

    Raises:
        UsageError: ``ids`` is neither an id nor a collection of ids.
    """
    if hasattr(ids, "columns"):
        raise UsageError("Ids cannot be a DataFrame: give one of its columns.")
    if hasattr(ids, "tolist"):  # arrays, tensors and columns
        ids = ids.tolist()
    if isinstance(ids, str | Integral | float):
        return [ids]
    if not isinstance(ids, Iterable) or isinstance(ids, bytes):
        raise UsageError(f"Ids cannot be {ids!r}: expected the original id of a user or item, or a list of several.")
    return list(ids)


def _text_of(name: Any) -> Any:
    if isinstance(name, float) and name.is_integer():  # as pandas has whole numbers beside missing ones
        return str(int(name))
    return str(name) if isinstance(name, Integral) and not isinstance(name, bool) else name


def _rows(known: pd.Index[str], ids: Sequence[str | int], what: str) -> list[int]:
    ids = [_text_of(one) for one in ids]
    if wrong := [name for name in ids if not isinstance(name, str)]:
        raise UsageError(f"Ids cannot be {wrong[0]!r}: expected original ids of {what}s, such as {known[0]!r}.")
    wanted = list(dict.fromkeys(ids))
    rows = known.get_indexer(wanted)
    if unknown := [name for name, row in zip(wanted, rows, strict=True) if row < 0]:
        rest = len(unknown) - 1
        others = f" (nor {pluralize(rest, 'other')} that {'were' if rest > 1 else 'was'} given)" if rest else ""
        hint = nearest_of_many(str(unknown[0]), list(known), what)
        raise UsageError(f"There is no {what} {unknown[0]!r}{others}: {hint}")
    return rows.tolist()
