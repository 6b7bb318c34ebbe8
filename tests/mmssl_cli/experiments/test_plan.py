"""Plans of runs: what is there already, what is damaged, what is trained, and how a plan goes on after a mishap."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.plan import PlanReporter
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.executor import Engine, Outcome
from mmssl_cli.experiments.plan import PlannedRun, RunIndex, distinct, over_seeds, total_seconds
from mmssl_cli.experiments.workers.local import LocalPool
from mmssl_cli.experiments.workers.pool import Message, Send
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import list_runs
from mmssl_cli.runs.results import configurations, finished_runs
from mmssl_cli.training.trainer import train_run
from pipelines.errors import InputError
from tests.conftest import ROOT
from tests.helpers.model_cases import write_toy
from tests.helpers.training_cases import toy_settings

Trained = Callable[..., RunFolder]


def toy(**changed: Any) -> TrainSettings:
    return toy_settings(**{"epochs": 2, **changed})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Train a toy run in this process."""
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path / "data")

    def train(**changed: Any) -> RunFolder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
            return RunFolder.open(train_run(toy(**changed), Path("data"), Path("runs"), reporter=Reporter()).folder)

    return train


def survey(plan: Sequence[TrainSettings], data_dir: Path, runs_dir: Path) -> list[PlannedRun]:
    store = RunIndex(runs_dir)
    return [store.find(settings, data_dir) for settings in plan]


def status_of(settings: TrainSettings) -> str:
    return survey([settings], Path("data"), Path("runs"))[0].status


def carry_out(*plan: TrainSettings, reporter: PlanReporter | None = None, jobs: int = 1) -> list[Outcome]:
    engine = Engine(Path("data"), Path("runs"), jobs)
    return engine.carry_out(survey(plan, Path("data"), Path("runs")), reporter or PlanReporter())


class Watcher(PlanReporter):
    """Keeps what it is told, and does something at an epoch."""

    def __init__(self, at_epoch: Callable[[int], None] = lambda epoch: None) -> None:
        self.at_epoch = at_epoch
        self.first_epochs: dict[int, int] = {}
        self.waited: list[str] = []
        self.messages: list[str] = []

    def started(self, number: int, info: Mapping[str, Any]) -> None:
        self.first_epochs[number] = info["first_epoch"]

    def epoch(self, number: int, record: Mapping[str, Any]) -> None:
        self.at_epoch(record["epoch"])

    def locked(self, number: int, why: str) -> None:
        self.waited.append(why)

    def message(self, text: str) -> None:
        self.messages.append(text)


def test_seeds_follow_each_other_and_a_run_is_planned_once() -> None:
    plan = over_seeds(toy(seed=7), 3)
    assert [settings.seed for settings in plan] == [7, 8, 9]
    named = dict(zip("abcdef", [*plan, plan[1], toy(seed=8, device="auto"), toy(seed=8, lr=0.5)], strict=True))
    assert distinct(named) == {"a": plan[0], "b": plan[1], "c": plan[2], "f": toy(seed=8, lr=0.5)}


def test_a_finished_run_stands_whatever_device_is_asked_for(trained: Trained) -> None:
    run = trained()
    planned = survey([toy(device="auto")], Path("data"), Path("runs"))[0]
    assert planned.status == "finished" and planned.folder is not None and planned.folder.id == run.id
    assert planned.run is not None and planned.run.test == run.read_result()["test"]
    assert [status_of(toy(seed=1)), status_of(toy(lr=0.5))] == ["missing", "missing"]


@pytest.mark.parametrize("name", ["metrics.parquet", "per_user.parquet", "model.safetensors", "result.json"])
def test_a_damaged_run_is_named_and_does_not_count(trained: Trained, name: str) -> None:
    run = trained()
    data = (run.path / name).read_bytes()
    (run.path / name).write_bytes(data[: len(data) // 2])
    planned = survey([toy()], Path("data"), Path("runs"))[0]
    assert planned.status == "missing"
    named = [summary.id for summary in RunIndex(Path("runs")).damaged] if name == "result.json" else planned.problems
    assert len(named) == 1 and run.id in named[0]
    runs, problems = finished_runs(Path("runs"))
    assert runs == [] and len(problems) == 1 and run.id in problems[0] and "damaged" in problems[0]


def test_a_run_on_other_data_does_not_count(trained: Trained, tmp_path: Path) -> None:
    run = trained()
    write_toy(tmp_path / "data", held_out_seed=5)
    planned = survey([toy()], Path("data"), Path("runs"))[0]
    assert planned.status == "missing" and run.id in planned.problems[0]


def test_a_run_that_is_being_trained_or_was_cut_off_is_told_apart(trained: Trained) -> None:
    run = trained()
    (run.path / "result.json").unlink()
    assert status_of(toy()) == "interrupted"
    run.append_log({"event": "failed", "problem": "no memory"})
    assert status_of(toy()) == "interrupted" and list_runs(Path("runs"))[0].status == "failed"
    with run.lock():
        assert status_of(toy()) == "running"


def test_configurations_hold_the_seeds_of_one_setting(trained: Trained) -> None:
    for seed in (3, 1):
        trained(seed=seed)
    other = trained(lr=0.5)
    runs, problems = finished_runs(Path("runs"), "toy")
    assert problems == []
    first, second = sorted(configurations(runs), key=lambda one: len(one.runs))
    assert [run.id for run in first.runs] == [other.id] and second.seeds == (1, 3)
    per_user = [run.per_user.set_index("user")["recall@5"] for run in second.runs]
    assert second.per_user("recall@5").tolist() == pytest.approx(((per_user[0] + per_user[1]) / 2).tolist())
    with pytest.raises(InputError, match="did not measure recall@20"):
        second.per_user("recall@20")
    assert finished_runs(Path("runs"), "another") == ([], [])


def test_the_time_of_a_run_is_that_of_those_most_like_it(trained: Trained) -> None:
    trained(seed=1)
    alike = trained(seed=2, lr=0.5)
    each = alike.read_result()["seconds_per_epoch"]
    store = RunIndex(Path("runs"))
    expected = store.seconds(PlannedRun(toy(seed=9, lr=0.5, epochs=10), "missing"))
    begun = store.seconds(PlannedRun(toy(seed=9, lr=0.5, epochs=10), "interrupted", epochs=8))
    assert expected is not None and begun is not None and expected - begun == pytest.approx(8 * each)
    assert store.seconds(PlannedRun(toy(model="lightgcn"), "missing")) is None
    assert store.seconds(PlannedRun(toy(seed=1), "finished")) == 0


def test_a_plan_takes_no_less_than_its_longest_run() -> None:
    assert total_seconds([10, 20, 30], 1) == 60 and total_seconds([10, 20, 30], 8) == 30
    assert total_seconds([10, 20, 30], 2) == 30 and total_seconds([10, None], 2) is None
    assert total_seconds([], 2) == 0


def test_a_plan_trains_what_is_missing_and_ends_with_the_numbers_of_train(trained: Trained, tmp_path: Path) -> None:
    expected = [trained(seed=seed).read_result()["test"] for seed in (1, 2)]
    shutil.rmtree("runs")
    outcomes = carry_out(toy(seed=1), toy(seed=2), jobs=2)
    assert [outcome.run.test for outcome in outcomes if outcome.run is not None] == expected
    again = carry_out(toy(seed=1), toy(seed=2))
    assert all(outcome.reused for outcome in again) and len(list(Path("runs").glob("[!.]*"))) == 2


def test_a_run_that_fails_does_not_stop_the_others(trained: Trained) -> None:
    trained(seed=8)  # so that the data are there
    diverging = toy(model="lightgcn", lr=1e30, epochs=3)
    outcomes = carry_out(diverging, toy(seed=1))
    failed, sound = outcomes
    assert failed.run is None and failed.problem and failed.log is not None and "diverged" in failed.log.read_text()
    assert sound.run is not None and sound.run.seed == 1
    again = carry_out(diverging)[0]
    assert again.run is None and "It would do so again" in again.problem


LONG = {"seed": 1, "epochs": 40, "patience": 40}


def test_a_process_that_is_killed_fails_its_run_alone_and_the_next_plan_resumes_it(trained: Trained) -> None:
    expected = trained(**LONG).read_result()["test"]
    shutil.rmtree("runs")
    killed_once: list[int] = []

    def kill(epoch: int) -> None:
        if epoch == 2 and not killed_once:
            for child in multiprocessing.active_children():
                killed_once.append(child.pid or 0)
                os.kill(child.pid or 0, signal.SIGKILL)

    killed, sound = carry_out(toy(**LONG), toy(seed=2), reporter=Watcher(kill))
    assert killed.run is None and "SIGKILL" in killed.problem and killed.log is not None
    assert sound.run is not None
    watcher = Watcher()
    [resumed] = carry_out(toy(**LONG), reporter=watcher)
    assert resumed.run is not None and resumed.run.test == expected and watcher.first_epochs[0] > 1


def test_after_ctrl_c_the_same_plan_goes_on_to_the_same_numbers(trained: Trained) -> None:
    expected = trained(**LONG).read_result()["test"]
    shutil.rmtree("runs")

    def interrupt(epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(toy(**LONG), reporter=Watcher(interrupt))
    assert multiprocessing.active_children() == []
    watcher = Watcher()
    [outcome] = carry_out(toy(**LONG), reporter=watcher)
    assert outcome.run is not None and outcome.run.test == expected and watcher.first_epochs[0] > 1
    assert len(list(Path("runs").glob("[!.]*"))) == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("signalled", ["SIGINT", "SIGKILL"])
def test_workers_end_with_their_command_and_leave_a_checkpoint(tmp_path: Path, signalled: str) -> None:
    write_toy(tmp_path / "data")
    small = ["--dataset", "toy", "--model", "mf", "--embedding-dim", "8", "--epochs", "9999", "--patience", "9999"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mmssl_cli", "train", *small, "--ks", "5", "--select-on", "recall@5", "--jobs", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = _wait_for(
        lambda: next((p for p in tmp_path.glob("runs/*/log.jsonl") if '"event": "epoch"' in p.read_text()), None)
    )
    trainer = int((log.parent / "lock").read_text())
    assert trainer != process.pid
    if signalled == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(60) == 130
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    else:
        process.kill()
        process.wait(60)
    _wait_for(lambda: not Path(f"/proc/{trainer}").exists())
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "interrupted"
    assert (log.parent / "state.pt").exists()


def _wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("nothing happened")


def test_the_cores_are_shared_among_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmssl_cli.experiments.workers.local._cores", lambda: 6)
    with LocalPool(3) as pool:
        for key in range(2):
            pool.submit(key, threads_of_worker)
        assert not pool.is_idle and pool.has_room
        found: dict[int, int] = {}
        while not pool.is_idle:
            found |= {key: content for key, kind, content in pool.poll() if kind == "threads"}
    assert found == {0: 2, 1: 2}


def threads_of_worker(send: Send) -> Message:
    return "threads", torch.get_num_threads()


def test_a_run_that_another_process_trains_is_waited_for(trained: Trained) -> None:
    run = trained(seed=1)
    result = (run.path / "result.json").read_bytes()
    (run.path / "result.json").unlink()
    lock = run.lock()
    lock.__enter__()

    class Other(Watcher):
        def locked(self, number: int, why: str) -> None:
            super().locked(number, why)
            (run.path / "result.json").write_bytes(result)  # the other process is done
            lock.__exit__(None, None, None)

    watcher = Other()
    [outcome] = carry_out(toy(seed=1), reporter=watcher)
    assert outcome.run is not None and outcome.run.id == run.id
    assert len(watcher.waited) == 1 and run.id in watcher.waited[0] and watcher.first_epochs == {}


def test_a_checkpoint_that_is_damaged_is_named_and_the_run_trained_anew(trained: Trained) -> None:
    run = trained(seed=1)
    (run.path / "result.json").unlink()
    (run.path / "state.pt").write_bytes(b"no checkpoint")
    watcher = Watcher()
    [outcome] = carry_out(toy(seed=1), reporter=watcher)
    assert outcome.run is not None and outcome.run.id != run.id
    assert any(run.id in message and "trained anew" in message for message in watcher.messages)
