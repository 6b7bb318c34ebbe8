"""`mmssl evaluate`: metrics of a trained run, computed again from its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    AsJson,
    DataDir,
    RunName,
    RunsDir,
    listed,
    say_if_unfinished,
)
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import comparison_table, metrics_table, show, warm_cold_tables
from mmssl_cli.evaluation.splits import checked_ks, checked_metrics, checked_split
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.runs.tables import check_ending
from mmssl_cli.text import METRICS, modalities_label, pluralize
from pipelines.errors import UsageError


def evaluate(
    run: RunName,
    split: Annotated[str, typer.Option("--split", metavar="<test|validation>", help="Split to evaluate on.")] = "test",
    ks: Annotated[
        str | None, typer.Option("--ks", metavar="<int,...>", help="Cut-offs K; by default those of the run.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="<name,...>",
            help=f"Metrics, of {', '.join(METRICS)}; by default those of the run.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the metrics of each user, with their ids, to this .parquet, .csv or .jsonl.",
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Evaluate the model of a run again: all items but those of training are ranked for each user.

    RUN may be `latest`. Where held-out items have no training interaction (cold items), the metrics of warm and of cold
    ones follow: all items are ranked as before, held-out ones of the other kind do not count, and users without one of
    the kind are left out. Test metrics stand beside those published for the data set, where there are any.

    Example: mmssl evaluate latest --ks 5,20 --out per_user.parquet

    Example: mmssl evaluate latest --metrics mrr,map,hit,coverage,gini,novelty
    """
    chosen = checked_split(split)
    cutoffs = None if ks is None else parse_ks(ks)
    names = None if metrics is None else checked_metrics(listed([metrics]))
    if out is not None:
        check_ending(out)
    folder = resolve_run(run, runs_dir)
    from mmssl_cli.training.inference import evaluate_run  # PyTorch, once the command line is right

    say_if_unfinished(folder)
    answer = evaluate_run(folder, data_dir, chosen, cutoffs, out, names)
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        _show(answer)


def parse_ks(text: str) -> tuple[int, ...]:
    """Parse the cut-offs of a flag such as ``10,20,50``, in ascending order.

    Raises:
        UsageError: they are not whole numbers of at least 1.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 9 and int(part) >= 1 for part in parts):
        raise UsageError(f"--ks cannot be {text!r}: expected cut-offs of at least 1, such as 10,20,50.")
    return checked_ks([int(part) for part in parts])


def _show(answer: dict[str, Any]) -> None:
    label = answer["label"]
    where = [answer["dataset"], modalities_label(answer["modalities"]), answer["split"]]
    where += [pluralize(answer["users"], "user"), f"run {answer['run']}"]
    show(metrics_table([answer["metrics"]], title=f"{label} on {', '.join(filter(None, where))}"))
    for table_of_kind in warm_cold_tables([answer["warm_cold"]]):
        print()
        show(table_of_kind)
    comparable = answer["split"] == "test" and "recall@20" in answer["metrics"]
    table = comparison_table(answer["dataset"], {label: [answer["metrics"]]}) if comparable else None
    if table is not None:
        print()
        show(table)
    if answer["per_user"]:
        print()
        say(f"Metrics of each user: {answer['per_user']}")
