"""`mmssl recommend`: the best items for one user, for several, or for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.text import Text

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    AsJson,
    DataDir,
    RunName,
    RunsDir,
    say_if_unfinished,
)
from mmssl_cli.console.lines import json_text, say
from mmssl_cli.console.tables import new_table, show
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.runs.tables import check_ending
from mmssl_cli.text import pluralize
from pipelines.errors import UsageError


def recommend(
    run: RunName,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ID", help="Original id of a user; may be repeated."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All users; needs --out.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Items per user.")] = 20,
    candidates: Annotated[
        str,
        typer.Option(
            "--candidates",
            metavar="all|warm|cold",
            help="Items to rank: all, or those with (warm) or without (cold) a training interaction.",
        ),
    ] = "all",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write user, rank, item, score to this .parquet, .csv or .jsonl."),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Recommend items with the model of a run: to one user, to several, or to all.

    RUN may be `latest`. Users and items go by their original ids; training items are left out. Models of content rank
    cold items of a data set prepared with --split cold-items or --k-core 0.

    Example: mmssl recommend latest --user user-0007 --top 10

    Example: mmssl recommend latest --all --out recs.parquet
    """
    if everyone == bool(user):
        raise UsageError("Give either --user ID, which may be repeated, or --all.")
    if everyone and out is None:
        raise UsageError("--all needs a file to write to: add --out recs.parquet.")
    if out is not None and as_json:
        raise UsageError("--out writes a file and --json prints; choose one.")
    if out is not None:
        check_ending(out)
    folder = resolve_run(run, runs_dir)
    from mmssl_cli.api.runs import Run  # PyTorch, once the command line is right

    chosen = Run(folder, data_dir)
    rows, ranker = chosen.user_rows(user), chosen.ranker.among(cast(Any, candidates))
    say_if_unfinished(folder)
    if out is not None:
        count = ranker.write(out, rows, top)
        say(f"{out}: {pluralize(count, 'recommendation')} for {pluralize(len(rows), 'user')}")
    elif as_json:
        print(json_text(list(ranker.answers(rows, top))))
    else:
        _show(list(ranker.answers(rows, top)))


def _show(answers: Sequence[dict[str, Any]]) -> None:
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
        if number:
            print()
        say(f"User {answer['user']}")
        show(table)
