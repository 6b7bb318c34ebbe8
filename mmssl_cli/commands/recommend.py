"""`mmssl recommend`: the best items for one user, for several, or for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape
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
from mmssl_cli.console.lines import json_text, say, warn
from mmssl_cli.console.tables import new_table, show
from mmssl_cli.console.verbosity import Verbosity, verbosity
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.runs.tables import check_ending
from mmssl_cli.text import first_of, pluralize
from pipelines.errors import InputError, UsageError, nearest
from pipelines.text import TABLE_ENDINGS, some

if TYPE_CHECKING:
    from mmssl_cli.training.ranker import Ranker

SEARCHES = ("exact", "faiss", "hnsw")


def recommend(
    run: RunName,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ID,ID", help="Original ids of users; may be repeated."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All users; needs --out.")] = False,
    like: Annotated[
        list[str] | None,
        typer.Option("--like", metavar="ID,ID", help="Original ids of items that a new user liked; may be repeated."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Items per user.")] = 20,
    candidates: Annotated[
        str,
        typer.Option(
            "--candidates",
            metavar="all|warm|cold",
            help="Items to rank: all, or those with (warm) or without (cold) a training interaction.",
        ),
    ] = "all",
    items: Annotated[
        Path | None,
        typer.Option(
            "--items",
            metavar="FILE",
            help="Rank only this file's items: one id per line, or "
            f"{', '.join(TABLE_ENDINGS[:-1])} or {TABLE_ENDINGS[-1]} with a column of them, such as item or id.",
        ),
    ] = None,
    search: Annotated[
        str,
        typer.Option(
            "--search",
            metavar="|".join(SEARCHES),
            help="With --all: exact, or approximate search in an index; " + escape("pip install 'mmssl[ann]'."),
        ),
    ] = "exact",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write user, rank, item, score to this .parquet, .csv or .jsonl."),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Recommend items with the model of a run: to one user, to several, to all, or to a new one.

    RUN may be `latest`. Users and items go by their original ids; training items are left out, and those of --like. A
    new user is the mean of the liked items' L2-normalised embeddings. Content-based models rank cold items of a data
    set prepared with --split cold-items or --k-core 0.

    Example: mmssl recommend latest --user user-0007 --top 10

    Example: mmssl recommend latest --like item-0003,item-0009 --top 10

    Example: mmssl recommend latest --all --out recs.parquet
    """
    if bool(user) + everyone + bool(like) != 1:
        raise UsageError("Give either --user ID, which may be repeated, or --all, or --like ID,ID for a new user.")
    if everyone and out is None:
        raise UsageError("--all needs a file to write to: add --out recs.parquet.")
    if search not in SEARCHES:
        raise UsageError(f"There is no search {search!r}: {nearest(search, SEARCHES)}")
    if search != "exact" and not everyone:
        raise UsageError(f"--search {search} is for --all; leave it out.")
    if out is not None and as_json:
        raise UsageError("--out writes a file and --json prints; choose one.")
    if out is not None:
        check_ending(out)
    folder = resolve_run(run, runs_dir)
    from mmssl_cli.api.runs import Run  # PyTorch, once the command line is right

    chosen = Run(folder, data_dir)
    ranker = chosen.ranker.among(cast(Any, candidates))
    if items is not None:
        ranker = _among(items, ranker)
    if search != "exact":
        ranker = ranker.through(search)
    liked = ranker.item_rows_of(_separate(like, ranker.item_ids)) if like else []
    rows = [] if liked else chosen.user_rows(_separate(user, ranker.user_ids) if user else None)
    say_if_unfinished(folder)
    top = _fitting(top, ranker)
    if search != "exact":
        say(f"--search {search}: finds {ranker.recall(rows, top):.1%} of a user's exact top {top} items")
    if out is not None:
        count = ranker.write_for(out, liked, top) if liked else ranker.write(out, rows, top)
        whom = "a new user" if liked else pluralize(len(rows), "user")
        say(f"{out}: {pluralize(count, 'recommendation')} for {whom}")
        return
    answers = [ranker.answer_for(liked, top)] if liked else list(ranker.answers(rows, top))
    if as_json:
        print(json_text(answers))
    else:
        _show(answers)


def _among(file: Path, ranker: Ranker) -> Ranker:
    """Return the ranker of the items in the file of --items alone; say which the data set lacks.

    Raises:
        InputError: the file cannot be read, or has no column of items.
        UsageError: the data set has none of them.
    """
    from pipelines.tables.id_list import read_ids

    if file.is_dir():
        raise InputError(
            f"--items {file} is a folder: expected a file with an id per line, or {', '.join(TABLE_ENDINGS)}."
        )
    ids, there = read_ids(file, "item"), set(ranker.item_ids)
    known, unknown = [one for one in ids if one in there], [one for one in ids if one not in there]
    if known and unknown:
        warn(
            f"{len(unknown):,} of {len(ids):,} items in --items {file} are not in the data set, which leaves out items "
            f"of few interactions, and are not ranked: {some(unknown)}."
        )
    try:
        return ranker.among(known or ids)
    except UsageError as problem:
        raise UsageError(f"--items {file}: {problem}") from problem


def _fitting(top: int, ranker: Ranker) -> int:
    """Return --top, or with a warning the number of candidates that are fewer.

    Raises:
        UsageError: it is above the number of all items.
    """
    there = ranker.num_candidates
    if top <= there:
        return top
    if ranker.candidates is None:
        raise UsageError(f"--top is {top}, but the data set has {pluralize(there, 'item')}; choose at most {there}.")
    if verbosity() is not Verbosity.QUIET:
        verb = "is" if there == 1 else "are"
        warn(f"--top is {top}, but there {verb} only {pluralize(there, 'candidate')}.")
    return there


def _separate(given: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return ids given as a flag, separated by commas unless an id has commas itself."""
    ids = set(known)
    return [one.strip() for each in given for one in ([each] if each in ids else each.split(","))]


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
        say(f"User {answer['user']}" if "user" in answer else f"New user of {first_of(answer['like'])}")
        show(table)
