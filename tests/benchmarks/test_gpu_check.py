"""The script for a user's own GPU: it runs whole in small, and its table and exit code judge what its parts did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu_table, one_step, workload
from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu_check.sh"
needs_timeout = pytest.mark.skipif(not (shutil.which("bash") and shutil.which("timeout")), reason="needs coreutils")


def _check(*flags: object, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    words = ["bash", str(SCRIPT), *map(str, flags)]
    environment = {**os.environ, "PYTHON": python}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
@needs_timeout
def test_the_script_runs_whole_in_small_on_the_cpu(demo: Path, tmp_path: Path) -> None:
    done = _check("--device", "cpu", "--quick", "--data", demo, "--out", tmp_path / "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("recorded-steps", "one-step", "epoch", "models", "ranking", "size"):
        assert f"\n{part} " in done.stdout, done.stdout
        assert (tmp_path / "kept" / f"{part}.out").is_file()
    for words in (
        "passed",
        "gradient, relative difference",
        "an epoch",
        "  lightgcn",
        "bare product",
        "recommend --all",
    ):
        assert words in done.stdout, done.stdout
    assert "out of time" not in done.stdout and "failed" not in done.stdout


@needs_timeout
def test_a_part_that_fails_stops_no_other(tmp_path: Path) -> None:
    python = tmp_path / "python"  # in place of an interpreter with a GPU
    python.write_text('#!/bin/sh\necho "$@"\n[ "$2" != benchmarks.bench_models ] || exit 3\n')
    python.chmod(0o755)
    done = _check("--out", tmp_path / "kept", "--data", tmp_path, python=str(python))
    parts = [line.split()[:2] for line in (tmp_path / "kept" / "parts").read_text().splitlines()]
    epochs = ["epoch", "epoch-recorded", "epoch-tf32", "epoch-bfloat16"]
    assert parts == [[name, "3" if name == "models" else "0"] for name in
                     ("recorded-steps", "one-step", *epochs, "models", "ranking", "size")]  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == f"-m benchmarks.gpu_table {tmp_path / 'kept'}"
    recorded = (tmp_path / "kept" / "epoch-recorded.out").read_text()
    assert f"--device cuda --json --data {tmp_path} " in recorded and recorded.endswith("--set cuda-graph=true\n")


@needs_timeout
@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_the_script_says_so_in_one_sentence() -> None:
    done = _check()
    assert done.returncode != 0 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "needs a CUDA GPU" in done.stderr


@needs_timeout
@pytest.mark.parametrize("flags", [["--device", "tpu"], ["--data"], ["--fast"]])
def test_flags_that_do_not_exist_are_refused(flags: list[str]) -> None:
    done = _check(*flags)
    assert done.returncode == 2 and done.stderr.startswith("usage: gpu_check.sh")


MACHINE = {"machine": {"device": "Some GPU"}}
MEASURED = {**MACHINE, "results": [{"model": "mf", "seconds": {"low": 1, "median": 2, "high": 3}}]}
AGREES: dict[str, Any] = {**MACHINE, "differences": {"losses": 1e-7}, "agree": True}


@pytest.mark.parametrize(
    ("part", "code", "report", "state", "exit_code"),
    [
        ("models", 0, MEASURED, "measured", 0),
        ("models", 124, None, "out of time", 0),
        ("models", 1, None, "failed", 1),
        ("one-step", 0, AGREES, "passed", 0),
        ("one-step", 0, {**AGREES, "agree": False}, "failed", 1),
        ("one-step", 137, None, "out of time", 1),
    ],
)
def test_checks_that_do_not_pass_and_benchmarks_that_break_are_told_by_the_exit_code(
    part: str, code: int, report: dict[str, Any] | None, state: str, exit_code: int,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "parts").write_text(f"ranking 0 3\n{part} {code} 7\n")
    (tmp_path / "ranking.out").write_text(json.dumps({**MACHINE, "results": []}))
    (tmp_path / f"{part}.out").write_text(json.dumps(report) if report else "")
    (tmp_path / f"{part}.log").write_text("a warning\nthe last words\n")
    assert gpu_table.main([str(tmp_path)]) == exit_code
    shown = capsys.readouterr().out
    assert "device Some GPU" in shown.splitlines()[0] and shown.startswith("date 2")
    assert any(line.split()[:2] == [part, "7"] and line.endswith(state) for line in shown.splitlines())
    assert ("the last words" in shown) == (report is None or state == "failed")


def test_one_step_on_two_devices_agrees_and_another_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"users": 40, "items": 30, "interactions": 160, "test_users": 20, "feature_dims": (6, 6)}
    monkeypatch.setattr(workload, "SIZES", sizes)
    monkeypatch.setattr(workload, "PREPARED", workload.PREPARED / "not there")
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(one_step, "run", lambda parser, given, measure: seen.append(measure(parser.parse_args(given))))
    one_step.main(["--repeats", "1"])
    right, calls = one_step._gradient, []

    def wrong(*given: Any) -> Any:
        losses, gradient = right(*given)
        calls.append(given)
        return losses, gradient * (1.01 if len(calls) == 2 else 1)

    monkeypatch.setattr(one_step, "_gradient", wrong)
    one_step.main(["--repeats", "1"])
    first, second = seen
    assert first["agree"] and len(first["results"]) == 2
    assert not second["agree"] and second["differences"]["gradient"] == pytest.approx(0.01, rel=1e-3)
