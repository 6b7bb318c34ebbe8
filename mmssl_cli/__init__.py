"""Experiments in multi-modal recommendation: models, training, evaluation and reports.

The Python API; each name is imported when it is first used, so that ``import mmssl_cli`` is fast::

    import mmssl_cli as mmssl

    data = mmssl.load_dataset("demo")
    run = mmssl.train("mmssl", data, epochs=20)
    run.recommend(["user-0007"], k=10)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmssl_cli.api.breakdowns import sparsity, sweep
    from mmssl_cli.api.datasets import Dataset, load_dataset, prepare
    from mmssl_cli.api.embeddings import Embeddings
    from mmssl_cli.api.evaluation import Metrics, evaluate
    from mmssl_cli.api.runs import Run, list_runs, load_run
    from mmssl_cli.api.studies import ablate, compare, controls, plugin
    from mmssl_cli.api.training import train
    from mmssl_cli.api.tuning import TuneResult, tune
    from pipelines.errors import InputError, MmsslError, UsageError
    from pipelines.version import __version__ as __version__

__all__ = [
    "Dataset",
    "Embeddings",
    "InputError",
    "Metrics",
    "MmsslError",
    "Run",
    "TuneResult",
    "UsageError",
    "ablate",
    "compare",
    "controls",
    "evaluate",
    "list_runs",
    "load_dataset",
    "load_run",
    "plugin",
    "prepare",
    "sparsity",
    "sweep",
    "train",
    "tune",
]

_MODULES = {
    "mmssl_cli.api.breakdowns": ("sparsity", "sweep"),
    "mmssl_cli.api.datasets": ("Dataset", "load_dataset", "prepare"),
    "mmssl_cli.api.embeddings": ("Embeddings",),
    "mmssl_cli.api.evaluation": ("Metrics", "evaluate"),
    "mmssl_cli.api.runs": ("Run", "list_runs", "load_run"),
    "mmssl_cli.api.studies": ("ablate", "compare", "controls", "plugin"),
    "mmssl_cli.api.training": ("train",),
    "mmssl_cli.api.tuning": ("TuneResult", "tune"),
    "pipelines.errors": ("InputError", "MmsslError", "UsageError"),
    "pipelines.version": ("__version__",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
