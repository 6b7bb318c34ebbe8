"""Results of a search as files: its trials as CSV, the best settings as TOML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from mmssl_cli.config import INERT_FIELDS
from mmssl_cli.config.merging import flag_of
from mmssl_cli.config.presets import parse_toml, read_toml
from mmssl_cli.experiments.tuning.search import Budget, further_minutes_of, minutes_of
from mmssl_cli.experiments.tuning.space import hashable
from mmssl_cli.experiments.tuning.study import Search, Trial
from mmssl_cli.reporting.tabular import frame
from mmssl_cli.text import minutes_text, pluralize
from pipelines.errors import InputError
from pipelines.io.files import write_bytes


@dataclass(frozen=True)
class Outcome:
    """Result of the search of a model.

    Attributes:
        budget: its limits.
        best: the trial that wins; None where none has a score.
        file: its settings, as TOML.
    """

    model: str
    budget: Budget
    found: Sequence[Trial]
    best: Trial | None
    file: Path

    @property
    def minutes(self) -> float:
        """Processor minutes of the trials."""
        return minutes_of(self.found)

    @property
    def further_minutes(self) -> float:
        """Processor minutes of the finalists with further seeds."""
        return further_minutes_of(self.found)

    @property
    def problem(self) -> str:
        """Why there is no best trial; empty where there is one."""
        if self.best is not None:
            return ""
        if not self.found:
            return f"No trial of {self.model} was begun within the minutes given; raise --minutes."
        last, journal = self.found[-1].problem, self.file.with_name(f"{self.file.stem}.journal")
        return (
            f"No trial of {len(self.found)} gave a score for {self.model}; the last one failed: {last} Delete "
            f"{journal} to search anew."
        )

    def spent(self) -> str:
        """Return a sentence on what the search took, beside the limits."""
        budget = self.budget
        limit = f" (at most {budget.trials})" if len(self.found) <= budget.trials else ""
        trials = (
            f"{pluralize(len(self.found), 'trial')}{limit} in {minutes_text(self.minutes)} processor minutes (at most "
            f"{budget.minutes:g})"
        )
        if budget.seeds == 1:
            return f"{trials}."
        finalists = pluralize(sum(bool(trial.scores) for trial in self.found), "finalist")
        return (
            f"{trials}, and {finalists} with further seeds in {minutes_text(self.further_minutes)}: "
            f"{minutes_text(self.minutes + self.further_minutes)} in all."
        )

    def as_json(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        best = asdict(self.best) if self.best is not None else None
        trials = [asdict(trial) for trial in self.found]
        return {"model": self.model, "best": best, "trials": trials, "file": str(self.file)}


def trials_frame(found: Sequence[Trial]) -> pd.DataFrame:
    """Return a row per trial: how it ended, its score, and a column for each drawn setting."""
    rows = [{"trial": t.number, "state": t.state, **_scores(t), **_facts(t), **_written(t.drawn)} for t in found]
    return pd.DataFrame(rows)


def write_trials(found: Sequence[Trial], path: Path) -> None:
    """Write trials as CSV, a row each."""
    write_bytes(path, frame(trials_frame(found)).encode())


def check_replaced(search: Search, path: Path) -> None:
    """Check that the results in a file are of the same search, which may be extended.

    Raises:
        InputError: they are of another one.
    """
    if path.exists() and parse_toml(path, "").get("provenance", {}).get("search") != search.name:
        changed = ", ".join(map(flag_of, _changed(search, path)))
        why = f"another {changed}" if changed else "other ranges, starts, shipped settings, data or code of the model"
        raise InputError(f"{path} is the result of another search ({why}); choose another --out, or give --replace.")


def _changed(search: Search, path: Path) -> list[str]:
    """Return the settings fixed now, or in the results of another search, that have another value there."""
    before, base = read_toml(path), search.base
    return [
        name
        for name in type(base).model_fields
        if name not in {"seed", *INERT_FIELDS, *search.space}
        and hashable(before.get(name, type(base).model_fields[name].default)) != getattr(base, name)
    ]


def settings_of(search: Search, trial: Trial) -> dict[str, Any]:
    """Return the settings of a trial that differ from the defaults, with those that were searched."""
    defaults = type(search.base).model_fields
    fixed = {
        name: value
        for name, value in search.base.model_dump().items()
        if name not in {"model", "dataset", "seed", *INERT_FIELDS, *search.space}
        and value is not None
        and value != defaults[name].default
    }
    return {**fixed, **trial.drawn}


def write_best(search: Search, found: Sequence[Trial], best: Trial, path: Path) -> None:
    """Write the settings of the best trial as TOML for ``--config``, with what the search took as provenance."""
    settings = {name.replace("_", "-"): value for name, value in _written(settings_of(search, best)).items()}
    states = [trial.state for trial in found]
    provenance = {
        "searched": f"{date.today():%Y-%m-%d}",
        "trials": len(found),
        "pruned": states.count("pruned"),
        "failed": states.count("failed"),
        "processor-minutes": round(minutes_of(found), 1),
        "processor-minutes-of-further-seeds": round(further_minutes_of(found), 1),
        "seed": search.base.seed,
        "seeds-of-finalists": len(best.scores) or 1,
        "validation": {search.base.select_on: best.mean_score},
        "best-trial": best.number,
        "search": search.name,
    }
    whole = {"model": search.base.model, "dataset": search.base.dataset, **settings, "provenance": provenance}
    write_bytes(path, tomli_w.dumps(whole).encode())


def _scores(trial: Trial) -> dict[str, Any]:
    return {
        "score": trial.score,
        "seeds": len(trial.scores) or None,
        "mean": trial.mean_score if trial.scores else None,
        "deviation": trial.deviation,
    }


def _facts(trial: Trial) -> dict[str, Any]:
    names = ("best_epoch", "epochs", "seconds", "cpu_seconds", "further_cpu_seconds", "problem")
    return {name: getattr(trial, name) for name in names}


def _written(values: dict[str, Any]) -> dict[str, Any]:
    """Values as TOML and CSV hold them; None is left out, as the default that it is."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}
