"""What every benchmark's command line shares: common flags, JSON or a table, and the look of tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from benchmarks.environment import describe_machine
from benchmarks.timing import Quartiles
from mmssl_cli.training.loop import pick_device
from pipelines.errors import MmsslError

Report = dict[str, Any]


def parser_for(doc: str | None, *flags: str) -> argparse.ArgumentParser:
    """A parser with ``--json`` and those of ``threads``, ``device`` and ``set`` that are asked for."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    if "threads" in flags:
        parser.add_argument("--threads", type=int, default=0, help="CPU threads; PyTorch's choice by default")
    if "device" in flags:
        parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    if "set" in flags:
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the model; repeatable"
        )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser


def add_numbers(parser: argparse.ArgumentParser, **defaults: int) -> None:
    """A flag of a whole number for each name."""
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Report],
    table: Callable[[Report], str],
) -> None:
    """Parse, measure, and print a table or JSON; what cannot be measured ends the program with a sentence."""
    options = parser.parse_args(arguments)
    device = getattr(options, "device", "cpu")
    if getattr(options, "threads", 0):
        torch.set_num_threads(options.threads)
    try:
        pick_device(device)
        report = {"machine": describe_machine(device), **measure(options)}
    except MmsslError as problem:
        parser.error(str(problem))
    print(json.dumps(report, indent=2) if options.json else "\n".join([listed(report["machine"]), table(report)]))


def settings_given(pairs: Sequence[str]) -> dict[str, str]:
    """The settings of ``--set``, by name."""
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}


def listed(values: Mapping[str, object]) -> str:
    """Names with values, on one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def spread(quartiles: Quartiles, digits: int = 3) -> str:
    """A median with its quartiles."""
    low, median, high = (f"{quartiles[name]:.{digits}f}" for name in ("low", "median", "high"))
    return f"{median} ({low} to {high})"


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a head: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([f"{row[0]:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)
