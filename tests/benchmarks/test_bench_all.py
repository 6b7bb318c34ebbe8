"""`python -m benchmarks` starts every benchmark with flags that it takes, and says so when one fails."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks import __main__ as all_of_them
from benchmarks.command import columns, settings_given, shown, spread
from benchmarks.timing import in_turn, quartiles


class Parsed(Exception):
    """The flags were understood."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the benchmarks, none of which is run; the third fails."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, int(len(commands) == 3), json.dumps({"command": command}))

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_every_benchmark_takes_the_flags_it_is_given(started: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_: object) -> NoReturn:
        raise Parsed

    all_of_them.main(["--quick", "--threads", "1", "--data", "somewhere", "--json"])
    there = {path.stem for path in Path(all_of_them.__file__).parent.glob("bench_*.py")}
    there -= {"bench_mmrec", "bench_parity"}  # they need another program
    assert {command[2].removeprefix("benchmarks.") for command in started} == there
    for command in list(started):  # what is imported may start programs too
        module = importlib.import_module(command[2])
        monkeypatch.setattr(module, "measure", parsed)
        with pytest.raises(Parsed):
            module.main(command[3:])


def test_one_that_fails_is_left_out_of_the_report(started: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert all_of_them.main(["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert set(all_of_them.BENCHMARKS) - set(report) == {list(all_of_them.BENCHMARKS)[2]}


def test_turns_leave_out_the_first_and_keep_what_belongs_together() -> None:
    order: list[str] = []
    taken = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4
    assert {name: len(values) for name, values in taken.items()} == {"a": 3, "b": 3}


def test_the_look_of_tables() -> None:
    assert quartiles([1, 2, 3, 4, 5]) == {"low": 2, "median": 3, "high": 4}
    assert spread(quartiles([1, 2, 3, 4, 5]), 1) == "3.0 (2.0 to 4.0)"
    assert spread(quartiles([1234, 1235, 1236])) == "1235 (1234 to 1236)"
    rows = [
        {"what": "a", "seconds": quartiles([0.5])},
        {"what": "b", "peak_bytes": 2_500_000_000, "ratio_to_bare": 1 / 3},
    ]
    assert shown({"machine": {"cores": 2, "load": 0.5}, "results": rows}).splitlines() == [
        "machine: cores 2, load 0.5",
        "",
        "what                 seconds     peak  ratio to bare",
        "a     0.500 (0.500 to 0.500)",
        "b                             2.50 GB         0.3333",
    ]
    assert columns(("", "one"), [("first", "1"), ("x", "22.5")]) == "        one\nfirst     1\nx      22.5"
    assert settings_given(["batch-size = 8", "loss=bpr"]) == {"batch_size": "8", "loss": "bpr"}
