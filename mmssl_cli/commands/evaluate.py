"""`mmssl evaluate`: the metrics of a trained run, computed again from its weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR, DataDir, RunsDir
from mmssl_cli.console.verbosity import Verbosity, verbosity
from mmssl_cli.text import modalities_label, model_label, pluralize
from pipelines.errors import UsageError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from mmssl_cli.runs.folder import RunFolder

_SPLITS: tuple[Literal["validation", "test"], ...] = ("validation", "test")


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id, start of an id, path, or `latest`.")],
    split: Annotated[str, typer.Option("--split", metavar="<test|validation>", help="The items to be found.")] = "test",
    ks: Annotated[
        str | None, typer.Option("--ks", metavar="<int,...>", help="Cut-offs K; by default those of the run.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the metrics of each user to this parquet file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Evaluate the model of a run again: every item is ranked for each user, training items left out.

    RUN may be `latest`. Test metrics stand beside those published for the data set, where there are any.

    Example: mmssl evaluate latest --ks 5,20 --out per_user.parquet
    """
    from mmssl_cli.runs.listing import resolve_run

    chosen = next((known for known in _SPLITS if known == split), None)
    if chosen is None:
        raise UsageError(f"There is no split {split!r} to evaluate on: {nearest(split, _SPLITS)}")
    cutoffs = None if ks is None else parse_ks(ks)
    answer = _evaluate(resolve_run(run, runs_dir), chosen, cutoffs, out, data_dir)
    if as_json:
        import json

        print(json.dumps(answer, indent=2))
        return
    _show(answer)


def parse_ks(text: str) -> tuple[int, ...]:
    """Cut-offs of a flag such as ``10,20,50``, ascending.

    Raises:
        UsageError: they are not whole numbers of at least 1.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise UsageError(f"ks cannot be {text!r}: expected cut-offs of at least 1, such as 10,20,50.")
    return tuple(sorted({int(part) for part in parts}))


def _evaluate(
    run: RunFolder,
    split: Literal["validation", "test"],
    ks: tuple[int, ...] | None,
    out: Path | None,
    data_dir: Path,
) -> dict[str, Any]:
    import torch

    from mmssl_cli.evaluation.metrics import evaluate as evaluate_embeddings
    from mmssl_cli.training.loading import load_model, modalities_of

    model, data, settings = load_model(run.path, data_dir)
    say_if_unfinished(run)
    model.eval()
    cutoffs = ks or settings.ks
    with torch.inference_mode(), _written_to(out, cutoffs) as write:
        users, items = model.represent()
        means, per_user = evaluate_embeddings(users, items, data, split, cutoffs, on_progress=write)
    return {
        "run": run.id,
        "model": settings.model,
        "variant": getattr(settings, "variant", None),
        "dataset": settings.dataset,
        "modalities": modalities_of(model, data),
        "split": split,
        "users": len(per_user),
        "metrics": means,
        "per_user": str(out) if out is not None else None,
    }


@contextmanager
def _written_to(out: Path | None, ks: Sequence[int]) -> Iterator[Callable[[pd.DataFrame], None] | None]:
    """Yield what adds rows of users to the file ``out``; None where no file is wanted."""
    if out is None:
        yield None
        return
    import pyarrow as pa

    from mmssl_cli.evaluation.metrics import metric_names
    from mmssl_cli.runs.tables import row_groups

    counts = {"user": pa.int32(), "train_degree": pa.int32()}
    schema = pa.schema({**counts, **dict.fromkeys(metric_names(ks), pa.float64())})
    with row_groups(out, schema) as add:
        yield lambda rows: add(pa.Table.from_pandas(rows, schema, preserve_index=False).replace_schema_metadata())


def say_if_unfinished(run: RunFolder) -> None:
    """Say on standard error that a run is not over, so that its model may not be its last."""
    if verbosity() is Verbosity.QUIET:
        return
    if run.is_locked():
        print(f"Run {run.id} is still being trained; this is its best model so far.", file=sys.stderr)
    elif not run.is_over():
        print(f"Run {run.id} was cut off before its end; this is its best model until then.", file=sys.stderr)


def _show(answer: dict[str, Any]) -> None:
    from mmssl_cli.console.tables import comparison_table, metrics_table, show

    label = model_label(answer["model"], answer["variant"])
    where = [answer["dataset"], modalities_label(answer["modalities"]), answer["split"]]
    where += [pluralize(answer["users"], "user"), f"run {answer['run']}"]
    show(metrics_table([answer["metrics"]], title=f"{label} on {', '.join(filter(None, where))}"))
    comparable = answer["split"] == "test" and "recall@20" in answer["metrics"]
    table = comparison_table(answer["dataset"], {label: [answer["metrics"]]}) if comparable else None
    if table is not None:
        print()
        show(table)
    if answer["per_user"]:
        print(f"\nMetrics of each user: {answer['per_user']}")
