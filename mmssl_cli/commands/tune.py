"""`mmssl tune`: search a model's settings by the validation metric alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.execution_options import Address, EngineName, ExecutionTarget, GpusPerRun
from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DataDir, accepts_settings, chosen_dataset
from mmssl_cli.commands.plan_options import AsJson, Config, Jobs
from mmssl_cli.commands.prepared_data import ensure_prepared
from mmssl_cli.config import RUNTIME_FIELDS, merge_settings
from mmssl_cli.console.verbosity import verbosity
from pipelines.errors import InputError

if TYPE_CHECKING:
    from mmssl_cli.experiments.tuning.space import Space
    from mmssl_cli.experiments.tuning.study import Search, Trial

DEFAULT_OUT = Path("tuning")
_SHOWN = 5


@accepts_settings(exclude=("model",))
def tune(
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model whose settings are searched.")],
    trials: Annotated[
        int, typer.Option("--trials", min=1, metavar="N", help="Trials in all, done ones included.")
    ] = 10,
    ranges: Annotated[
        Path | None,
        typer.Option("--ranges", metavar="FILE", help="TOML file of ranges; by default those shipped for the model."),
    ] = None,
    search_seed: Annotated[int, typer.Option("--search-seed", min=0, metavar="N", help="Seed of the proposals.")] = 0,
    jobs: Jobs = 1,
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
    config: Config = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the search and its findings.")
    ] = DEFAULT_OUT,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    **flags: Any,
) -> None:
    """Search a model's settings: proposals by TPE, hopeless trials ended early, the best kept as a TOML file.

    A setting given as a flag or in --config is fixed; the others that have a range are drawn, and the rest have
    the model's defaults. Every trial is trained with one seed and judged on validation; the test split is never
    looked at. The same command goes on after an interruption, and with more --trials extends the search.

    Example: mmssl tune lightgcn --dataset tiktok --trials 20 --epochs 80 --patience 12
    """
    from mmssl_cli.console.tuning import make_tune_reporter
    from mmssl_cli.experiments.tuning.search import run_search
    from mmssl_cli.experiments.tuning.study import best_of, open_study, trials_of
    from pipelines.io.locks import held

    place = ExecutionTarget(engine, address, gpus_per_run)
    given = {name: value for name, value in flags.items() if value is not None}
    search = _search(model, given, config, ranges, data_dir, search_seed)
    stem = out / f"{model}-{search.base.dataset}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"Cannot make the folder {out}: {problem.strerror}; choose another --out.") from problem
    with held(stem.with_suffix(".lock"), f"The search in {out} for {model} on {search.base.dataset}", passing=True):
        study = open_study(search, stem.with_suffix(".journal"))
        reporter = make_tune_reporter(verbosity())
        try:
            reporter.begin(len(trials_of(study, search)), trials)
            crew = place.crew([search.base], data_dir, None, reporter.message)
            found = run_search(search, study, trials, data_dir, jobs, reporter, crew)
        except KeyboardInterrupt:
            reporter.close()
            print("Interrupted. The same command goes on with the search.", file=sys.stderr)
            raise typer.Exit(130) from None
        finally:
            reporter.close()
        best = best_of(found)
        if best is None:
            raise InputError(f"None of {len(found)} trials gave a score; the last one failed: {found[-1].problem}")
        chosen = _write(search, found, best, stem)
    _show(search, found, best, chosen, as_json)


def _search(
    model: str, given: dict[str, Any], config: Path | None, ranges: Path | None, data_dir: Path, seed: int
) -> Search:
    from mmssl_cli.config import build_settings, read_toml, settings_class
    from mmssl_cli.experiments.tuning.space import read_space, shipped_space, without
    from mmssl_cli.experiments.tuning.study import Search
    from mmssl_cli.runs.data_match import data_identity

    settings_class(model)
    fixed = {**(read_toml(config) if config else {}), **given}
    fixed.pop("model", None)
    named = fixed.get("dataset")
    dataset = chosen_dataset(None if named is None else str(named), data_dir)
    space: Space = read_space(ranges, model) if ranges is not None else shipped_space(model)
    base = build_settings({**fixed, "model": model, "dataset": dataset})
    ensure_prepared(dataset, data_dir)
    return Search(base, without(space, fixed), data_identity(base, data_dir)["content_digest"], seed)


def _write(search: Search, found: Sequence[Trial], best: Trial, stem: Path) -> Path:
    """The trials as CSV, and the best settings as TOML with the budget that found them."""
    import pandas as pd
    import tomli_w

    from mmssl_cli.reporting.tabular import frame
    from pipelines.io.files import write_bytes

    rows = [{"trial": t.number, "state": t.state, "score": t.score, **_facts(t), **_written(t.drawn)} for t in found]
    write_bytes(stem.with_suffix(".csv"), frame(pd.DataFrame(rows)).encode())
    usual = type(search.base).model_fields
    # Settings that are shipped would stand beneath the file, and were not there in the search.
    beneath = merge_settings({"model": search.base.model, "dataset": search.base.dataset}).model_dump()
    fixed = {
        name: value
        for name, value in search.base.model_dump().items()
        if name not in {"model", "dataset", "seed", *RUNTIME_FIELDS, *search.space}
        and value is not None
        and (value != usual[name].default or value != beneath[name])
    }
    settings = {name.replace("_", "-"): value for name, value in _written({**fixed, **best.drawn}).items()}
    states = [trial.state for trial in found]
    provenance = {
        "searched": f"{date.today():%Y-%m-%d}",
        "trials": len(found),
        "pruned": states.count("pruned"),
        "failed": states.count("failed"),
        "seconds": round(sum(trial.seconds for trial in found), 1),
        "seed": search.base.seed,
        "validation": {search.base.select_on: best.score},
        "best-trial": best.number,
    }
    path = stem.with_suffix(".toml")
    whole = {"model": search.base.model, "dataset": search.base.dataset, **settings, "provenance": provenance}
    write_bytes(path, tomli_w.dumps(whole).encode())
    return path


def _facts(trial: Trial) -> dict[str, Any]:
    return {"best_epoch": trial.best_epoch, "epochs": trial.epochs, "seconds": trial.seconds, "problem": trial.problem}


def _written(values: dict[str, Any]) -> dict[str, Any]:
    """Values as TOML and CSV hold them; None is left out, as the default that it is."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}


def _show(search: Search, found: Sequence[Trial], best: Trial, path: Path, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    if as_json:
        print(
            json.dumps(
                {"best": asdict(best), "trials": [asdict(trial) for trial in found], "file": str(path)}, indent=2
            )
        )
        return
    from mmssl_cli.console.tables import new_table, show
    from mmssl_cli.console.tuning import shown_settings
    from mmssl_cli.text import metric_label

    ranked = sorted((t for t in found if t.score is not None), key=lambda t: (-(t.score or 0.0), t.number))
    metric = metric_label(search.base.select_on)
    states = [trial.state for trial in found]
    table = new_table(
        f"Best of {len(found)} trials of {search.base.model} on {search.base.dataset} "
        f"({states.count('pruned')} ended early, {states.count('failed')} failed)"
    )
    for heading in ("Trial", f"Validation {metric}", "Epoch", "Settings"):
        table.add_column(heading, justify="left" if heading == "Settings" else "right")
    for trial in ranked[:_SHOWN]:
        table.add_row(str(trial.number), f"{trial.score:.4f}", str(trial.best_epoch), shown_settings(trial.drawn))
    show(table)
    print(f"\nWritten to {path}; train with it: mmssl train --config {path} --runs 3")
