"""`mmssl recommend`: the best items for one user, for several, or for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.evaluate import say_if_unfinished
from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR, DataDir, RunsDir
from mmssl_cli.text import nearest_of_many, pluralize
from pipelines.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from mmssl_cli.sparse.csr import CSR


def recommend(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id, start of an id, path, or `latest`.")],
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ID", help="A user, by the id in the data; may be given again."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All users; needs --out.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Items a user.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write to this parquet file: user, rank, item, score."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Recommend items with the model of a run: to one user, to several, or to all.

    RUN may be `latest`. Users and items go by their original ids; training items are left out.

    Example: mmssl recommend latest --user user-0007 --top 10

    Example: mmssl recommend latest --all --out recs.parquet
    """
    from mmssl_cli.runs.listing import resolve_run

    if everyone == bool(user):
        raise UsageError("Say for whom: --user ID, which may be given again, or --all.")
    if everyone and out is None:
        raise UsageError("--all needs a file to write to: add --out recs.parquet.")
    if out is not None and as_json:
        raise UsageError("--out writes parquet and --json prints; choose one.")
    chosen = resolve_run(run, runs_dir)
    ranker = Ranker.load(chosen.path, data_dir)
    rows = ranker.rows_of(user) if user else range(len(ranker.user_ids))
    say_if_unfinished(chosen)
    if out is not None:
        count = ranker.write(out, rows, top)
        print(f"{out}: {pluralize(count, 'recommendation')} for {pluralize(len(rows), 'user')}")
        return
    answers = list(ranker.answers(rows, top))
    if as_json:
        import json

        print(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    _show(answers)


@dataclass(frozen=True)
class Ranker:
    """Final embeddings of a run, with the original ids and titles of its data set."""

    users: Tensor
    items: Tensor
    train: CSR
    user_ids: pd.Series
    item_ids: pd.Series
    titles: pd.Series | None

    @classmethod
    def load(cls, run: Path, data_dir: Path) -> Ranker:
        """Read the model of a run and the names in its data set."""
        import torch

        from mmssl_cli.training.loading import load_model
        from pipelines.prepared.storage import read_table

        model, data, settings = load_model(run, data_dir)
        model.eval()
        with torch.inference_mode():
            users, items = model.represent()
        folder = data_dir / settings.dataset
        names = read_table("items", folder / "items.parquet")
        user_ids = read_table("users", folder / "users.parquet")["id"]
        train = data.train.to(items.device)
        return cls(users, items, train, user_ids, names["id"], names.get("title"))

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The rows of users given by their original ids.

        Raises:
            UsageError: no user has such an id.
        """
        row_of = {known: row for row, known in enumerate(self.user_ids)}
        for wanted in ids:
            if wanted not in row_of:
                raise UsageError(f"There is no user {wanted!r}: {nearest_of_many(wanted, list(row_of), 'user')}")
        return [row_of[wanted] for wanted in dict.fromkeys(ids)]

    def blocks(self, rows: Sequence[int], top: int) -> Iterator[tuple[Any, Any, Any]]:
        """A block of users at a time: their rows [b], their items [b, top] and the scores, in NumPy."""
        import numpy as np
        import torch

        from mmssl_cli.evaluation.ranking import ranked_blocks

        start = 0
        wanted = torch.from_numpy(np.array(rows, dtype=np.int64)).to(self.items.device)
        for items, scores in ranked_blocks(self.users, self.items, wanted, top, self.train):
            block = wanted[start : start + len(items)]
            start += len(items)
            yield block.cpu().numpy(), items.cpu().numpy(), scores.cpu().numpy()

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
        """Write recommendations as parquet, in row groups as they come, whole or not at all; how many."""
        import numpy as np
        import pyarrow as pa

        from mmssl_cli.runs.tables import row_groups

        schema = pa.schema({"user": pa.string(), "rank": pa.int32(), "item": pa.string(), "score": pa.float32()})
        user_ids, item_ids = (pa.array(ids, pa.string()) for ids in (self.user_ids, self.item_ids))
        count = 0
        with row_groups(path, schema) as add:
            for block, items, scores in self.blocks(rows, top):
                place, rank = np.nonzero(items >= 0)
                columns = [
                    user_ids.take(pa.array(block[place])),
                    pa.array((rank + 1).astype(np.int32)),
                    item_ids.take(pa.array(items[place, rank])),
                    pa.array(scores[place, rank].astype(np.float32)),
                ]
                add(pa.Table.from_arrays(columns, schema=schema))
                count += len(place)
        return count


def _show(answers: Sequence[dict[str, Any]]) -> None:
    from rich.text import Text

    from mmssl_cli.console.tables import new_table, show

    for number, answer in enumerate(answers):
        titled = any(item.get("title") for item in answer["items"])
        table = new_table()
        table.add_column("Rank", justify="right")
        table.add_column("Item")
        table.add_column("Score", justify="right")
        if titled:
            table.add_column("Title")
        for rank, item in enumerate(answer["items"], start=1):
            cells = [Text(item["item"]), Text(f"{item['score']:.4f}")]
            table.add_row(str(rank), *cells, *([Text(item["title"] or "")] if titled else []))
        print(f"{'' if number == 0 else chr(10)}User {answer['user']}")
        show(table)
