"""Runs in Python: their embeddings, recommendations and similar items."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmssl_cli.api.embeddings import EmbeddingPair, Embeddings
from mmssl_cli.api.paths import path_of, shown
from mmssl_cli.api.wording import keywords_in_errors
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import list_runs as summaries_of
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.text import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR
from mmssl_cli.training.ranker import SCHEMA, Candidates, Ids, Ranker, listed_ids
from pipelines.errors import InputError, UsageError

#: Columns of ``list_runs``, before its metrics.
_LISTED = (
    *("id", "path", "status", "started", "model", "variant", "dataset", "seed", "select_on", "epochs", "seconds"),
    *("problem", "note"),
)


class Run:
    """A trained model with its settings and results; made by ``train`` and ``load_run``.

    Its model and data are read when they are first needed. What reads them raises InputError where the run or its data
    set is damaged, or where they do not fit each other.

    Attributes:
        folder: the files of the run.
        data_dir: folder of the prepared data sets.

    Examples:
        >>> run.settings["model"], run.settings["dataset"]
        ('mf', 'demo')
        >>> sorted(run.test)[:2]
        ['ndcg@10', 'ndcg@20']
    """

    def __init__(self, folder: RunFolder, data_dir: Path) -> None:
        # Absolute paths, which hold in other working directories.
        self.folder, self.data_dir = RunFolder(folder.path.absolute()), data_dir.absolute()

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    @property
    def id(self) -> str:
        """Id of the run, the name of its folder."""
        return self.folder.id

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self.folder.path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All settings it was trained with."""
        return self.folder.settings().model_dump()

    @property
    def result(self) -> dict[str, Any]:
        """Content of result.json: status, metrics, best epoch, cost.

        Raises:
            InputError: the run is not over.
        """
        if not self.folder.is_over():
            RunFolder.open(self.path)  # which says where the run is missing
            raise InputError(
                f"Run {self.id} is not over: it is being trained, was interrupted or failed, as `mmssl runs` says; "
                f"resume it by `mmssl train --resume {self.id}`."
            )
        return self.folder.read_result()

    @property
    def test(self) -> dict[str, float]:
        """Test metrics of the selected epoch: ``{"recall@20": ...}``; empty for a run that diverged."""
        return dict(self.result["test"])

    @property
    def validation(self) -> dict[str, float]:
        """Validation metrics of the selected epoch, as ``test``."""
        return dict(self.result["validation"])

    def epochs(self) -> pd.DataFrame:
        """Return a row per epoch: ``epoch``, losses, validation metrics, ``seconds``."""
        return self.folder.read_metrics()

    @cached_property
    def ranker(self) -> Ranker:
        """The model with ids, titles and training items."""
        return Ranker.load(self.path, self.data_dir)

    @keywords_in_errors
    def embeddings(self) -> EmbeddingPair:
        """Return final user [U, d] and item [I, d] embeddings (Eq. 12), float32; their inner product is the score.

        Raises:
            UsageError: the model has no embeddings.

        Examples:
            >>> users, items = run.embeddings()
            >>> (users.values @ items.values.T).shape
            (600, 400)
        """
        ranker = self.ranker
        named = zip((ranker.user_ids, ranker.item_ids), ranker.embeddings, strict=True)
        return EmbeddingPair(*(Embeddings(ids.tolist(), values.float().cpu().numpy()) for ids, values in named))

    @keywords_in_errors
    def recommend(
        self,
        users: Ids | None = None,
        k: int = 20,
        candidates: Candidates | Sequence[str | int] = "all",
    ) -> pd.DataFrame:
        """Recommend items to users, best first; their training items are left out.

        Args:
            users: original ids, each of which counts once; None for all users.
            k: items a user.
            candidates: ``all`` items, those with (``warm``) or without (``cold``) a training interaction, or the
                original ids of some.

        Returns:
            ``user`` (original id), ``rank`` (from 1), ``item`` (original id) and ``score`` (float32); fewer than k
            rows of a user who has fewer candidates left.

        Raises:
            UsageError: an unknown user or item, a k below 1 or above the number of items, or cold candidates of a run
                that does not rank them by content.

        Examples:
            >>> run.recommend(["user-0007"], k=3)[["user", "rank"]]
                    user  rank
            0  user-0007     1
            1  user-0007     2
            2  user-0007     3
            >>> run.recommend("user-0007", candidates=["item-0003", "item-0009"])["item"].nunique()
            2
        """
        tables = [*self.ranker.among(candidates).tables(self.user_rows(users), k)]
        found: pd.DataFrame = pa.concat_tables(tables or [SCHEMA.empty_table()]).to_pandas()
        return found

    def user_rows(self, users: Ids | None) -> Sequence[int]:
        """Return the numbers of users given by their original ids; None for all.

        Raises:
            UsageError: an unknown user.

        Examples:
            >>> run.user_rows(["user-0007"])
            [7]
        """
        return range(len(self.ranker.user_ids)) if users is None else self.ranker.rows_of(listed_ids(users))

    @keywords_in_errors
    def recommend_for(
        self, items: Ids, k: int = 20, candidates: Candidates | Sequence[str | int] = "all"
    ) -> pd.DataFrame:
        """Recommend items to a new user who liked some items, without training.

        The user's embedding is the mean of the liked items' final embeddings, each normalised to unit norm; the score
        is its inner product with the final embedding of an item, as for known users. Models of weights between items
        (``itemknn``, ``rp3beta``, ``ease``, ``gfcf``) score as for a user with these items. Liked items are left out.

        Args:
            items: original ids of the liked items, at least one.
            candidates: as in ``recommend``.

        Returns:
            ``rank`` (from 1), ``item`` (original id) and ``score`` (float32), best first.

        Raises:
            UsageError: a model that has neither embeddings nor weights between items, an unknown item, none at all, or
                a k below 1 or above the number of items.

        Examples:
            >>> run.recommend_for(items=["item-0003", "item-0009"], k=10).shape
            (10, 3)
        """
        liked = self.ranker.item_rows_of(listed_ids(items))
        if not liked:
            raise UsageError("recommend_for needs at least one item that the user liked.")
        return self._ranked(*self.ranker.among(candidates).best_for(liked, k))

    @keywords_in_errors
    def similar_items(self, item: str | int, k: int = 20) -> pd.DataFrame:
        """Return the items most similar to an item, which is itself left out.

        The score is the cosine of final embeddings. Models of weights between items (``itemknn``, ``rp3beta``,
        ``ease``, ``gfcf``) score the items as for a user who has this one alone.

        Returns:
            ``rank`` (from 1), ``item`` (original id) and ``score`` (float32), best first.

        Raises:
            UsageError: a model that has neither embeddings nor weights between items, an unknown item, or a k below 1
                or above the number of items.

        Examples:
            >>> run.similar_items("item-0003", k=5)["score"].is_monotonic_decreasing
            True
        """
        [row] = self.ranker.item_rows_of([item])
        return self._ranked(*self.ranker.most_similar(row, k))

    def _ranked(self, items: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
        rank = np.arange(1, len(items) + 1, dtype=np.int32)
        return pd.DataFrame({"rank": rank, "item": self.ranker.item_ids.to_numpy()[items], "score": scores})


@keywords_in_errors
def load_run(
    run: Run | str | PathLike[str],
    *,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    data_dir: str | PathLike[str] = DEFAULT_DATA_DIR,
) -> Run:
    """Open a run.

    Args:
        run: a path, an id in ``runs_dir``, the beginning of exactly one, or ``latest``; a run is returned as it is.
        runs_dir: folder of the runs.
        data_dir: folder of the prepared data sets.

    Raises:
        UsageError: no run matches, or more than one does.
        InputError: the path is not a run.

    Examples:
        >>> mmssl.load_run("latest").settings["dataset"]
        'demo'
    """
    if isinstance(run, Run):
        return run
    if not isinstance(run, str | PathLike):
        raise UsageError(f"A run cannot be {shown(run)}: expected its path or id, or latest.")
    if isinstance(run, Path):
        folder = RunFolder.open(path_of(run, "run"))
    else:
        folder = resolve_run(fspath(run), path_of(runs_dir, "runs_dir"))
    return Run(folder, path_of(data_dir, "data_dir"))


@keywords_in_errors
def list_runs(*, runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR) -> pd.DataFrame:
    """List the runs of a folder, newest first, as `mmssl runs` does.

    Args:
        runs_dir: folder of the runs; a missing one holds none.

    Returns:
        A row per run: ``id``, ``path``, ``status`` (finished, stopped, diverged, running, interrupted, failed or
        damaged), ``started``, ``model``, ``variant``, ``dataset``, ``seed``, ``select_on``, ``epochs``, ``seconds``,
        ``problem``, ``note``, and a column a metric (``validation recall@20``, ``test recall@20``; or NaN).

    Raises:
        InputError: the folder cannot be read.

    Examples:
        >>> mmssl.list_runs()[["model", "status", "epochs"]].values.tolist()
        [['mf', 'finished', 2]]
    """
    rows = []
    for summary in summaries_of(path_of(runs_dir, "runs_dir")):
        metrics = {
            f"{split} {name}": value
            for split, found in (("validation", summary.validation), ("test", summary.test))
            for name, value in found.items()
        }
        known = {name: getattr(summary, name) for name in _LISTED} | {"path": summary.path.absolute()}
        rows.append({**known, "started": pd.Timestamp(summary.started, unit="s", tz="UTC"), **metrics})
    return pd.DataFrame(rows, columns=None if rows else [*_LISTED])
