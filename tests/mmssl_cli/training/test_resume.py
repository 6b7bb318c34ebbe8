"""A run that was cut off, however it was, ends with the numbers of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch

from mmssl_cli.console.training import Reporter
from mmssl_cli.evaluation.metrics import evaluate_ranking
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import RunResult, resume_run, train_run
from pipelines.errors import InputError, MmsslError
from tests.conftest import ROOT
from tests.helpers.model_cases import write_toy
from tests.helpers.training_cases import numbers, toy_settings

FULL = {"model": "mmssl", "graph_refresh": 2, "discriminator_steps": 2}
CASES = {
    "mf": {"model": "mf", "negative_sampler": "popularity"},
    "lightgcn": {"model": "lightgcn", "user_sampling": "user", "evaluate_every": 2},
    "mmssl": FULL,
    "r/p-GAE": {"model": "mmssl", "variant": "r/p-GAE"},
    "averaged": {"model": "lightgcn", "weight_averaging": 0.9},
}


class Interrupter(Reporter):
    """Presses Ctrl-C after an epoch."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def epoch(self, record: Any) -> None:
        if record["epoch"] == self.after:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "data")


def _whole(tmp_path: Path, epochs: int = 5, **settings: Any) -> RunResult:
    given = toy_settings(**{"epochs": epochs, **settings})
    return train_run(given, tmp_path / "data", tmp_path / "whole", reporter=Reporter())


def _cut_off(tmp_path: Path, reporter: Reporter | None = None, epochs: int = 5, **settings: Any) -> Path:
    """The folder of a run that ended with Ctrl-C."""
    given = toy_settings(**{"epochs": epochs, **settings})
    with pytest.raises(KeyboardInterrupt):
        train_run(given, tmp_path / "data", tmp_path / "cut", reporter=reporter or Reporter())
    [folder] = (tmp_path / "cut").iterdir()
    return folder


def _resume(folder: Path, data_dir: Path, **overrides: Any) -> RunResult:
    torch.manual_seed(777)  # whatever this process did before is no part of the run
    return resume_run(folder, overrides, data_dir=data_dir, reporter=Reporter())


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, last state, metrics and results: the very same numbers."""
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    first, second = RunFolder.open(one), RunFolder.open(other)
    states = [run.read_state() for run in (first, second)]
    assert states[0]["epoch"] == states[1]["epoch"]
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name
    pd.testing.assert_frame_equal(numbers(first.read_metrics()), numbers(second.read_metrics()), check_exact=True)
    pd.testing.assert_frame_equal(first.read_per_user(), second.read_per_user(), check_exact=True)
    results = [run.read_result() for run in (first, second)]
    for key in ("status", "epochs", "best_epoch", "validation", "test"):
        assert results[0][key] == results[1][key], key


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_run_ends_with_the_same_numbers(tmp_path: Path, data_dir: Path, case: str, after: int) -> None:
    whole = _whole(tmp_path, **CASES[case])
    folder = _cut_off(tmp_path, Interrupter(after), **CASES[case])
    assert len(RunFolder.open(folder).read_metrics()) == after and not (folder / "result.json").exists()

    resumed = _resume(folder, data_dir)

    assert resumed.folder == folder
    assert_same_run(folder, whole.folder)


def test_the_costs_of_a_run_are_those_of_its_training(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([5, 9, 4, 3, 2, 1])  # bytes, after each epoch and at the end
    monkeypatch.setattr("mmssl_cli.training.trainer.peak_memory", lambda device: next(peaks))
    folder = _cut_off(tmp_path, Interrupter(2), epochs=3)
    assert _resume(folder, data_dir).record["peak_memory_bytes"] == 9
    monkeypatch.setattr("mmssl_cli.training.trainer.peak_memory", lambda device: 77)
    monkeypatch.setattr("mmssl_cli.training.trainer.device_name", lambda device: "another")
    again = _resume(folder, data_dir)
    assert again.record["peak_memory_bytes"] == 9 and again.record["device"] != "another"


def test_a_validation_for_the_end_alone_is_said_where_the_run_goes_on(tmp_path: Path, data_dir: Path) -> None:
    class Listener(Reporter):
        said: ClassVar[list[str]] = []

        def message(self, text: str) -> None:
            self.said.append(text)

    for epochs, expected in ((3, 1), (4, 0)):
        Listener.said.clear()
        settings = toy_settings(model="mf", epochs=epochs, evaluate_every=2)
        folder = train_run(settings, data_dir, tmp_path / str(epochs), reporter=Reporter()).folder
        resume_run(folder, {"epochs": epochs + 2}, data_dir=data_dir, reporter=Listener())
        assert sum(f"Epoch {epochs} was validated as the last" in text for text in Listener.said) == expected


def test_a_run_cut_off_in_its_first_epoch_starts_over(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _whole(tmp_path, **FULL)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "run_epoch", _interrupt)
        folder = _cut_off(tmp_path, **FULL)
    assert not (folder / "state.pt").exists()
    _resume(folder, data_dir)
    assert_same_run(folder, whole.folder)


def _score_by_largest(ranking: Any, train: CSR, *given: Any, **named: Any) -> tuple[dict[str, float], pd.DataFrame]:
    means, table = evaluate_ranking(ranking, train, *given, **named)
    largest = torch.cat([scores for _, _, scores in ranking(torch.arange(train.num_rows), 1, None)])
    return dict.fromkeys(means, float(largest.norm() / (1 + largest.norm()))), table  # a metric lies in [0, 1]


def _interrupt(*given: Any, **named: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [2, 5])
@pytest.mark.parametrize("write", ["save_model", "write_metrics", "write_state", "append_log", "write_result"])
def test_a_run_cut_off_between_two_files_ends_with_the_same_numbers(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, write: str, epoch: int
) -> None:
    # Embeddings grow: with their length for a score, every epoch is the best so far and its model is written.
    monkeypatch.setattr("mmssl_cli.training.epochs.evaluate_ranking", _score_by_largest)
    whole = _whole(tmp_path, model="lightgcn")
    assert whole.record["best_epoch"] == 5
    real, loops = getattr(RunFolder, write), []
    inner = TrainingLoop.run_epoch
    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "run_epoch", lambda loop: loops.append(loop) or inner(loop))

        def cut(run: RunFolder, *given: Any) -> Any:
            interrupts = write == "append_log" and given[0].get("event") == "interrupted"
            if loops and loops[-1].epoch >= epoch and not interrupts:
                raise KeyboardInterrupt
            return real(run, *given)

        patch.setattr(RunFolder, write, cut)
        folder = _cut_off(tmp_path, model="lightgcn")

    _resume(folder, data_dir)

    assert_same_run(folder, whole.folder)


def test_a_finished_run_can_be_resumed_for_more_epochs(tmp_path: Path, data_dir: Path) -> None:
    longer = _whole(tmp_path, epochs=6, **FULL)
    short = train_run(toy_settings(epochs=4, **FULL), data_dir, tmp_path / "short", reporter=Reporter())
    again = _resume(short.folder, data_dir)
    assert again.record["test"] == short.record["test"] and again.record["epochs"] == 4

    _resume(short.folder, data_dir, epochs=6)

    assert RunFolder.open(short.folder).settings().epochs == 6
    assert_same_run(short.folder, longer.folder)


def test_an_epoch_cut_off_before_its_state_and_not_trained_again_is_in_no_file(tmp_path: Path, data_dir: Path) -> None:
    run = RunFolder.open(train_run(toy_settings(epochs=3), data_dir, tmp_path / "run", reporter=Reporter()).folder)
    epochs = run.read_metrics()
    more = pd.concat([epochs, epochs[-1:].assign(epoch=4)])
    run.write_metrics(more.to_dict("records"))
    (run.path / "result.json").unlink()
    assert _resume(run.path, data_dir).record["epochs"] == 3
    pd.testing.assert_frame_equal(run.read_metrics(), epochs)


def test_patience_counts_on_after_a_resume(tmp_path: Path, data_dir: Path) -> None:
    whole = _whole(tmp_path, epochs=40, patience=3, lr=0.2)
    assert whole.record["status"] == "stopped"
    last = whole.record["epochs"] - 1
    folder = _cut_off(tmp_path, Interrupter(last), epochs=40, patience=3, lr=0.2)
    _resume(folder, data_dir)
    assert_same_run(folder, whole.folder)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_state_is_a_sentence_and_nothing_changes(tmp_path: Path, data_dir: Path, kept: float) -> None:
    folder = _cut_off(tmp_path, Interrupter(2))
    state = folder / "state.pt"
    whole = state.read_bytes()
    state.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=r"state\.pt is damaged or truncated; the run cannot be resumed from it"):
        _resume(folder, data_dir)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("broken", ["shape", "missing", "progress"])
def test_a_state_that_does_not_fit_is_a_sentence(tmp_path: Path, data_dir: Path, broken: str) -> None:
    folder = _cut_off(tmp_path, Interrupter(2))
    run = RunFolder.open(folder)
    state = run.read_state()
    if broken == "shape":
        state["model"]["users"] = torch.zeros(3, 3)
    elif broken == "missing":
        del state["sampler_random"]
    else:
        state["progress"]["unheard_of"] = 1
    run.write_state(state)
    with pytest.raises(InputError, match=r"state\.pt does not fit the run's settings"):
        _resume(folder, data_dir)


def test_a_data_set_that_was_prepared_again_otherwise_is_refused(tmp_path: Path, data_dir: Path) -> None:
    folder = _cut_off(tmp_path, Interrupter(2))
    write_toy(data_dir)  # the same data prepared again are the same data set
    _resume(folder, data_dir, epochs=3)
    write_toy(data_dir, held_out_seed=5)
    with pytest.raises(InputError, match=r"trained on another preparation of data set 'toy'"):
        _resume(folder, data_dir)


def test_a_missing_run_is_a_sentence(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        _resume(tmp_path / "nowhere", data_dir)


# --- as a user meets it: processes that are killed and interrupted -----------------------------------------------

COMMAND = {"epochs": 12, "embedding_dim": 16, "batch_size": 512, "graph_topk": 5, "ks": "10,20", "device": "cpu"}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Path]:
    from pipelines.prepare import prepare

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes below: sums of several threads round differently
    prepare("demo", data_dir=tmp_path / "data")
    yield tmp_path
    torch.set_num_threads(threads)


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mmssl_cli", "train", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 300
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.005)


def _epochs(runs: Path) -> int:
    """Epochs in the log of the only run."""
    return sum(path.read_text().count('"event": "epoch"') for path in runs.glob("*/log.jsonl"))


def test_sigterm_is_a_ctrl_c(tmp_path: Path, data_dir: Path) -> None:
    flags = "--model mf --dataset toy --embedding-dim 8 --ks 3,5 --select-on recall@5 --epochs 100000 --device cpu"
    running = _start(tmp_path, *flags.split(), "--patience", "100000")
    _wait_for(lambda: _epochs(tmp_path / "runs") >= 2, running)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=300)
    [folder] = (tmp_path / "runs").iterdir()
    assert running.returncode == 130, said
    assert said.endswith(f"Interrupted. Resume with: mmssl train --resume {folder.name}\n")
    assert '"event": "interrupted"' in (folder / "log.jsonl").read_text().splitlines()[-1]


@pytest.mark.slow
def test_kill_and_ctrl_c_lose_nothing(demo: Path) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in COMMAND.items()]
    killed = _start(demo, *flags)
    _wait_for(lambda: _epochs(demo / "runs") >= 2, killed)
    [folder] = (demo / "runs").iterdir()
    killed.send_signal(signal.SIGSTOP)  # it must not finish meanwhile
    with pytest.raises(MmsslError, match=f"being written by process {killed.pid}"):
        resume_run(folder, {}, data_dir=demo / "data", reporter=Reporter())
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.communicate()
    reached = len(RunFolder.open(folder).read_metrics())
    assert 2 <= reached < 12

    interrupted = _start(demo, "--resume", "latest")
    _wait_for(lambda: _epochs(demo / "runs") > reached, interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate(timeout=300)
    assert interrupted.returncode == 130, said
    assert f"Interrupted. Resume with: mmssl train --resume {folder.name}\n" in said
    assert "Traceback" not in said
    assert not (folder / "result.json").exists()

    last = _start(demo, "--resume", folder.name)
    said, problems = last.communicate(timeout=600)
    assert last.returncode == 0, problems
    assert "Recall" in said

    whole = train_run(RunFolder.open(folder).settings(), demo / "data", demo / "whole", reporter=Reporter())
    assert_same_run(folder, whole.folder)
