"""`torchrun ... -m mmssl_cli train --distributed`: one run by two processes, as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from mmssl_cli.config import merge_settings
from mmssl_cli.console.training import Reporter
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.training.trainer import train_run
from tests.conftest import ROOT, Answer
from tests.helpers.training_cases import numbers

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mmssl_cli"]
RESUME = "Resume with: torchrun --nproc-per-node 2 -m mmssl_cli train --distributed --resume"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As each of the two processes has: another number rounds differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answer(started: subprocess.Popen[str]) -> Answer:
    out, err = started.communicate(timeout=600)
    return Answer(started.returncode, out, err)


def _alone(demo: Path, runs: Path, **settings: Any) -> RunFolder:
    given = merge_settings({"dataset": "demo", "device": "cpu", **settings})
    return RunFolder.open(train_run(given, demo.parent, runs, reporter=Reporter()).folder)


def _assert_same(one: RunFolder, other: RunFolder, tolerance: float) -> None:
    columns = [name for name in one.read_metrics() if "discriminator" not in name]
    tables = [numbers(run.read_metrics()[columns]) for run in (one, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=False, rtol=1e-3, atol=tolerance)
    tests = [run.read_result()["test"] for run in (one, other)]
    assert tests[0] == pytest.approx(tests[1], abs=max(tolerance, 1e-3))
    weights = [run.load_model() for run in (one, other)]
    for name, value in weights[0].items():
        if not name.startswith("adversary"):  # it brings rounding to the third digit within an epoch, also alone
            torch.testing.assert_close(weights[1][name], value, rtol=tolerance, atol=tolerance)


def test_two_processes_train_the_run_of_one(tmp_path: Path, demo: Path) -> None:
    flags = ["--dataset", "demo", "--epochs", 1, "--device", "cpu", "--data-dir", demo.parent, "--json"]
    answer = _answer(_start(tmp_path, "train", "--distributed", *flags))

    assert answer.code == 0, answer.err
    [shown] = json.loads(answer.out)["runs"]  # one process speaks
    assert answer.err.count("Training mmssl") == 1
    [folder] = (tmp_path / "runs").iterdir()
    run = RunFolder.open(folder)
    assert run.read_result()["device"].startswith("2 x cpu") and shown["run"] == run.id
    _assert_same(run, _alone(demo, tmp_path / "alone", epochs=1), 1e-4)


def _wait_for(found: Callable[[], Any]) -> Any:
    for _ in range(3000):
        if answer := found():
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not happen within five minutes")


def _processes_of(torchrun: int) -> Iterator[tuple[int, int]]:
    """The number and the process id of each process that torchrun started."""
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        told = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        yield from ((int(value[5:]), int(child)) for value in told if value.startswith(b"RANK="))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_a_process_that_dies_ends_all_and_the_run_can_be_resumed(tmp_path: Path, demo: Path) -> None:
    flags = ["--data-dir", demo.parent, "--device", "cpu"]
    begun = _start(tmp_path, "train", "--distributed", "--dataset", "demo", "--model", "mf", "--epochs", 2000, *flags)
    state = _wait_for(lambda: begun.poll() is not None or list(tmp_path.glob("runs/*/state.pt")))
    assert begun.poll() is None, begun.communicate()
    os.kill(dict(_processes_of(begun.pid))[1], signal.SIGKILL)
    died = _answer(begun)

    run = RunFolder.open(state[0].parent)
    assert died.code != 0 and not run.is_over() and not run.is_locked()
    assert f"{RESUME} {run.id}" in died.words, died.err
    assert "bug" not in died.err
    done = len(run.read_metrics())

    resumed = _answer(_start(tmp_path, "train", "--distributed", "--resume", run.id, "--epochs", done + 2, *flags))
    assert resumed.code == 0, resumed.err
    _assert_same(run, _alone(demo, tmp_path / "alone", model="mf", epochs=done + 2), 1e-3)


def test_the_flag_wants_torchrun_and_torchrun_the_flag(
    cli: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = cli("train", "--distributed")
    assert answer.code == 2 and "torchrun --nproc-per-node 2 -m mmssl_cli train --distributed" in answer.words

    told = {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "a"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    answer = cli("train")
    assert answer.code == 2 and "torchrun started 4 processes" in answer.words
    for flags in (["--runs", 2], ["--continue"]):
        answer = cli("train", "--distributed", *flags)
        assert answer.code == 2 and "--distributed trains one run" in answer.words

    monkeypatch.setenv("RANK", "3")
    answer = cli("train")
    assert answer.code == 2 and not answer.words.strip()
