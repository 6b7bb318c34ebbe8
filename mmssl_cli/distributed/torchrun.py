"""What torchrun tells each process it starts, and the command line that starts them again."""

from __future__ import annotations

import os
import signal

import typer

from pipelines.errors import MmsslError, UsageError

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class LostError(MmsslError):
    """Another process of the training has ended."""


def rank() -> int:
    """The number of this process; 0 leads."""
    return int(os.environ.get("RANK", 0))


def command() -> list[str]:
    """The words that start as many processes again, each with `mmssl train --distributed`."""
    places = {"--nnodes": os.environ.get("GROUP_WORLD_SIZE", "1"), "--nproc-per-node": os.environ["LOCAL_WORLD_SIZE"]}
    counts = [word for flag, count in places.items() if flag != "--nnodes" or count != "1" for word in (flag, count)]
    return ["torchrun", *counts, "-m", "mmssl_cli", "train", "--distributed"]


def ignore_sigterm() -> None:
    """Ignore that torchrun ends all processes when one has died: this one knows, and is about to say so and end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def check(distributed: bool, several: bool) -> None:
    """Refuse processes that do not know of each other, and those that would each train a run of its own.

    Args:
        several: whether more than one run was asked for, or --continue.

    Raises:
        UsageError: on the first process.
        typer.Exit: on the others, which need not say it again.
    """
    sentence = _problem(distributed, several)
    if sentence and rank():
        raise typer.Exit(UsageError.exit_code)
    if sentence:
        raise UsageError(sentence)


def _problem(distributed: bool, several: bool) -> str:
    if not distributed:
        started = os.environ.get("WORLD_SIZE", "1") if "TORCHELASTIC_RUN_ID" in os.environ else "1"
        if started == "1":
            return ""
        return (
            f"torchrun started {started} processes, and each would train a run of its own; add --distributed for one "
            "model, or use --runs for several."
        )
    if any(name not in os.environ for name in _TOLD):
        return (
            "--distributed is for the processes that torchrun starts; run: "
            "torchrun --nproc-per-node 2 -m mmssl_cli train --distributed, with the other flags after it."
        )
    return "--distributed trains one run; leave out --runs and --continue." if several else ""
