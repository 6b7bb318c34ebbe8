"""Seconds until a command ends: those that compute nothing, a preparation with nothing to do, the start of a training.

Each command is a process of its own, in a new folder with the demo and ``--runs`` finished runs of it. Of the training,
the wall seconds end where its first epoch begins, and the processor seconds are of all of it. ``--prep`` adds a
preparation, such as one with large encoders; it is made once before it is timed.

Example: python -m benchmarks.bench_start --prep "my-shop --interactions /data/clicks.csv --items /data/items.csv"
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import mmssl_cli
from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.timing import quartiles
from pipelines.errors import UsageError

#: Wall and processor seconds.
Taken = tuple[float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__)
    parser.add_argument("--prep", action="append", default=[], metavar="WORDS", help="arguments of `mmssl prep`")
    add_numbers(parser, runs=100, repeats=5)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return wall and processor seconds of every command, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _begin(folder, options)
        timed: dict[str, Callable[[], Taken]] = {
            "--help": partial(_command, folder, "--help"),
            "models": partial(_command, folder, "models"),
            "datasets": partial(_command, folder, "datasets"),
            f"runs, {options.runs} finished": partial(_command, folder, "runs"),
            **{f"prep {words}, nothing to do": partial(_prep, folder, words) for words in ("demo", *options.prep)},
            "train --dataset demo, until its first epoch": partial(_training, folder),
        }
        taken = [{what: work() for what, work in timed.items()} for _ in range(options.repeats)]
    results = []
    for what in timed:
        wall, processor = zip(*(turn[what] for turn in taken), strict=True)
        results.append({"what": what, "seconds": quartiles(wall), "processor_seconds": quartiles(processor)})
    return {"results": results}


def _prep(folder: Path, words: str) -> Taken:
    return _command(folder, "prep", *shlex.split(words))


def _begin(folder: Path, options: argparse.Namespace) -> None:
    """Prepare the data sets, and make the finished runs."""
    for words in ("demo", *options.prep):
        _prep(folder, words)
    _command(folder, "train", "--model", "pop", "--dataset", "demo")
    [made] = (folder / "runs").glob("*-demo-pop-*")
    for number in range(1, options.runs):
        shutil.copytree(made, made.with_name(f"{made.name}-{number + 1}"))


def _start(folder: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(mmssl_cli.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "mmssl_cli", *words]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload]


def _command(folder: Path, *words: str) -> Taken:
    """Run a command to its end.

    Raises:
        UsageError: it fails.
    """
    before, started = _processor(), time.perf_counter()
    process = _start(folder, words)
    _, said = process.communicate()
    wall = time.perf_counter() - started
    if process.returncode:
        raise UsageError(f"`mmssl {' '.join(words)}` failed: {said.strip()}")
    return wall, _processor() - before


def _training(folder: Path) -> Taken:
    """Train one epoch of the demo; return the wall seconds before it, and the processor seconds of all."""
    before, started = _processor(), time.perf_counter()
    process = _start(folder, ("train", "--dataset", "demo", "--epochs", "1"))
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            break
    wall = time.perf_counter() - started
    process.stderr.read()
    process.wait()
    [made] = (folder / "runs").glob("*-demo-mmssl-*")
    epoch = next(record for record in map(json.loads, (made / "log.jsonl").open()) if record["event"] == "epoch")
    whole = _processor() - before
    shutil.rmtree(made)
    return wall - epoch["seconds"], whole


def _processor() -> float:
    """Processor seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
