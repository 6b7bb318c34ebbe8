"""`mmssl train`: one run or several seeds of it, then the test metrics."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.options import place_flags
from mmssl_cli.commands.plan_options import PlanOptions, plans_runs
from mmssl_cli.commands.settings_flags import shipped_line
from mmssl_cli.config import resume_overrides
from mmssl_cli.config.own_names import named
from mmssl_cli.console.errors import disk_is_full
from mmssl_cli.console.lines import warn
from mmssl_cli.console.results import present
from mmssl_cli.console.training import Reporter, make_reporter
from mmssl_cli.console.verbosity import verbosity
from mmssl_cli.distributed import torchrun
from pipelines.errors import InputError, MmsslError, UsageError

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.training.trainer import RunResult


@plans_runs(exclude=("dry_run", "out"), takes_name=True)
def train(
    *,
    options: PlanOptions,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Resume a run, with its settings.",
        ),
    ] = None,
    continued: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Reuse finished runs, resume begun ones.",
        ),
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Split each batch among the processes of torchrun, one per GPU.",
        ),
    ] = False,
) -> None:
    """Train a model on a prepared data set and report its test metrics.

    Every setting is a flag and a key of the --config file; flags override the file, the file --preset. With --model
    X, --help lists the settings of X.

    With --jobs above 1 or --engine ray the --runs are trained in parallel, and reused and resumed as with --continue.
    One model on several GPUs: torchrun --nproc-per-node 2 -m mmssl_cli train --distributed

    Example: mmssl train tiktok --model mmssl --variant w/o-GT --runs 5

    Example: mmssl train --config my.toml --lr 5e-4
    """
    if resume is not None and (options.runs > 1 or continued):
        raise UsageError("--resume continues one run; leave out --runs and --continue.")
    if resume is not None and options.folder is not None:
        raise UsageError(f"--config {options.folder} is a folder, and --resume keeps the run's settings; leave it out.")
    if options.jobs > 1 or options.target.engine != "local":
        if resume is not None or distributed:
            raise UsageError("--jobs and --engine train runs in parallel; leave out --resume and --distributed.")
        return _train_at_once(options)
    torchrun.check(distributed, options.runs > 1 or continued)
    session = Session(options, resume, continued, distributed)
    if distributed and torchrun.rank():
        with _only_own_problems():
            session.train(Reporter())
        return
    reporter = make_reporter(verbosity())
    if options.loggers:
        reporter = _also_logging(reporter, options, resume)
    try:
        with _with_advice(session, reporter):
            session.train(reporter)
    finally:
        reporter.close()
    present({result.folder: result.record for result in session.results}, options.as_json)


def _train_at_once(options: PlanOptions) -> None:
    """Train the seeds on several workers.

    Raises:
        typer.Exit: a run failed (1), or Ctrl-C (130).
    """
    from mmssl_cli.commands.running import carry_out

    result = carry_out(options.plan([options.settings()]), options)
    runs = [outcome.run for outcome in result.outcomes.values() if outcome.run is not None]
    finished = {run.folder.path: run.result for run in runs}
    if finished:
        present(finished, options.as_json)
    result.raise_failures()


@dataclass
class Session:
    """Training in this process, and its progress.

    Attributes:
        resume: the run to resume; None to train the runs of the options.
        plan: settings of these runs.
        results: of the runs that are finished.
    """

    options: PlanOptions
    resume: str | None
    continued: bool
    distributed: bool
    plan: Sequence[TrainSettings] = ()
    results: list[RunResult] = field(default_factory=list)

    def train(self, reporter: Reporter) -> None:
        """Train, with the other ranks in the case of ``--distributed``."""
        if self.distributed:
            from mmssl_cli.distributed.process_group import init_process_group

            init_process_group()
        for result in self._plan(reporter) if self.resume is None else self._resume(self.resume, reporter):
            self.results.append(result)
        if self.distributed:
            from mmssl_cli.distributed.process_group import destroy_process_group

            destroy_process_group()

    def _plan(self, reporter: Reporter) -> Iterator[RunResult]:
        options = self.options
        with self._fail_together():
            settings = options.settings(prepared=not (self.distributed and torchrun.rank()))
            if line := shipped_line(settings, options.named, from_file=options.file_of(settings.model) is not None):
                reporter.message(line)
            self.plan = list(options.plan([settings]).values())
        reporter.stage("Loading PyTorch")  # only once the settings are right
        from mmssl_cli.experiments.in_process import train_in_process

        return train_in_process(self.plan, options.data_dir, options.runs_dir, reporter, reuse=self.continued)

    def _resume(self, argument: str, reporter: Reporter) -> Iterator[RunResult]:
        from mmssl_cli.runs.listing import resolve_run

        options = self.options
        with self._fail_together():
            run = resolve_run(argument, options.runs_dir)
            overrides = resume_overrides(run.settings(), options.named, run.id)
        reporter.stage("Loading PyTorch")
        from mmssl_cli.training.trainer import resume_run

        yield resume_run(run.path, overrides, data_dir=options.data_dir, reporter=reporter)

    def _fail_together(self) -> AbstractContextManager[None]:
        """A block that fails on all ranks if it fails on one; a single process need not import PyTorch for it."""
        if not self.distributed:
            return nullcontext()
        from mmssl_cli.distributed.process_group import fail_together

        return fail_together()

    def under_way(self, info: Mapping[str, Any]) -> str | None:
        """Return the id of the unfinished run, if any; ``info`` is the reporter's."""
        finished = {result.folder.resolve().name for result in self.results}
        return info["run"] if "run" in info and info["run"] not in finished else None

    def command(self, run: str | None) -> str:
        """Return the command line that resumes one run, or all of several."""
        options = self.options
        if options.runs == 1 and run is not None:
            words = ["--resume", run]
        else:
            settings = {"config": options.config, **options.given, "runs": options.runs}
            words = [word for name, value in settings.items() for word in _flag(name, value)] + ["--continue"]
        # A resumed run names its model in a file, which is not enough for code of the user's own.
        imports = [word for name in named() for word in ("--import", name)]
        program = torchrun.command(imports) if self.distributed else ["mmssl", *imports, "train"]
        return shlex.join([*program, *words]) + place_flags(options.data_dir, options.runs_dir)

    def interruption(self, info: Mapping[str, Any]) -> str:
        """Return the message after Ctrl-C."""
        run = self.under_way(info)
        if run is None and not self.results:
            return "Interrupted before training began; nothing was saved."
        several = self.options.runs > 1 and self.is_unfinished
        what = f"{self.place()} was interrupted; {self.finished()}." if several else "Interrupted."
        return f"{what} Resume with: {self.command(run)}"

    @property
    def is_unfinished(self) -> bool:
        """True if runs of the plan are left."""
        return len(self.results) < len(self.plan)

    def finished(self) -> str:
        """List the finished runs."""
        seeds = [f"seed {result.record['seed']} ({result.folder.name})" for result in self.results]
        return f"finished: {', '.join(seeds)}" if seeds else "none finished"

    def place(self) -> str:
        """Name the unfinished run by its number and seed."""
        done = len(self.results)
        return f"Run {done + 1} of {len(self.plan)} (seed {self.plan[done].seed})"


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [] if value is None else [flag, str(value)]


@contextmanager
def _with_advice(session: Session, reporter: Reporter) -> Iterator[None]:
    """On an interrupt or a failure, print what is finished and the command that resumes the rest."""
    try:
        yield
    except KeyboardInterrupt:
        reporter.close()
        warn(session.interruption(reporter.info))
        raise typer.Exit(130) from None
    except (MmsslError, OSError) as problem:
        reporter.close()
        if session.results and session.is_unfinished:
            warn(f"{session.place()} failed; {session.finished()}.")
        run = session.under_way(reporter.info)
        if run is not None and disk_is_full(problem):
            raise InputError(
                f"The disk is full: {session.options.runs_dir / run} cannot be written; free some space, then "
                f"resume with: {session.command(run)}"
            ) from problem
        if run is not None and isinstance(problem, torchrun.LostError):
            torchrun.ignore_sigterm()
            raise MmsslError(f"{problem} Resume with: {session.command(run)}") from problem
        raise


@contextmanager
def _only_own_problems() -> Iterator[None]:
    """On a rank above 0, report only problems of this rank; rank 0 reports the others."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except MmsslError as problem:
        from mmssl_cli.distributed.process_group import ReportedByRankZero

        if isinstance(problem, ReportedByRankZero | torchrun.LostError):
            torchrun.ignore_sigterm()
            raise typer.Exit(problem.exit_code) from problem
        raise MmsslError(f"Process {torchrun.rank()}: {problem}") from problem


def _also_logging(reporter: Reporter, options: PlanOptions, resume: str | None) -> Reporter:
    from mmssl_cli.console.loggers.reporter import with_loggers
    from mmssl_cli.runs.folder import RunFolder
    from mmssl_cli.runs.listing import resolve_run

    # A run resumed by its path may be outside the folder of the runs.
    runs_dir = options.runs_dir
    folder = resolve_run(resume, runs_dir).path.resolve().parent if resume is not None else runs_dir
    return with_loggers(reporter, options.loggers, folder, RunFolder)
