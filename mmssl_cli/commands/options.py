"""Options that several commands share, and the flags that are made from the settings classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mmssl_cli.console.verbosity import Verbosity, choose_verbosity
from mmssl_cli.text import shown_value
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings

Function = TypeVar("Function", bound=Callable[..., Any])

DataDir = Annotated[Path, typer.Option("--data-dir", envvar="MMSSL_DATA_DIR", help="Folder of the prepared data sets.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", envvar="MMSSL_RUNS_DIR", help="Folder of the runs.")]
DEFAULT_DATA_DIR = Path("data")
DEFAULT_RUNS_DIR = Path("runs")


def accepts_verbosity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take `-v` and `-q` after its name also, not only before."""
    signature = inspect.signature(function, eval_str=True)

    @wraps(function)
    def command(*, verbose: bool = False, quiet: bool = False, **arguments: Any) -> Any:
        if verbose or quiet:
            choose_verbosity(Verbosity.of(verbose=verbose, quiet=quiet))
        return function(**arguments)

    extra = [
        keyword_flag("verbose", bool, typer.Option("--verbose", "-v", help="Say more; show tracebacks."), False),
        keyword_flag("quiet", bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors."), False),
    ]
    parameters = [*signature.parameters.values(), *extra]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def accepts_settings(function: Function | None = None, *, exclude: Collection[str] = ()) -> Any:
    """Give a command one flag for every field of the settings classes, in place of its ``**flags``.

    A flag is ``None`` where it is not given. All but switches arrive as text: the settings classes parse and
    check them, as they do the values of a TOML file.

    Args:
        exclude: settings that are no flags here.
    """
    if function is None:
        return partial(accepts_settings, exclude=exclude)
    from mmssl_cli.commands.settings_flags import settings_flags

    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = [flag for flag in settings_flags() if flag.name not in exclude]
    function.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    return function


def chosen_dataset(name: str | None, data_dir: Path) -> str:
    """The data set that is meant, as ``resolve_dataset`` finds it; an empty name is not taken for none.

    Raises:
        UsageError: the name is empty, or there is no such data set.
    """
    from pipelines.catalog import resolve_dataset

    if name is not None and not name.strip():
        raise UsageError("The name of the data set is empty; `mmssl datasets` lists the names, or leave it out.")
    return resolve_dataset(name, data_dir)


def shipped_line(settings: TrainSettings, chosen: Collection[str] = ()) -> str:
    """A sentence on the settings shipped for a data set and model that override defaults; empty where none do.

    Args:
        settings: those of a training.
        chosen: the ones that flags or a file give, which are stronger than what is shipped.
    """
    from mmssl_cli.config import shipped_settings

    fields = type(settings).model_fields
    values = {key: getattr(settings, key) for key in shipped_settings(settings.dataset, settings.model)}
    used = [
        f"{key.replace('_', '-')} {shown_value(value)}"
        for key, value in values.items()
        if key not in chosen and value != fields[key].default
    ]
    return f"Settings shipped for {settings.model} on {settings.dataset}: {', '.join(used)}." if used else ""


def keyword_flag(name: str, annotation: Any, option: Any, default: Any) -> inspect.Parameter:
    """A keyword parameter that Typer takes for an option."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, option], default=default
    )
