"""Results of `mmssl train`: test metrics over its runs, and the folders of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from mmssl_cli.console.lines import say
from mmssl_cli.text import beside_label


def present(results: Mapping[Path, Mapping[str, Any]], as_json: bool) -> None:
    """Print a table and the runs' folders, or all of it as JSON.

    Args:
        results: folder of a run -> content of its result.json.
    """
    if as_json:
        print(json.dumps(_plain(results), indent=2))
    else:
        _show(results)


def _plain(results: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    """Return each run's result.json, and means and deviations over the runs."""
    tests = [record["test"] for record in results.values()]
    values = {name: [test[name] for test in tests] for name in tests[0]}
    return {
        "runs": [{"run": folder.name, "folder": str(folder), **record} for folder, record in results.items()],
        "mean": {name: fmean(of) for name, of in values.items()},
        "deviation": {name: stdev(of) for name, of in values.items()} if len(tests) > 1 else None,
    }


def _show(results: Mapping[Path, Mapping[str, Any]]) -> None:
    from mmssl_cli.console.tables import metrics_table, show, warm_cold_tables

    first = next(iter(results.values()))
    seeds = ", ".join(str(record["seed"]) for record in results.values())
    label = first.get("label") or first["model"]
    parts = [
        f"Test metrics of {label} on {first['dataset']}",
        beside_label(label, first.get("modalities")),  # a run of an older version does not say
        f"seed {seeds}" if len(results) == 1 else f"mean ± std over seeds {seeds}",
    ]
    show(metrics_table([record["test"] for record in results.values()], ", ".join(filter(None, parts))))
    for table in warm_cold_tables([record.get("warm_cold") or {} for record in results.values()]):
        print()
        show(table)
    print()
    for folder in results:
        say(f"Run     {folder}")
        for curves in ("curves.png", "curves.svg"):
            say(f"Curves  {folder / curves}")
