"""Options that several commands share: folders, verbosity, the data set, and where to train."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mmssl_cli.console.lines import warn
from mmssl_cli.console.verbosity import Verbosity, choose_verbosity, verbosity
from mmssl_cli.text import DEFAULT_DATA_DIR as DEFAULT_DATA_DIR
from mmssl_cli.text import DEFAULT_RUNS_DIR as DEFAULT_RUNS_DIR
from mmssl_cli.text import place_flags as place_flags
from pipelines.errors import UsageError, nearest

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.experiments.workers.pool import WorkerPool
    from mmssl_cli.runs.folder import RunFolder

DataDir = Annotated[Path, typer.Option("--data-dir", envvar="MMSSL_DATA_DIR", help="Folder of the prepared data sets.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", envvar="MMSSL_RUNS_DIR", help="Folder of the runs.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Also write tables (CSV, parquet, Markdown, LaTeX), figures (SVG, PDF, PNG)."
    ),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Id, id prefix, path, or `latest`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")]

ENGINES = ("local", "ray")
_RAY = "Ray cluster"
_RAY_EXTRA = escape("pip install 'mmssl[ray]'")


def engine_option(does: str, shared: str, more: str = "") -> Any:
    """Return the option ``--engine`` of a command.

    Args:
        does: the work, as a verb.
        shared: folders that all nodes must see.
    """
    where = f"{does} here, or on a Ray cluster whose nodes all see the {shared}."
    comes = f"{more} {_RAY_EXTRA}."
    return typer.Option("--engine", metavar="|".join(ENGINES), rich_help_panel=_RAY, help=f"{where}{comes}")


EngineName = Annotated[str, engine_option("Train", "folders of data and runs")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDR",
        rich_help_panel=_RAY,
        help="HOST:PORT or auto; else $RAY_ADDRESS, else Ray is started here.",
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-run",
        metavar="F",
        min=0,
        max=1,
        rich_help_panel=_RAY,
        help="GPUs of a run, such as 0.25; by default 1 if the cluster has GPUs.",
    ),
]


@dataclass(frozen=True)
class ExecutionTarget:
    """Machine or cluster that runs are trained on.

    Raises:
        UsageError: an unknown engine, an option of another engine, or Ray is not installed.
    """

    engine: str = "local"
    address: str | None = None
    gpus_per_run: float | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(f"There is no engine {self.engine!r}: {nearest(self.engine, ENGINES)}")
        if self.engine == "ray":
            from pipelines.io.ray_cluster import ray_module

            ray_module()
            return
        for flag, value in (("--address", self.address), ("--gpus-per-run", self.gpus_per_run)):
            if value is not None:
                raise UsageError(f"{flag} applies only with --engine ray.")

    def worker_pool(
        self, plan: Iterable[TrainSettings], data_dir: Path, folder: Path, on_progress: Callable[[str], None]
    ) -> Callable[[int], WorkerPool]:
        """Return what makes a pool for so many jobs at once.

        Args:
            plan: settings of the runs.
            folder: where they, or their search, are written.
            on_progress: called with a line about the cluster.
        """
        if self.engine == "local":
            from mmssl_cli.experiments.workers.local import LocalPool

            return LocalPool
        from mmssl_cli.experiments.workers.ray import RayPool
        from pipelines.prepared.manifest import MANIFEST

        wanted = list(plan)
        files = {data_dir / settings.dataset / MANIFEST for settings in wanted}
        on_cpu = all(settings.device == "cpu" for settings in wanted)
        gpus = 0.0 if self.gpus_per_run is None and on_cpu else self.gpus_per_run
        return partial(
            RayPool,
            address=self.address,
            gpus=gpus,
            files=tuple(sorted(files)),
            folder=folder,
            on_progress=on_progress,
        )


def accepts_verbosity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take `-v` and `-q` after its name too."""
    signature = inspect.signature(function, eval_str=True)

    @wraps(function)
    def command(*, verbose: bool = False, quiet: bool = False, **arguments: Any) -> Any:
        if verbose or quiet:
            choose_verbosity(Verbosity.of(verbose=verbose, quiet=quiet))
        return function(**arguments)

    extra = [
        keyword_flag("verbose", bool, typer.Option("--verbose", "-v", help="Print more; show tracebacks."), False),
        keyword_flag("quiet", bool, typer.Option("--quiet", "-q", help="Print only results and errors."), False),
    ]
    parameters = [*signature.parameters.values(), *extra]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def keyword_flag(name: str, annotation: Any, option: Any, default: Any) -> inspect.Parameter:
    """Return a keyword parameter that Typer takes for an option."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, option], default=default
    )


def listed(given: Sequence[str] | None) -> list[str]:
    """Split the values of a repeated option, each of which may hold several separated by commas."""
    return [part.strip() for value in given or () for part in value.split(",") if part.strip()]


def chosen_dataset(name: str | None, data_dir: Path) -> str:
    """Return the data set of a name as ``resolve_dataset`` does; an empty name is an error.

    Raises:
        UsageError: the name is empty, or there is no such data set.
    """
    from pipelines.catalog import resolve_dataset

    if name is not None and not name.strip():
        raise UsageError("The name of the data set is empty; `mmssl datasets` lists the names, or leave it out.")
    return resolve_dataset(name, data_dir)


def ensure_prepared(dataset: str, data_dir: Path) -> None:
    """Generate a data set that needs no files; refuse any other that is not prepared.

    Raises:
        InputError: the data set must be prepared first.
    """
    from mmssl_cli.api.generated import must_be_generated

    if not must_be_generated(dataset, data_dir):
        return
    from mmssl_cli.console.preparation import prep_reporter
    from pipelines.prepare import prepare

    with prep_reporter(verbosity()) as steps:
        prepare(dataset, data_dir=data_dir, reporter=steps)


def say_if_unfinished(run: RunFolder) -> None:
    """Note on standard error that a run is not finished, so that its model is not its final one."""
    if verbosity() is Verbosity.QUIET or not run.has_model():
        return
    if run.is_locked():
        warn(f"Run {run.id} is still being trained; this is its best model so far.")
    elif not run.is_over():
        warn(f"Run {run.id} {'failed' if run.failure() else 'was interrupted'}; this is its best model so far.")
