"""Environment of a process started by torchrun, and the command line that starts it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import typer

from pipelines.errors import MmsslError, UsageError

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class LostError(MmsslError):
    """Another process of the training has ended."""


def rank() -> int:
    """Return the rank of this process."""
    return int(os.environ.get("RANK", 0))


def command(flags: Sequence[str] = ()) -> list[str]:
    """Return the words of a command line that starts as many processes of `mmssl FLAGS train --distributed`."""
    places = {"--nnodes": os.environ.get("GROUP_WORLD_SIZE", "1"), "--nproc-per-node": os.environ["LOCAL_WORLD_SIZE"]}
    counts = [word for flag, count in places.items() if flag != "--nnodes" or count != "1" for word in (flag, count)]
    return ["torchrun", *counts, "-m", "mmssl_cli", *flags, "train", "--distributed"]


def ignore_sigterm() -> None:
    """Ignore torchrun's SIGTERM after another process died, so that this one can report it and end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def check(distributed: bool, several: bool) -> None:
    """Refuse ``--distributed`` without torchrun or for several runs, and torchrun without ``--distributed``.

    Args:
        several: True for more than one run, or ``--continue``.

    Raises:
        UsageError: on rank 0.
        typer.Exit: on the others, to report it once.
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
    if any(name not in os.environ for name in _VARIABLES):
        return (
            "--distributed is for the processes that torchrun starts; run: "
            "torchrun --nproc-per-node 2 -m mmssl_cli train --distributed, with the other flags after it."
        )
    return "--distributed trains one run; leave out --runs and --continue." if several else ""
