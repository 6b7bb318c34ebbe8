"""The `mmssl` command: subcommands, imported only when they run, and error messages.

`mmssl --help` must answer at once, so nothing here may import torch, pandas or anything else that is heavy.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from mmssl_cli.commands.options import accepts_verbosity
from mmssl_cli.console.errors import OWN_MODULES, explain
from mmssl_cli.console.lines import printable, write_in_ascii_where_needed
from mmssl_cli.console.verbosity import Verbosity, choose_verbosity, verbosity
from pipelines.errors import MmsslError, UsageError
from pipelines.version import __version__

# name -> (module and function, summary for `mmssl --help`)
COMMANDS: dict[str, tuple[str, str]] = {
    "prep": ("mmssl_cli.commands.prep:prep", "Prepare a data set: raw files to one checked folder."),
    "export": ("mmssl_cli.commands.export:export", "Write a data set in the layout of another program."),
    "datasets": (
        "mmssl_cli.commands.datasets:datasets",
        "List the data sets, prepared or not, with their sizes.",
    ),
    "train": ("mmssl_cli.commands.train:train", "Train a model and report its test metrics."),
    "tune": ("mmssl_cli.commands.tune:tune", "Search a model's settings by validation."),
    "evaluate": ("mmssl_cli.commands.evaluate:evaluate", "Evaluate the model of a run again."),
    "recommend": ("mmssl_cli.commands.recommend:recommend", "Recommend items to one user or to all."),
    "embeddings": ("mmssl_cli.commands.embeddings:embeddings", "Write the final embeddings of a run."),
    "serve": ("mmssl_cli.commands.serve:serve", "Serve a run over HTTP: recommendations as JSON."),
    "compare": ("mmssl_cli.commands.compare:compare", "Compare models with each other: Table 2."),
    "ablate": ("mmssl_cli.commands.ablate:ablate", "Compare MMSSL with its variants: Table 3."),
    "controls": ("mmssl_cli.commands.controls:controls", "Measure what item features are worth, against controls."),
    "plugin": ("mmssl_cli.commands.plugin:plugin", "Plug MMSSL's adversary and contrast into models: Table 5."),
    "sparsity": ("mmssl_cli.commands.sparsity:sparsity", "Compare models on sparse users and items: Table 4, Fig. 1."),
    "sweep": ("mmssl_cli.commands.sweep:sweep", "Train with several values of a setting: Figure 4."),
    "analyze": ("mmssl_cli.commands.analyze:analyze", "Analyse a run of MMSSL: gradients, transferability, cost."),
    "curves": ("mmssl_cli.commands.curves:curves", "Plot runs by epoch and by second: Figure 3."),
    "report": ("mmssl_cli.commands.report:report", "Report all finished runs: HTML, LaTeX, CSV, SVG."),
    "runs": ("mmssl_cli.commands.runs:runs", "List the runs, newest first."),
    "models": ("mmssl_cli.commands.models:models", "List the models, their papers and settings."),
}


class LazyCommand(TyperCommand):
    """A subcommand with its name and summary; its module is imported when it is called."""

    def __init__(self, name: str, target: str, summary: str) -> None:
        super().__init__(name, help=summary, short_help=summary)
        self._target = target

    def load(self) -> TyperCommand:
        """Import the module and build the real command."""
        module, _, function = self._target.partition(":")
        single = typer.Typer(add_completion=False)
        called = getattr(importlib.import_module(module), function)
        if hasattr(called, "add_flags"):
            called.add_flags()
        single.command(self.name, help=unwrapped(called.__doc__ or ""))(accepts_verbosity(called))
        command = typer.main.get_command(single)
        assert isinstance(command, TyperCommand)
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse with the real command, whose context serves help and completion too."""
        if self.name != "prep":  # whose options have colons too
            _allow_models(args)
        command = self.load()
        if {"-h", "--help"} & set(args) and any(param.name == "lr" for param in command.params):
            from mmssl_cli.commands.settings_flags import shorten_help

            shorten_help(command.params, args)
        return command.make_context(info_name, args, parent=parent, **extra)


def _allow_models(words: Sequence[str]) -> None:
    """Allow the import of models given as ``module:Class``, so that their settings become flags."""
    if any(":" in word for word in words):
        from mmssl_cli.config.own_names import allow

        allow(words)


def unwrapped(docstring: str) -> str:
    """Return a docstring with each paragraph on one line, for the terminal to wrap."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(docstring).split("\n\n"))


class LazyGroup(TyperGroup):
    """The group of all subcommands; turns errors into a sentence and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (target, summary) in COMMANDS.items():
            self.add_command(LazyCommand(name, target, summary))

    def main(  # type: ignore[override]  # all by keyword
        self, *, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run the command line; with ``standalone_mode`` (the default) end the process with its exit code."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        choose_verbosity(Verbosity.NORMAL)
        try:
            code = super().main(args, standalone_mode=False, **extra)
            sys.stdout.flush()
        except SystemExit as problem:
            # typer's own, after it printed a completion script, or rich's, at a closed pipe
            if not OWN_MODULES or isinstance(problem.__context__, BrokenPipeError):
                raise
            _fail(RuntimeError(f"sys.exit({problem.code!r}) was called"))
        except Exception as problem:
            # An import that is interrupted can end in an error of another kind.
            if _interrupted and not isinstance(problem, MmsslError):
                print("Interrupted.", file=sys.stderr)
                sys.exit(130)
            _fail(problem)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand; an interrupt, even during its import, prints a line and exits with 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None


#: The signals that interrupted the process, once there are any.
_interrupted: list[int] = []


def _interrupt(number: int, frame: Any) -> None:
    _interrupted.append(number)
    signal.default_int_handler(number, frame)


def _again_if_swallowed(problem: sys.UnraisableHookArgs) -> None:
    """Interrupt again where an interrupt was raised in a finaliser, which swallows it; report other errors as usual."""
    if isinstance(problem.exc_value, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()  # at once it would end this hook alone
    else:
        sys.__unraisablehook__(problem)


def _fail(problem: Exception) -> NoReturn:
    """Print the sentence of an error on standard error and end with its exit code."""
    if verbosity() is Verbosity.VERBOSE and not isinstance(problem, typer.TyperException):
        import traceback

        print(printable("".join(traceback.format_exception(problem)), keep="\n"), end="", file=sys.stderr)
    sentence, code = explain(problem)
    if sentence:
        from rich.console import Console
        from rich.text import Text

        line = Text.assemble(("Error: ", "bold red"), printable(sentence))
        Console(stderr=True, soft_wrap=True, highlight=False).print(line)
    sys.exit(code)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"mmssl {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="mmssl",
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: mmssl train --dataset demo",
)


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and stop.", callback=_show_version, is_eager=True),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print more; show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors.")] = False,
    own: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE:CLASS", help="Model of your own that runs may use; may be repeated."),
    ] = None,
) -> None:
    """Experiments in multi-modal recommendation: prepare data, train models, evaluate them and recommend."""
    choose_verbosity(Verbosity.of(verbose=verbose, quiet=quiet))
    if own:
        from mmssl_cli.config.own_names import is_own

        for name in ",".join(own).split(","):
            if not is_own(name.strip()):
                raise UsageError(f"--import cannot be {name!r}: expected MODULE:CLASS, such as my_model:MyModel.")
        _allow_models(own)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the `mmssl` script: run the command line and exit with its code (0, 1, 2 or 130)."""
    write_in_ascii_where_needed()
    # OpenMP threads spin while they wait. A short spin is as fast on idle cores, and much faster where other programs
    # use them. Read when PyTorch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # Pydantic reads the metadata of every installed package to look for plugins, at the first class with fields.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # SIGTERM, from a job scheduler or `kill`, is treated as Ctrl-C.
    for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) == default:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _again_if_swallowed
    if not sys.warnoptions:  # of NumPy, about numbers of which an error says more
        warnings.simplefilter("ignore", RuntimeWarning)
    try:
        app(args=arguments, prog_name="mmssl")
    except KeyboardInterrupt:  # while the program ends
        sys.exit(130)
    raise AssertionError("the command line ends the process")  # pragma: no cover
