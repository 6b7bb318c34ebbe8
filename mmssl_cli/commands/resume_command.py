"""What `mmssl train` was asked for, how far it has come, and the command that goes on from there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, DEFAULT_RUNS_DIR
from mmssl_cli.distributed import torchrun

if TYPE_CHECKING:
    from mmssl_cli.training.trainer import RunResult


@dataclass
class Session:
    """One call of `mmssl train`.

    Attributes:
        given: settings that were given as flags, as they were written.
        runs: how many runs were asked for.
        distributed: whether several processes train the model together.
        results: of the runs that are over.
        seed: of the run that is under way; None before the first.
    """

    given: Mapping[str, Any]
    config: Path | None
    runs: int
    data_dir: Path
    runs_dir: Path
    distributed: bool = False
    results: list[RunResult] = field(default_factory=list)
    seed: int | None = None

    def under_way(self, info: Mapping[str, Any]) -> str | None:
        """The id of the run that was begun and is not over; ``info`` is what the reporter was told last."""
        over = {result.folder.resolve().name for result in self.results}
        return info["run"] if "run" in info and info["run"] not in over else None

    def command(self, run: str | None) -> str:
        """The command line that goes on: with one run, or with all of several."""
        if self.runs == 1 and run is not None:
            words = ["--resume", run]
        else:
            settings = {"config": self.config, **self.given, "runs": self.runs}
            words = [word for name, value in settings.items() for word in _flag(name, value)] + ["--continue"]
        places = {"data_dir": (self.data_dir, DEFAULT_DATA_DIR), "runs_dir": (self.runs_dir, DEFAULT_RUNS_DIR)}
        words += [word for name, (path, usual) in places.items() if path != usual for word in _flag(name, path)]
        return shlex.join([*(torchrun.command() if self.distributed else ["mmssl", "train"]), *words])

    def interruption(self, info: Mapping[str, Any]) -> str:
        """What to say after Ctrl-C."""
        run = self.under_way(info)
        if run is None and not self.results:
            return "Interrupted before training began; nothing was saved."
        what = "Interrupted." if self.runs == 1 else f"{self.place()} was interrupted; {self.finished()}."
        return f"{what} Go on with: {self.command(run)}"

    def finished(self) -> str:
        """Which of several runs are over."""
        seeds = [f"seed {result.record['seed']} ({result.folder.name})" for result in self.results]
        return f"finished: {', '.join(seeds)}" if seeds else "none is finished"

    def place(self) -> str:
        """The run that is under way, among how many."""
        return f"Run {len(self.results) + 1} of {self.runs} (seed {self.seed})"


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [] if value is None else [flag, str(value)]
