"""Options of the commands that train: settings, seeds, and how the runs are carried out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    Address,
    AsJson,
    DataDir,
    EngineName,
    ExecutionTarget,
    GpusPerRun,
    Out,
    RunsDir,
    chosen_dataset,
    ensure_prepared,
    keyword_flag,
)
from mmssl_cli.commands.settings_flags import settings_flags
from mmssl_cli.config import (
    SETTINGS,
    TrainSettings,
    has_preset,
    known_model,
    merge_for,
    merge_settings,
    read_toml,
    refuse_idle,
)
from mmssl_cli.config.presets import searched_file, searched_files
from mmssl_cli.console.lines import warn
from mmssl_cli.experiments.plan import over_seeds, run_name
from mmssl_cli.text import companion
from pipelines.errors import UsageError

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings as TOML, or folder of `tune`.")]
Runs = Annotated[int, typer.Option("--runs", min=1, metavar="N", help="Runs: seed, seed + 1, ...")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Runs trained in parallel.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be trained and the expected time, then stop.")]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Log to RUN/tensorboard too; " + escape("pip install 'mmssl[tensorboard]'."),
    ),
]
Wandb = Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases too: " + escape("mmssl[wandb]."))]
Mlflow = Annotated[bool, typer.Option("--mlflow", help="Log to MLflow too: " + escape("mmssl[mlflow]."))]

_NAME = typer.Argument(
    metavar="[NAME]",
    help="Data set, as --dataset; else $MMSSL_DATASET or the default.",
    show_default=False,
)

#: The options of a plan of runs, with their defaults.
_SHARED: dict[str, tuple[Any, Any]] = {
    "runs": (Runs, 1),
    "jobs": (Jobs, 1),
    "engine": (EngineName, "local"),
    "address": (Address, None),
    "gpus_per_run": (GpusPerRun, None),
    "dry_run": (DryRun, False),
    "config": (Config, None),
    "out": (Out, None),
    "as_json": (AsJson, False),
    "tensorboard": (TensorBoard, False),
    "wandb": (Wandb, False),
    "mlflow": (Mlflow, False),
    "data_dir": (DataDir, DEFAULT_DATA_DIR),
    "runs_dir": (RunsDir, DEFAULT_RUNS_DIR),
}


@dataclass(frozen=True)
class PlanOptions:
    """Options shared by the commands that train.

    Attributes:
        given: settings given as flags, as written.
    """

    given: Mapping[str, Any]
    target: ExecutionTarget
    runs: int = 1
    jobs: int = 1
    dry_run: bool = False
    config: Path | None = None
    out: Path | None = None
    as_json: bool = False
    tensorboard: bool = False
    wandb: bool = False
    mlflow: bool = False
    data_dir: Path = DEFAULT_DATA_DIR
    runs_dir: Path = DEFAULT_RUNS_DIR

    @property
    def loggers(self) -> tuple[str, ...]:
        """Return the names of the loggers that receive the numbers of each epoch."""
        return tuple(name for name in ("tensorboard", "wandb", "mlflow") if getattr(self, name))

    @property
    def named(self) -> dict[str, Any]:
        """Return the settings of --config and flags; flags take precedence. Of a folder the flags alone.

        Raises:
            InputError: the file cannot be read.
        """
        return {**(read_toml(self.config) if self.config and not self.folder else {}), **self.given}

    @property
    def folder(self) -> Path | None:
        """Return --config where it is a folder of searched settings."""
        return self.config if self.config is not None and self.config.is_dir() else None

    def file_of(self, model: str | None = None) -> Path | None:
        """Return the file of settings for a model: --config, or in such a folder MODEL-DATASET.toml, if there is one.

        Raises:
            UsageError: there is no such model or data set.
            InputError: the file cannot be read.
        """
        if self.folder is None:
            return self.config
        name = known_model(model if model is not None else str(self.given.get("model", "mmssl")))
        file = searched_file(self.folder, name, self.dataset())
        return file if file.is_file() else None

    def dataset(self) -> str:
        """Return the data set of flag or file, else the default one.

        Raises:
            UsageError: there is no such data set.
            InputError: the file cannot be read.
        """
        name = self.named.get("dataset")
        return chosen_dataset(None if name is None else str(name), self.data_dir)

    def settings(self, model: str | None = None, *, prepared: bool = True, **more: Any) -> TrainSettings:
        """Return the settings of a run, with the first seed, from flags, file, and preset or shipped settings.

        Args:
            model: overrides flags and file; what is for other models is then left out (``check`` refuses it).
            prepared: check that the data set is prepared; one that needs no files is generated.
            more: further flags.

        Raises:
            UsageError: an unknown setting, or a value out of its range.
            InputError: the file cannot be read, or the data set is not prepared.
        """
        dataset = self.dataset()
        if model is None:
            settings = merge_settings({**self.given, **more, "dataset": dataset}, self.file_of())
            self.check_folder([settings.model])
        else:
            settings = merge_for(model, {**self.given, **more}, dataset, self.file_of(model))
        if prepared:
            ensure_prepared(dataset, self.data_dir)
        return settings

    def metrics_of(self, settings: TrainSettings) -> list[str] | None:
        """Return the metrics of ``--metrics`` at the cut-offs of ``--ks``, such as mrr@20; None where none are named.

        Where one is named, the other is that of the metric that selects.
        """
        if not {"metrics", "ks"} & self.named.keys():
            return None
        both = settings.select_on, companion(settings.select_on)
        names = settings.metrics if "metrics" in self.named else [metric.partition("@")[0] for metric in both]
        return [f"{name}@{k}" for k in self.cutoffs_of(settings) for name in names]

    def cutoffs_of(self, settings: TrainSettings) -> tuple[int, ...]:
        """Return the cut-offs of ``--ks``, or that of the metric that selects where none is named."""
        return tuple(settings.ks) if "ks" in self.named else (int(settings.select_on.partition("@")[2]),)

    def check(self, models: Sequence[str]) -> None:
        """Refuse flags and a file that reach none of the models; name the models that lack the preset.

        Raises:
            UsageError: there is such a setting, preset or file.
            InputError: the file cannot be read.
        """
        dataset, preset = self.dataset(), self.named.get("preset")
        refuse_idle(models, self.given, dataset, None if self.folder is not None else self.config)
        self.check_folder(models)
        if preset is not None and (left := [name for name in models if not has_preset(preset, name, dataset)]):
            warn(f"No preset {preset} for {', '.join(left)}: their shipped settings or defaults are used.")

    def check_folder(self, models: Sequence[str]) -> None:
        """Refuse a folder of --config without settings for any of the models; name the models that it lacks.

        Raises:
            UsageError: it has none.
        """
        if (folder := self.folder) is None:
            return
        found = searched_files(folder, models, self.dataset())
        left = [name for name in models if name not in found]
        if left:
            warn(f"No settings in {folder} for {', '.join(left)}: shipped settings or defaults are used.")

    def plan(self, settings: Iterable[TrainSettings]) -> dict[str, TrainSettings]:
        """Return ``--runs`` seeds of each by name, ordered by seed: an interrupted plan then compares all on some."""
        by_seed = zip(*(over_seeds(each, self.runs) for each in settings), strict=True)
        return {run_name(run): run for seeded in by_seed for run in seeded}

    def labelled_plan(self, settings: Iterable[tuple[str, TrainSettings]]) -> dict[str, TrainSettings]:
        """Return the same of settings whose runs the name of their model does not tell apart: a label is added."""
        runs = {f"{name}, {label}": run for label, one in settings for name, run in self.plan([one]).items()}
        return dict(sorted(runs.items(), key=lambda one: one[1].seed))


def plans_runs(
    function: Callable[..., None] | None = None, *, exclude: Collection[str] = (), takes_name: bool = False
) -> Any:
    """Give a command the shared options and a flag for every setting; they arrive as its argument ``options``.

    All settings but switches arrive as text: the settings classes parse and check them, as the values of a TOML file.

    The flags are made by its attribute ``add_flags``, once the models of the command line are known.

    Args:
        exclude: options and settings without a flag.
        takes_name: the data set may also be the argument NAME.
    """
    if function is None:
        return partial(plans_runs, exclude=exclude, takes_name=takes_name)
    called = function
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in _SHARED.items()
        if name not in exclude
    ]

    @wraps(function)
    def command(**arguments: Any) -> None:
        mine = {parameter.name: arguments.pop(parameter.name) for parameter in own}
        plan = {parameter.name: arguments.pop(parameter.name) for parameter in shared}
        target = ExecutionTarget(plan.pop("engine"), plan.pop("address"), plan.pop("gpus_per_run"))
        name = arguments.pop("name", None)
        if name is not None and name.casefold() in SETTINGS and not (plan["data_dir"] / name).exists():
            raise UsageError(f"NAME is the data set, and {name} is a model: give --model {name}.")
        given = {setting: value for setting, value in arguments.items() if value is not None}
        if name is not None and given.setdefault("dataset", name) != name:
            raise UsageError(f"The data set is both {name} and --dataset {given['dataset']}; keep one.")
        called(options=PlanOptions(given, target, **plan), **mine)

    named = [keyword_flag("name", str | None, _NAME, None)] if takes_name else []

    def add_flags() -> None:
        flags = [flag for flag in settings_flags() if flag.name not in exclude]
        parameters = [*named, *own, *shared, *flags]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]

    command.add_flags = add_flags  # type: ignore[attr-defined]
    return command
