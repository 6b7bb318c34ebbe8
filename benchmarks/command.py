"""Command line shared by the benchmarks: common flags, child processes, and reports as JSON or as tables."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import Quartiles
from mmssl_cli.training.loop import pick_device
from pipelines.errors import MmsslError

#: Names -> text, a number, named numbers (on one line), or rows of a table.
Report = dict[str, Any]


def parser_for(doc: str | None, *flags: str) -> argparse.ArgumentParser:
    """Return a parser with ``--json`` and the requested flags of ``threads``, ``device`` and ``set``."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    if "threads" in flags:
        parser.add_argument("--threads", type=int, default=0, help="CPU threads; PyTorch's choice by default")
    if "device" in flags:
        parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    if "set" in flags:
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the model; repeatable"
        )
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser


def add_numbers(parser: argparse.ArgumentParser, **defaults: int) -> None:
    """Add a flag with an integer for each name."""
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Report],
    table: Callable[[Report], str] | None = None,
) -> None:
    """Parse, measure, and print tables or JSON; an error of ours ends the program with its message."""
    options = parser.parse_args(arguments)
    device = getattr(options, "device", "cpu")
    if getattr(options, "threads", 0):
        torch.set_num_threads(options.threads)
    try:
        pick_device(device)
        report = {"machine": describe_machine(device), **measure(options)}
    except MmsslError as problem:
        parser.error(str(problem))
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join([listed(report["machine"]), table(report)]) if table else shown(report))


def child(threads: int) -> ProcessPoolExecutor:
    """Return an executor with one process of its own, so that its peak memory is not that of an earlier measurement.

    It is forked from a server that has imported PyTorch and computed nothing, as PyTorch's threads do not survive a
    fork; without such servers it is spawned.
    """
    served = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if served:
        context.set_forkserver_preload(["benchmarks.workload", "mmssl_cli.models.mmssl.model"])
    return ProcessPoolExecutor(1, mp_context=context, initializer=_set_threads, initargs=(threads,))


def _set_threads(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Return the processor or GPU, cores, threads in use, current load, and versions."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(terse=True),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else []:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def settings_given(pairs: Sequence[str]) -> dict[str, str]:
    """Return the settings of ``--set``, by name."""
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}


def shown(report: Report) -> str:
    """Return a report as text: lists of rows as tables, everything else on one line each."""
    blocks = []
    for name, value in report.items():
        if isinstance(value, list):
            heads = list(dict.fromkeys(key for row in value for key in row))
            rows = [[_cell(key, row[key]) if key in row else "" for key in heads] for row in value]
            blocks.append("\n" + columns([_head(key) for key in heads], rows) + "\n")
        else:
            blocks.append(f"{_head(name)}: {_cell(name, value)}")
    return "\n".join(blocks)


def _head(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return spread(value) if set(value) == {"low", "median", "high"} else listed(value)
    if name.endswith("_bytes"):
        return f"{value / 1e9:.2f} GB"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(values: Mapping[str, object]) -> str:
    """Return names with values, on one line."""
    return ", ".join(f"{_head(name)} {_cell(name, value)}" for name, value in values.items())


def spread(quartiles: Quartiles | Mapping[str, float], digits: int | None = None) -> str:
    """Return a median with its quartiles; by default with three decimals, fewer above 10."""
    if digits is None:
        digits = max(0, 3 - len(f"{quartiles['median']:.0f}") + 1)
    low, median, high = (f"{quartiles[name]:.{digits}f}" for name in ("low", "median", "high"))
    return f"{median} ({low} to {high})"


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a head, the first column aligned left, the others right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([f"{row[0]:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)
