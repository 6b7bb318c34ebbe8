"""Where runs are trained: the options of the commands that train several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from pipelines.errors import UsageError, nearest

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.experiments.workers.local import WorkerPool

ENGINES = ("local", "ray")
PANEL = "Ray cluster"
EXTRA = escape("pip install 'mmssl[ray]'")


def engine_option(does: str, shared: str, more: str = "") -> Any:
    """The option ``--engine`` of a command: what it does here or there, and what all nodes must see."""
    where = f"{does} on this machine, or on the nodes of a Ray cluster, which must all see the {shared} under one path."
    comes = f"{more} Ray comes with {EXTRA}."
    return typer.Option("--engine", metavar="|".join(ENGINES), rich_help_panel=PANEL, help=f"{where}{comes}")


EngineName = Annotated[
    str, engine_option("Train", "folders of data and runs", " A run is tried again if its node dies.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDR",
        rich_help_panel=PANEL,
        help="Cluster of --engine ray: HOST:PORT or auto; else $RAY_ADDRESS, else Ray is started on this machine.",
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-run",
        metavar="F",
        min=0,
        max=1,
        rich_help_panel=PANEL,
        help="GPU of each run with --engine ray, a share as 0.25 perhaps; by default 1 if the cluster has GPUs. The "
        "CPUs are shared among --jobs.",
    ),
]


@dataclass(frozen=True)
class ExecutionTarget:
    """Where runs are trained.

    Raises:
        UsageError: there is no such engine, an option has no use with it, or Ray is not installed.
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
                raise UsageError(f"{flag} has no use here: it belongs to --engine ray.")

    def crew(
        self, plan: Iterable[TrainSettings], data_dir: Path, runs_dir: Path | None, on_progress: Callable[[str], None]
    ) -> WorkerPool:
        """What makes the workers.

        Args:
            plan: settings of the runs.
            runs_dir: where they are written, if they are.
            on_progress: is told a line about the cluster.
        """
        if self.engine == "local":
            from mmssl_cli.experiments.workers.local import worker_processes

            return worker_processes
        from mmssl_cli.experiments.workers.ray import RayWorkerPool
        from pipelines.prepared.manifest import MANIFEST

        wanted = list(plan)
        files = {data_dir / settings.dataset / MANIFEST for settings in wanted}
        on_cpu = all(settings.device == "cpu" for settings in wanted)
        gpus = 0.0 if self.gpus_per_run is None and on_cpu else self.gpus_per_run
        return RayWorkerPool(
            self.address, gpus, tuple(sorted(files)), () if runs_dir is None else (runs_dir,), on_progress
        )
