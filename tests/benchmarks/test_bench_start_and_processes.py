"""The benchmarks of what a user waits for, and of a training that several processes share out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_processes, bench_start


def test_commands_are_timed_from_their_start_to_their_end(capsys: pytest.CaptureFixture[str]) -> None:
    bench_start.main(["--runs", "2", "--repeats", "1", "--json"])
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)["results"]}
    first = ["--help", "models", "datasets", "runs, 2 finished", "prep demo, nothing to do"]
    assert list(rows) == [*first, "train --dataset demo, until its first epoch"]
    assert all(row["seconds"]["median"] > 0.01 and row["processor_seconds"]["median"] > 0.01 for row in rows.values())


def test_a_command_that_fails_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_start.main(["--prep", "nope"])
    assert "`mmssl prep nope` failed: " in capsys.readouterr().err


def test_one_process_and_each_of_two(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(demo), "--models", "lightgcn", "--batch-sizes", "256", "--steps", "2", "--json"]
    bench_processes.main(flags)
    report = json.loads(capsys.readouterr().out)
    assert [(row["model"], row["batch"], row["what"]) for row in report["results"]] == [
        ("lightgcn", 256, "step"),
        ("lightgcn", 256, "evaluation"),
    ]
    for row in report["results"]:
        assert row["one"] > 0 and row["factor"] == pytest.approx(row["one"] / row["each"])
