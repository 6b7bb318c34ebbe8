"""A search of a model's settings by validation with Optuna: TPE proposes, the median pruner ends trials early."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from mmssl_cli.config import RUNTIME_FIELDS, TrainSettings, build_settings
from mmssl_cli.experiments.tuning.space import Choices, Space, Span
from pipelines.errors import InputError
from pipelines.io.files import write_problem

#: Validated epochs of a trial before it may be ended, and whole trials before any may.
WARM_UP, FIRST_TRIALS = 5, 4


@dataclass(frozen=True)
class Search:
    """Definition of a search.

    Attributes:
        base: the settings that are not drawn, and the seed of every training.
        content: digest of the data set.
        seed: of the proposals.
    """

    base: TrainSettings
    space: Space
    content: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the study in its file; another base, space, data set or seed makes another search."""
        base = {
            key: value for key, value in self.base.model_dump().items() if key not in {*self.space, *RUNTIME_FIELDS}
        }
        parts = [base, {key: repr(of) for key, of in self.space.items()}, self.content, self.seed]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()
        return f"{self.base.model}-{self.base.dataset}-{digest[:12]}"

    def settings(self, drawn: Mapping[str, Any]) -> TrainSettings:
        """Return the settings of a trial.

        Raises:
            UsageError: the drawn values do not fit each other.
        """
        return build_settings({**self.base.model_dump(), **drawn})

    def propose(self, study: optuna.Study) -> optuna.Trial:
        """Propose the next trial."""
        return study.ask(_distributions(self.space))

    def settings_of(self, trial: optuna.Trial) -> TrainSettings:
        """Return the settings that a proposed trial is trained with."""
        return self.settings(_drawn(trial.params, self.space))


@dataclass(frozen=True)
class Trial:
    """A trial of a search that is over.

    Attributes:
        state: complete, pruned (ended early) or failed.
        score: best validation score; None where there was none.
    """

    number: int
    state: str
    drawn: dict[str, Any]
    score: float | None
    best_epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    problem: str = ""


def open_study(search: Search, path: Path) -> optuna.Study:
    """Open the search in a file, or begin it; trials that were cut off are enqueued again.

    Raises:
        InputError: the file cannot be written or is not a journal of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = str(path.absolute())  # opened by workers with another current folder too
        backend = JournalFileBackend(journal, lock_obj=JournalFileOpenLock(journal))
        storage = optuna.storages.JournalStorage(backend)
        done = _trials_before(storage, search.name)
        study = optuna.create_study(
            storage=storage,
            study_name=search.name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=search.seed + done, n_startup_trials=8),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=WARM_UP),
        )
    except OSError as problem:
        raise write_problem(path, problem) from problem
    except (ValueError, KeyError, AssertionError) as problem:
        raise InputError(f"{path} is damaged or holds no searches; move it away to begin anew.") from problem
    if not study.trials:
        study.enqueue_trial(_defaults(search))
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _trials_before(storage: Any, name: str) -> int:
    with suppress(KeyError):
        return len(storage.get_all_trials(storage.get_study_id_from_name(name)))
    return 0


def _defaults(search: Search) -> dict[str, Any]:
    """Values of the base that the ranges hold: the first trial of every search."""
    values = {}
    for name, of in search.space.items():
        usual = getattr(search.base, name)
        if isinstance(of, Choices) and usual in of.values:
            values[name] = of.values.index(usual)
        elif isinstance(of, Span) and usual is not None and of.low <= usual <= of.high:
            values[name] = usual
    return values


def trials_of(study: optuna.Study, search: Search) -> list[Trial]:
    """Return the trials that are over, in order; those that were cut off do not count."""
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    found = []
    for trial in study.trials:
        known = trial.user_attrs
        cut_off = trial.state == TrialState.FAIL and "problem" not in known
        if trial.state in states and not cut_off:
            facts = {key: known[key] for key in ("best_epoch", "epochs", "seconds", "problem") if key in known}
            drawn = _drawn(trial.params, search.space)
            found.append(Trial(trial.number, states[trial.state], drawn, known.get("score"), **facts))
    return found


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the best score, the first of equals; None where none has a score."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """Distributions of Optuna; choices are drawn by their index, since it keeps numbers and text alone."""
    found: dict[str, BaseDistribution] = {}
    for name, of in space.items():
        if isinstance(of, Choices):
            found[name] = CategoricalDistribution(tuple(range(len(of.values))))
        elif isinstance(of.low, int) and isinstance(of.high, int):
            found[name] = IntDistribution(of.low, of.high, log=of.log)
        else:
            found[name] = FloatDistribution(float(of.low), float(of.high), log=of.log)
    return found


def _drawn(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Convert proposed parameters to values of settings; numbers from a span are rounded to three digits."""
    values: dict[str, Any] = {}
    for name, proposed in params.items():
        of = space[name]
        if isinstance(of, Choices):
            values[name] = of.values[proposed]
        else:
            values[name] = proposed if isinstance(proposed, int) else float(f"{proposed:.3g}")
    return values
