"""Results of a search as files: its trials as CSV, the best settings as TOML."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from mmssl_cli.config import RUNTIME_FIELDS, merge_settings
from mmssl_cli.experiments.tuning.study import Search, Trial
from mmssl_cli.reporting.tabular import frame
from pipelines.io.files import write_bytes


def write_trials(found: Sequence[Trial], path: Path) -> None:
    """Write trials as CSV, a row each: how it ended, its score, and a column for each drawn setting."""
    rows = [{"trial": t.number, "state": t.state, "score": t.score, **_facts(t), **_written(t.drawn)} for t in found]
    write_bytes(path, frame(pd.DataFrame(rows)).encode())


def write_best(search: Search, found: Sequence[Trial], best: Trial, path: Path) -> None:
    """Write the settings of the best trial as TOML for ``--config``, with the budget of the search as provenance."""
    defaults = type(search.base).model_fields
    # Settings that are shipped would stand beneath the file, and did not in the search.
    beneath = merge_settings({"model": search.base.model, "dataset": search.base.dataset}).model_dump()
    fixed = {
        name: value
        for name, value in search.base.model_dump().items()
        if name not in {"model", "dataset", "seed", *RUNTIME_FIELDS, *search.space}
        and value is not None
        and (value != defaults[name].default or value != beneath[name])
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
    whole = {"model": search.base.model, "dataset": search.base.dataset, **settings, "provenance": provenance}
    write_bytes(path, tomli_w.dumps(whole).encode())


def _facts(trial: Trial) -> dict[str, Any]:
    return {"best_epoch": trial.best_epoch, "epochs": trial.epochs, "seconds": trial.seconds, "problem": trial.problem}


def _written(values: dict[str, Any]) -> dict[str, Any]:
    """Values as TOML and CSV hold them; None is left out, as the default that it is."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}
