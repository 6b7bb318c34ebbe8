"""`--tensorboard`: the event files hold what metrics.parquet holds, also of a run that was resumed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmssl_cli.console.loggers.reporter import with_loggers
from mmssl_cli.console.loggers.tensorboard import FOLDER
from mmssl_cli.console.training import Reporter
from mmssl_cli.runs.folder import RunFolder
from pipelines.sources import demo
from tests.conftest import Answer

tensorboard = pytest.importorskip("tensorboard", reason="a part of the extra 'test'")


def with_tensorboard(reporter: Reporter, runs_dir: Path) -> Reporter:
    """The reporter with TensorBoard."""
    return with_loggers(reporter, ["tensorboard"], runs_dir, RunFolder)


class Heard(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any]] = []

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self.calls.append(("start", info["run"]))

    def epoch(self, record: Mapping[str, Any]) -> None:
        self.calls.append(("epoch", record["epoch"]))

    def message(self, text: str) -> None:
        self.calls.append(("message", text))

    def finish(self, result: Mapping[str, Any]) -> None:
        self.calls.append(("finish", result["status"]))

    def close(self) -> None:
        self.calls.append(("close", None))


def scalars(run: Path) -> dict[str, dict[int, float]]:
    """Return the scalars that TensorBoard shows of a run: tag -> step -> value; of a step written twice the last."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / FOLDER), purge_orphaned_data=True).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def expected(metrics: pd.DataFrame) -> dict[str, dict[int, float]]:
    """The same from metrics.parquet, without what was not measured."""
    return {
        name: pytest.approx(dict(metrics[["epoch", name]].dropna().to_numpy().tolist()), rel=1e-6)
        for name in metrics.columns
        if name != "epoch"
    }


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = demo.generate_shop
    monkeypatch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=40, num_items=60))
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)


def test_a_training_writes_every_number_of_every_epoch(
    cli: Callable[..., Answer], tmp_path: Path, small_demo: None
) -> None:
    answer = cli("train", "--model", "mf", "--epochs", 3, "--evaluate-every", 2, "--tensorboard")
    assert answer.code == 0, answer.err
    (run,) = (tmp_path / "runs").iterdir()
    metrics = RunFolder(run).read_metrics()
    assert len(metrics) == 3 and metrics["validation/recall@20"].isna().any()
    assert scalars(run) == expected(metrics)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_resumed_run_has_one_line_without_gap(
    cli: Callable[..., Answer], tmp_path: Path, small_demo: None, from_the_start: bool
) -> None:
    flags = ["--tensorboard"] if from_the_start else []
    assert cli("train", "--model", "mf", "--epochs", 2, *flags).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    away = run.rename(tmp_path / run.name)  # resumed by its path, not in the folder of the runs
    assert cli("train", "--resume", away, "--epochs", 4, "--tensorboard").code == 0
    metrics = RunFolder(away).read_metrics()
    assert len(metrics) == 4
    assert scalars(away) == expected(metrics)
    assert not (tmp_path / "runs" / run.name).exists()


def test_epochs_that_are_trained_again_are_hidden(tmp_path: Path) -> None:
    info = {"run": "r", "first_epoch": 1}
    first = with_tensorboard(Reporter(), tmp_path)
    first.start(info)
    for epoch in (1, 2, 3):
        first.epoch({"epoch": epoch, "loss/total": float(epoch)})
    first.close()
    again = with_tensorboard(Reporter(), tmp_path)
    again.start({**info, "first_epoch": 2})
    again.epoch({"epoch": 2, "loss/total": 20.0})
    again.close()
    assert scalars(tmp_path / "r") == {"loss/total": {1: 1.0, 2: 20.0}}


def test_the_other_reporter_hears_all(tmp_path: Path) -> None:
    heard = Heard()
    reporter = with_tensorboard(heard, tmp_path)
    info = {"run": "r", "first_epoch": 1}
    reporter.start(info)
    reporter.epoch({"epoch": 1, "seconds": 0.5, "best": True, "eta_seconds": 3.0})
    reporter.message("so")
    reporter.finish({"status": "finished"})
    reporter.close()
    assert heard.calls == [
        ("start", "r"),
        ("epoch", 1),
        ("message", "so"),
        ("finish", "finished"),
        ("close", None),
    ]
    assert reporter.info is info
    assert set(scalars(tmp_path / "r")) == {"seconds"}


def test_an_epoch_is_on_disk_before_the_next(tmp_path: Path) -> None:
    reporter = with_tensorboard(Reporter(), tmp_path)
    reporter.start({"run": "r", "first_epoch": 1})
    reporter.epoch({"epoch": 1, "seconds": 0.5})
    assert scalars(tmp_path / "r") == {"seconds": {1: 0.5}}
    reporter.close()


def test_without_the_package_a_sentence_says_how_to_get_it(
    cli: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    answer = cli("train", "--tensorboard")
    assert answer.code == 2
    assert answer.err.strip() == (
        "Error: --tensorboard needs TensorBoard, which is not installed; get it with: pip install 'mmssl[tensorboard]'"
    )
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_extra(cli: Callable[..., Answer]) -> None:
    assert "pip install 'mmssl[tensorboard]'" in cli("train", "--help").words
