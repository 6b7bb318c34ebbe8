"""`mmssl embeddings`: the final embeddings of a run, for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    DataDir,
    RunName,
    RunsDir,
    say_if_unfinished,
)
from mmssl_cli.console.lines import say
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.text import pluralize
from pipelines.errors import UsageError, nearest

FORMATS = ("parquet", "npy", "faiss", "hnsw")


def embeddings(
    run: RunName,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New or empty folder.")],
    format: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="Files to write.")] = "parquet",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Write the final user and item embeddings of a run; the inner product of two is the score.

    parquet: users.parquet and items.parquet, with columns id and embedding (a list of float32). npy: users.npy and
    items.npy, float32, a row an embedding, with their ids in users.ids.json and items.ids.json. faiss and hnsw: as npy,
    with items.index beside them for approximate search with faiss, by inverted lists (IVF) or an HNSW graph; its
    recall of a user's exact top 20 is printed.

    Example: mmssl embeddings latest --out vectors

    Example: mmssl embeddings latest --out index --format hnsw
    """
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}: {nearest(format, FORMATS)}")
    folder = resolve_run(run, runs_dir)
    from mmssl_cli.api.embeddings import write_embeddings  # PyTorch, once the command line is right
    from mmssl_cli.api.runs import Run
    from mmssl_cli.evaluation.ann_index import INDEX, K

    say_if_unfinished(folder)
    found = Run(folder, data_dir).embeddings()
    recall = write_embeddings(found, out, format)
    sizes = f"{pluralize(len(found.users), 'user')}, {pluralize(len(found.items), 'item')}"
    if recall is not None:
        say(f"{out / INDEX}: finds {recall:.1%} of a user's exact top {K}, training items included")
    say(f"{out}: embeddings of {sizes}, {pluralize(found.items.values.shape[1], 'dimension')}")
