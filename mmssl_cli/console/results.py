"""What `mmssl train` shows in the end: test metrics over its runs, and where the runs are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol

from mmssl_cli.text import modalities_label, model_label


class RunResult(Protocol):
    """A finished run: its folder and what its result.json holds."""

    @property
    def folder(self) -> Path: ...
    @property
    def record(self) -> dict[str, Any]: ...


def present(results: Sequence[RunResult], as_json: bool) -> None:
    """A table and the runs' paths, or all of it as JSON."""
    if as_json:
        print(json.dumps(_plain(results), indent=2))
    else:
        _show(results)


def _plain(results: Sequence[RunResult]) -> dict[str, Any]:
    """What the table shows as plain values: each run's result.json, and means and deviations over the runs."""
    tests = [result.record["test"] for result in results]
    values = {name: [test[name] for test in tests] for name in tests[0]}
    return {
        "runs": [{"run": result.folder.name, "folder": str(result.folder), **result.record} for result in results],
        "mean": {name: fmean(of) for name, of in values.items()},
        "deviation": {name: stdev(of) for name, of in values.items()} if len(tests) > 1 else None,
    }


def _show(results: Sequence[RunResult]) -> None:
    from mmssl_cli.console.tables import metrics_table, show

    first = results[0].record
    seeds = ", ".join(str(result.record["seed"]) for result in results)
    parts = [
        f"Test metrics of {model_label(first['model'], first['variant'])} on {first['dataset']}",
        modalities_label(first.get("modalities")),  # a run of an older version does not say
        f"seed {seeds}" if len(results) == 1 else f"mean ± deviation over seeds {seeds}",
    ]
    show(metrics_table([result.record["test"] for result in results], ", ".join(filter(None, parts))))
    print()
    for result in results:
        print(f"Run     {result.folder}")
        for curves in ("curves.png", "curves.svg"):
            print(f"Curves  {result.folder / curves}")
