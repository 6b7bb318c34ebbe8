"""Plans of runs on a Ray cluster of several nodes: the results of the local engine, whatever dies on the way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.plan import PlanReporter
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.executor import Engine, Outcome
from mmssl_cli.experiments.plan import RunIndex
from mmssl_cli.experiments.workers.ray import RayPool
from mmssl_cli.runs.folder import MODEL, RunFolder
from mmssl_cli.training.trainer import fit, resume_run, train_run
from pipelines.errors import InputError
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy
from tests.helpers.ray_cases import parent_of, ray_cluster
from tests.helpers.training_cases import toy_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as started:
        yield started


@pytest.fixture(autouse=True)
def _as_a_node_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On one thread, since the order of sums is another with more; in an empty folder, without drawings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


def toy(**changed: Any) -> TrainSettings:
    return toy_settings(**{"epochs": 40, "patience": 40, "ks": (5,), **changed})


def on_cluster(cluster: Any, *plan: TrainSettings, reporter: PlanReporter | None = None) -> list[Outcome]:
    data, runs = Path("data"), Path("runs")
    files = (data / "toy/manifest.json",)
    pool = partial(RayPool, address=cluster.address, gpus=None, files=files, folder=runs, on_progress=lambda text: None)
    store = RunIndex(runs)
    planned_runs = [store.find(settings, data) for settings in plan]
    return Engine(data, runs, jobs=2, pool=pool).carry_out(planned_runs, reporter or PlanReporter())


def weights_here(settings: TrainSettings, data: Path = Path("data")) -> bytes:
    """Those of the run trained in this process."""
    return (train_run(settings, data, Path("here"), reporter=Reporter()).folder / MODEL).read_bytes()


def weights(outcome: Outcome) -> bytes:
    assert outcome.run is not None, outcome.problem
    return (outcome.run.folder.path / MODEL).read_bytes()


class Watcher(PlanReporter):
    """Does something once, when a run is done with its second epoch."""

    def __init__(self, act: Callable[[RunFolder], None]) -> None:
        self._act: Callable[[RunFolder], None] | None = act
        self._folders: dict[int, RunFolder] = {}
        self.first_epochs: dict[int, list[int]] = {}
        self.tried_again: list[str] = []

    def started(self, number: int, info: Mapping[str, Any]) -> None:
        self._folders[number] = RunFolder(Path("runs") / info["run"])
        self.first_epochs.setdefault(number, []).append(info["first_epoch"])

    def epoch(self, number: int, record: Mapping[str, Any]) -> None:
        if record["epoch"] >= 2 and self._act is not None:
            act, self._act = self._act, None
            act(self._folders[number])

    def again(self, number: int, why: str) -> None:
        self.tried_again.append(why)


def test_the_command_line_gives_the_weights_of_this_process(
    cluster: Any, cli: Callable[..., Answer], demo: Path
) -> None:
    flags = ("--dataset", "demo", "--data-dir", demo.parent, "--epochs", 1, "--embedding-dim", 8, "--device", "cpu")
    engine = ("--jobs", 2, "--engine", "ray", "--address", cluster.address)
    answer = cli("compare", "--models", "mmssl,mf", *flags, *engine, "--json")
    assert answer.code == 0, answer.err
    assert "Ray cluster of 3 nodes, 2 CPUs; each run has 1 CPU" in answer.words
    assert len(json.loads(answer.out)["tables"][0]["rows"]) >= 2  # nothing of Ray's on standard output
    runs = [RunFolder(path) for path in Path("runs").iterdir()]  # and nothing else in the folder of the runs
    assert {run.settings().model for run in runs} == {"mmssl", "mf"}
    for run in runs:
        assert (run.path / MODEL).read_bytes() == weights_here(run.settings(), demo.parent)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_trial_gets_the_score_of_this_process(cluster: Any, cli: Callable[..., Answer], tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    Path("ranges.toml").write_text("lr = { low = 1e-3, high = 1e-1, log = true }\n")
    flags = ("--dataset", "toy", "--embedding-dim", 8, "--batch-size", 32, "--epochs", 2, "--ks", 5, "--device", "cpu")
    engine = ("--engine", "ray", "--address", cluster.address)
    answer = cli(
        "tune", "mf", *flags, "--select-on", "recall@5", "--ranges", "ranges.toml", "--trials", 2, "--json", *engine
    )
    assert answer.code == 0, answer.err
    trials = json.loads(answer.out)["trials"]
    assert len(trials) == 2
    for trial in trials:
        state, _ = fit(toy(epochs=2, **trial["drawn"]), Path("data"), lambda epoch, score: True)
        assert trial["score"] == state.best_score


def test_after_ctrl_c_the_run_is_checkpointed_and_goes_on_to_the_same_weights(cluster: Any, tmp_path: Path) -> None:
    write_toy(tmp_path / "data")

    def interrupt(run: RunFolder) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_cluster(cluster, toy(), reporter=Watcher(interrupt))
    [folder] = Path("runs").glob("[!.]*")
    assert json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["event"] == "interrupted"
    resumed = resume_run(folder, {}, data_dir=Path("data"), reporter=Reporter())
    assert (resumed.folder / MODEL).read_bytes() == weights_here(toy())


def test_a_node_without_the_folders_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path / "data")

    @contextmanager
    def elsewhere(files: Any, folders: Any) -> Iterator[dict[str, str]]:
        yield {str(tmp_path / "not-there"): "0" * 64}

    Path("runs").mkdir()
    monkeypatch.setattr("mmssl_cli.experiments.workers.ray.evidence", elsewhere)
    with pytest.raises(InputError, match=r"Node [\d.]+ of the Ray cluster does not see .*not-there.*under the same"):
        on_cluster(cluster, toy())


def test_a_node_that_dies_costs_its_run_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    write_toy(tmp_path / "data")
    plan = [toy(seed=1, epochs=80, patience=80), toy(seed=2, epochs=2), toy(seed=3, epochs=2)]

    def kill_its_node(run: RunFolder) -> None:
        trainer = int((run.path / "lock").read_text())
        [node] = [node for node in cluster.worker_nodes if _raylet(node) == parent_of(trainer)]
        cluster.remove_node(node, allow_graceful=False)
        os.kill(trainer, signal.SIGKILL)  # a machine that is gone takes all with it

    class OfTheLongRun(Watcher):
        def epoch(self, number: int, record: Mapping[str, Any]) -> None:
            if number == 0:
                super().epoch(number, record)

    watcher = OfTheLongRun(kill_its_node)
    outcomes = on_cluster(cluster, *plan, reporter=watcher)
    assert [weights(outcome) for outcome in outcomes] == [weights_here(settings) for settings in plan]
    assert len(watcher.tried_again) == 1 and "died" in watcher.tried_again[0], watcher.tried_again
    first, second = watcher.first_epochs[0]
    assert first == 1 and second > 2


def _raylet(node: Any) -> int:
    [started] = node.all_processes["raylet"]
    return int(started.process.pid)
