"""A search of a model's settings by validation with Optuna: TPE proposes, the median pruner ends trials early.

The budget is one for all models: a number of trials or of processor minutes, whichever comes first. The finalists, the
best trials, are trained with further seeds, and the one with the best mean score wins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import mean, stdev
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from mmssl_cli.config import INERT_FIELDS, TrainSettings, build_settings
from mmssl_cli.experiments.tuning.space import Choices, Space, Span, Start, contains, hashable
from pipelines.errors import InputError
from pipelines.io.files import write_problem

#: Epochs of a trial before it may be ended, epochs since its best score (its curve rises no more), and whole trials
#: before any may be ended.
WARM_UP, STALLED, FIRST_TRIALS = 30, 5, 4
#: Share of the trials that TPE draws at random before it begins, those that are given included.
RANDOM_SHARE = 1 / 3
#: Random draws among lists of values, after which they count as tried out.
_DRAWS = 1000


@dataclass(frozen=True)
class Search:
    """Definition of a search.

    Attributes:
        base: the settings that are not drawn, and the seed of every training.
        content: digest of the data set.
        seed: of the proposals.
        code: digest of the file of a model of one's own.
        starts: settings that are tried first, after the defaults.
    """

    base: TrainSettings
    space: Space
    content: str
    seed: int = 0
    starts: tuple[Start, ...] = ()
    code: str = ""

    @property
    def name(self) -> str:
        """Name of the study in its file; another base, space, data set or seed makes another search."""
        base = {key: value for key, value in self.base.model_dump().items() if key not in {*self.space, *INERT_FIELDS}}
        parts = [base, {key: repr(of) for key, of in self.space.items()}, self.content, self.seed, self.starts]
        parts += [self.code] if self.code else []
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()
        return f"{self.base.model}-{self.base.dataset}-{digest[:12]}"

    def settings(self, drawn: Mapping[str, Any]) -> TrainSettings:
        """Return the settings of a trial.

        Raises:
            UsageError: the drawn values do not fit each other.
        """
        return build_settings({**self.base.model_dump(), **drawn})

    def propose(self, study: optuna.Study) -> optuna.Trial:
        """Propose the next trial; one of the starts has no parameter for a value that its range does not hold."""
        trial = study.ask()
        start = _start_of(trial)
        for name, of in self.space.items():
            if start is None or contains(of, start[name]):
                _suggest(trial, name, of)
        return trial

    def propose_untried(self, study: optuna.Study, known: Collection[Mapping[str, Any]]) -> optuna.Trial | None:
        """Propose values at random that none of the known trials has; None where lists of values leave no others."""
        lists = {name: of.values for name, of in self.space.items() if isinstance(of, Choices)}
        if len(lists) < len(self.space):
            return None
        random = Random(self.seed + len(known))
        for _ in range(_DRAWS):
            values = {name: random.choice(of) for name, of in lists.items()}
            if values not in known:
                study.enqueue_trial(_parameters(values, self.space), user_attrs={"start": values})
                return self.propose(study)
        return None

    def drawn(self, trial: optuna.Trial | FrozenTrial) -> dict[str, Any]:
        """Return the values that a proposed trial is trained with."""
        return _start_of(trial) or _drawn(trial.params, self.space)


#: What is kept of a trial beside its values and score.
_FACTS = ("best_epoch", "epochs", "seconds", "cpu_seconds", "problem")


@dataclass(frozen=True)
class Trial:
    """A trial of a search that is over.

    Attributes:
        state: complete, pruned (ended early) or failed.
        score: best validation score; None where there was none.
        seconds: wall time of its epochs.
        cpu_seconds: processor time, loading included.
        scores: of a finalist, its best validation score with each seed.
        further_cpu_seconds: processor time of its trainings with further seeds.
    """

    number: int
    state: str
    drawn: dict[str, Any]
    score: float | None
    best_epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    problem: str = ""
    scores: tuple[float, ...] = ()
    further_cpu_seconds: float = 0.0

    @property
    def mean_score(self) -> float | None:
        """Mean score over the seeds it was trained with."""
        return mean(self.scores) if self.scores else self.score

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for one seed."""
        return stdev(self.scores) if len(self.scores) > 1 else None


def open_study(search: Search, path: Path, trials: int) -> optuna.Study:
    """Open the search in a file, or begin it; trials that were cut off are enqueued again.

    Args:
        trials: number of trials that it is to have.

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
            sampler=optuna.samplers.TPESampler(
                seed=search.seed + done, n_startup_trials=max(1, int(trials * RANDOM_SHARE))
            ),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=WARM_UP),
        )
    except OSError as problem:
        raise write_problem(path, problem) from problem
    except (ValueError, KeyError, AssertionError) as problem:
        raise InputError(f"{path} is damaged or holds no searches; move it away to begin anew.") from problem
    if not study.trials:
        for start in ({}, *search.starts):
            _enqueue_start(study, search, start)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    return study


def _trials_before(storage: Any, name: str) -> int:
    with suppress(KeyError):
        return len(storage.get_all_trials(storage.get_study_id_from_name(name)))
    return 0


def _enqueue_start(study: optuna.Study, search: Search, start: Start) -> None:
    """Enqueue a trial with the given values, and else with those of the base, with or without a range that has them."""
    values = {name: getattr(search.base, name) for name in search.space} | start
    held = {name: values[name] for name, of in search.space.items() if contains(of, values[name])}
    study.enqueue_trial(_parameters(held, search.space), user_attrs={"start": values})


def _start_of(trial: optuna.Trial | FrozenTrial) -> Start | None:
    """Return the values of a trial that was one of the starts; None of another."""
    start = trial.user_attrs.get("start")
    return start and {name: hashable(value) for name, value in start.items()}


def trials_of(study: optuna.Study, search: Search) -> list[Trial]:
    """Return the trials that are over, in order; those that were cut off or repeat another do not count."""
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    found = []
    for trial in study.trials:
        known = trial.user_attrs
        cut_off = trial.state == TrialState.FAIL and "problem" not in known
        if trial.state in states and not cut_off:
            facts = {key: known[key] for key in _FACTS if key in known}
            found.append(Trial(trial.number, states[trial.state], search.drawn(trial), known.get("score"), **facts))
    return found


def finalists_of(trials: Sequence[Trial], number: int) -> list[Trial]:
    """Return the best ``number`` of the whole trials, the best first; pruned ones where none is whole."""
    scored = [trial for trial in trials if trial.score is not None]
    whole = [trial for trial in scored if trial.state == "complete"]
    return sorted(whole or scored, key=lambda trial: (-(trial.score or 0.0), trial.number))[:number]


def scores_of(study: optuna.Study, trial: Trial) -> dict[int, dict[str, Any]]:
    """Return what is kept of a finalist's trainings with further seeds, by seed."""
    prefix = f"finalist-{trial.number}-"
    return {int(key.removeprefix(prefix)): kept for key, kept in study.user_attrs.items() if key.startswith(prefix)}


def keep_score(study: optuna.Study, trial: int, seed: int, result: Mapping[str, Any]) -> None:
    """Keep the result of a finalist's training with a further seed."""
    study.set_user_attr(f"finalist-{trial}-{seed}", dict(result))


def with_further(study: optuna.Study, trial: Trial, *, is_finalist: bool) -> Trial:
    """Return a trial with the time of its trainings with further seeds, and a finalist with its scores.

    A finalist that failed with a seed keeps those that it has. A trial may have been a finalist before others came.
    """
    kept = [result for _, result in sorted(scores_of(study, trial).items())]
    scores = (trial.score or 0.0, *(result["score"] for result in kept if "score" in result))
    return replace(
        trial,
        scores=scores if is_finalist else (),
        further_cpu_seconds=sum(result.get("cpu_seconds", 0.0) for result in kept),
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the best mean score, the first of equals; None where none has a score.

    Only trials with as many seeds as any are compared: the finalists, where there are any.
    """
    scored = [trial for trial in trials if trial.score is not None]
    seeds = max((len(trial.scores) for trial in scored), default=0)
    compared = [trial for trial in scored if len(trial.scores) == seeds]
    return max(compared, key=lambda trial: (trial.mean_score or 0.0, -trial.number), default=None)


def _suggest(trial: optuna.Trial, name: str, of: Choices | Span) -> None:
    """Let Optuna draw a parameter; choices are drawn by their index, since it keeps numbers and text alone."""
    if isinstance(of, Choices):
        trial.suggest_categorical(name, tuple(range(len(of.values))))
    elif isinstance(of.low, int) and isinstance(of.high, int):
        trial.suggest_int(name, of.low, of.high, log=of.log)
    else:
        trial.suggest_float(name, of.low, of.high, log=of.log)


def _parameters(values: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Convert values of settings to parameters, the inverse of ``_drawn``."""
    ranges = {name: space[name] for name in values}
    return {n: of.values.index(values[n]) if isinstance(of, Choices) else values[n] for n, of in ranges.items()}


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
