"""Training in Python."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import torch

from mmssl_cli.api.arguments import check_flags, check_settings_alone, known_names
from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.paths import path_of
from mmssl_cli.api.runs import Run
from mmssl_cli.api.wording import keywords_in_errors
from mmssl_cli.config import TrainSettings, merge_settings
from mmssl_cli.console.training import make_reporter
from mmssl_cli.console.verbosity import Verbosity
from mmssl_cli.experiments.in_process import train_in_process
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.text import DEFAULT_RUNS_DIR


@keywords_in_errors
def train(
    model: str,
    data: Dataset | str | PathLike[str],
    *,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    reuse: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> Run:
    """Train a model and return its run, as `mmssl train` does.

    Args:
        model: a name that `mmssl models` lists, or ``module:Class`` of a model of your own.
        data: the data set, or its name or path.
        runs_dir: folder of the runs, in which the run gets a folder of its own.
        config: TOML file of settings; ``settings`` take precedence.
        reuse: return a finished run of the same settings, or resume an interrupted one, where there is one.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes: ``epochs=20``, ``embedding_dim=32``,
            ``ks=(10, 20)``, ``preset="paper"``.

    Raises:
        UsageError: an unknown model or setting, a value out of its range, or settings that do not fit the data set.
        InputError: a file is damaged, or the run cannot be written.
        MmsslError: the training diverged.

    Examples:
        >>> run = mmssl.train("mf", data, epochs=2, embedding_dim=64)
        >>> run.result["epochs"]
        2
    """
    data = load_dataset(data)
    check_flags(reuse=reuse, verbose=verbose)
    check_settings_alone(settings)
    [model] = known_names([model])
    given = {**settings, "model": model, "dataset": data.name}
    file = None if config is None else path_of(config, "config")
    [run] = trained([merge_settings(given, file)], data, runs_dir, reuse, verbose)
    return Run(run, data.data_dir)


def trained(
    plan: Sequence[TrainSettings], data: Dataset, runs_dir: str | PathLike[str], reuse: bool, verbose: bool
) -> list[RunFolder]:
    """Train one run after another in this process, and return their folders in the order of the plan."""
    reporter = make_reporter(Verbosity.NORMAL if verbose else Verbosity.QUIET)
    try:
        with torch.random.fork_rng():  # the caller's random state is not the training's
            results = train_in_process(plan, data.data_dir, path_of(runs_dir, "runs_dir"), reporter, reuse=reuse)
            return [RunFolder.open(result.folder) for result in results]
    finally:
        reporter.close()
