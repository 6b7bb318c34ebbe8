"""A search of a model's settings by validation: TPE proposes, hopeless trials are ended early (Optuna)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.config import TrainSettings, build_settings
from mmssl_cli.experiments.processes import WorkerProcess, begin_work, worker_processes
from mmssl_cli.experiments.search_space import Choices, Space, Span
from pipelines.errors import InputError
from pipelines.files import write_problem

if TYPE_CHECKING:
    import optuna

    from mmssl_cli.tune_progress import TuneReporter

#: Validated epochs of a trial before it may be ended, and whole trials before any may.
WARM_UP, FIRST_TRIALS = 5, 4


@dataclass(frozen=True)
class Search:
    """What determines a search.

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
        """Stands for the search in its file: another base, space, data set or seed is another search."""
        base = {key: value for key, value in self.base.model_dump().items() if key not in {*self.space, "device"}}
        parts = [base, {key: repr(of) for key, of in self.space.items()}, self.content, self.seed]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()
        return f"{self.base.model}-{self.base.dataset}-{digest[:12]}"

    def settings(self, drawn: Mapping[str, Any]) -> TrainSettings:
        """The settings of a trial.

        Raises:
            UsageError: the drawn values do not fit each other.
        """
        return build_settings({**self.base.model_dump(), **drawn})


@dataclass(frozen=True)
class Trial:
    """One trial of a search, over.

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
    """The search as it stands in its file, or a new one; a trial that was cut off is put in line again.

    Raises:
        InputError: the file cannot be written or is not one of searches.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
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
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _trials_before(storage: Any, name: str) -> int:
    with suppress(KeyError):
        return len(storage.get_all_trials(storage.get_study_id_from_name(name)))
    return 0


def _defaults(search: Search) -> dict[str, Any]:
    """The base's own values where the ranges hold them: the first trial of every search."""
    values = {}
    for name, of in search.space.items():
        usual = getattr(search.base, name)
        if isinstance(of, Choices) and usual in of.values:
            values[name] = of.values.index(usual)
        elif isinstance(of, Span) and usual is not None and of.low <= usual <= of.high:
            values[name] = usual
    return values


def trials_of(study: optuna.Study, search: Search) -> list[Trial]:
    """The trials that are over, in order; those that were cut off do not count."""
    import optuna

    states = {
        optuna.trial.TrialState.COMPLETE: "complete",
        optuna.trial.TrialState.PRUNED: "pruned",
        optuna.trial.TrialState.FAIL: "failed",
    }
    found = []
    for trial in study.trials:
        known = trial.user_attrs
        cut_off = trial.state == optuna.trial.TrialState.FAIL and "problem" not in known
        if trial.state in states and not cut_off:
            facts = {key: known[key] for key in ("best_epoch", "epochs", "seconds", "problem") if key in known}
            drawn = _drawn(trial.params, search.space)
            found.append(Trial(trial.number, states[trial.state], drawn, known.get("score"), **facts))
    return found


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial of the best score, the first of equals; None where none has a score."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: (trial.score or 0.0, -trial.number), default=None)


def run_search(
    search: Search, study: optuna.Study, trials: int, data_dir: Path, jobs: int, reporter: TuneReporter
) -> list[Trial]:
    """Carry on with a search until it has ``trials`` trials that are over; all of its trials.

    Ctrl-C leaves the trials under way to be run again.
    """
    missing = trials - len(trials_of(study, search))
    if missing <= 0:
        return trials_of(study, search)
    with worker_processes(min(jobs, missing), serve_trials, (data_dir,), jobs) as workers:
        asked: dict[int, optuna.Trial] = {}
        while missing > 0 or asked:
            for worker in workers:
                if worker.number is None and missing > 0:
                    missing -= 1
                    trial = study.ask(_distributions(search.space))
                    asked[trial.number] = trial
                    worker.send(trial.number, search.settings(_drawn(trial.params, search.space)).model_dump())
            busy = {worker.connection: worker for worker in workers if worker.number is not None}
            for connection in wait(list(busy), timeout=1.0):
                assert isinstance(connection, Connection)
                _hear(busy[connection], study, asked, search, reporter)
    return trials_of(study, search)


def _hear(
    worker: WorkerProcess, study: optuna.Study, asked: dict[int, optuna.Trial], search: Search, reporter: TuneReporter
) -> None:
    import optuna

    number = worker.number
    assert number is not None
    trial = asked[number]
    try:
        kind, content = worker.connection.recv()
    except (EOFError, OSError):
        kind, content = "failed", f"The process that trained it {worker.restart()}."
    if kind == "epoch":
        epoch, score = content
        trial.report(score, epoch)
        reporter.epoch(number, epoch, score)
        with suppress(BrokenPipeError):
            worker.connection.send(not trial.should_prune())
        return
    worker.number = None
    del asked[number]
    if kind == "failed":
        trial.set_user_attr("problem", content)
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    else:
        for name in ("score", "best_epoch", "epochs", "seconds"):
            trial.set_user_attr(name, content[name])
        state = optuna.trial.TrialState.COMPLETE if content["whole"] else optuna.trial.TrialState.PRUNED
        study.tell(number, content["score"] if content["whole"] else None, state=state)
    reporter.over(next(one for one in trials_of(study, search) if one.number == number))


def _distributions(space: Space) -> dict[str, Any]:
    """Choices are drawn by their place, since Optuna keeps numbers and words alone."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, of in space.items():
        if isinstance(of, Choices):
            found[name] = CategoricalDistribution(tuple(range(len(of.values))))
        elif isinstance(of.low, int) and isinstance(of.high, int):
            found[name] = IntDistribution(of.low, of.high, log=of.log)
        else:
            found[name] = FloatDistribution(float(of.low), float(of.high), log=of.log)
    return found


def _drawn(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """What was proposed as values of settings, numbers from a span to three digits."""
    values: dict[str, Any] = {}
    for name, proposed in params.items():
        of = space[name]
        if isinstance(of, Choices):
            values[name] = of.values[proposed]
        else:
            values[name] = proposed if isinstance(proposed, int) else float(f"{proposed:.3g}")
    return values


def serve_trials(connection: Connection, data_dir: Path, threads: int | None) -> None:
    """In a process of its own: train the settings that are sent until None is, and say how each goes."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        begin_work(threads)
        while (values := connection.recv()) is not None:
            connection.send(_fit(values, connection, data_dir))


def _fit(values: Mapping[str, Any], connection: Connection, data_dir: Path) -> tuple[str, Any]:
    from dataclasses import asdict

    from mmssl_cli.problems import explain
    from mmssl_cli.training.fitting import fit

    def goes_on(epoch: int, score: float) -> bool:
        connection.send(("epoch", (epoch, score)))
        return bool(connection.recv())

    try:
        return "over", asdict(fit(build_settings(values), data_dir, goes_on))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as problem:
        return "failed", explain(problem)[0]
