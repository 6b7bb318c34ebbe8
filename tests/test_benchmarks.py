"""The benchmarks run, their parts add up, and the dense transcription they compare with computes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import bench_epoch, search_settings
from benchmarks.dense_reference import DenseAdversary
from mmssl_cli.config import merge_settings
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.progress import Reporter
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import train_run
from pipelines.prepare import prepare

SIZES = {"users": 40, "items": 30, "interactions": 160, "test_users": 20, "dim": 6}


@pytest.fixture
def loop() -> TrainingLoop:
    """A tiny MMSSL before its first step, without dropout, so that two passes agree."""
    settings = merge_settings({"dataset": "tiny", "embedding_dim": 8, "batch_size": 32, "discriminator_steps": 2})
    torch.manual_seed(0)
    data = bench_epoch.random_data(**SIZES)
    return TrainingLoop(MMSSL(data, settings), data, settings)  # type: ignore[arg-type]


def test_random_data_has_the_sizes_asked_for_and_a_training_item_for_every_user() -> None:
    data = bench_epoch.random_data(**SIZES)
    assert (data.num_users, data.num_items, len(data.train), len(data.test)) == (40, 30, 160, 20)
    assert int(data.train.degrees().min()) >= 1


def test_the_dense_transcription_takes_the_same_steps(loop: TrainingLoop) -> None:
    compared = bench_epoch._against_dense(loop, steps=4)
    assert compared["largest_relative_difference_of_losses"] < 1e-4


def test_a_wrong_dense_transcription_is_noticed(loop: TrainingLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    transformed = DenseAdversary._transformed
    monkeypatch.setattr(DenseAdversary, "_transformed", lambda self, rows: 2 * transformed(self, rows))
    assert bench_epoch._against_dense(loop, steps=2)["largest_relative_difference_of_losses"] > 1e-4


def test_the_parts_of_an_epoch_add_up_and_training_is_the_same_without_the_stopwatch(loop: TrainingLoop) -> None:
    state = {name: bench_epoch._copied(value) for name, value in loop.state().items()}
    watch = bench_epoch.Stopwatch()
    with bench_epoch.in_parts(loop, watch):
        timed = loop.run_epoch()
    loop.restore(state)
    plain = loop.run_epoch()
    assert {k: v for k, v in timed.items() if k.startswith("loss/")} == {
        k: v for k, v in plain.items() if k.startswith("loss/")
    }
    assert len(watch.seconds) == 10
    assert 0 < sum(watch.seconds.values()) < timed["train_seconds"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare("demo", data_dir=folder)
    return folder


def test_a_search_goes_on_where_it_stood_and_selects_without_test_metrics(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "search.jsonl"
    flags = ["--data-dir", str(demo), "--model", "mf", "--set", "epochs=2", "--out", str(out)]
    search_settings.main([*flags, "--trials", "2", "--report-seeds", "0"])
    first = out.read_text()
    assert "test" not in first
    out.write_text(first + '{"search": "cut of')  # as a process that was killed leaves it
    search_settings.main([*flags, "--trials", "3", "--report-seeds", "1"])
    records = list(search_settings._read(out))
    assert out.read_text().startswith(first)
    assert [record["trial"] for record in records] == [0, 1, 2]
    assert records[0]["drawn"] == {} and records[1]["drawn"] != records[2]["drawn"]
    best = max(records, key=lambda record: record["score"])
    shown = capsys.readouterr().out.rpartition("Selected")[2]
    for key, value in best["drawn"].items():
        assert f"{key.replace('_', '-')} = {json.dumps(value)}" in shown
    assert "test        recall@10" in shown


@pytest.mark.parametrize("extra", [{"patience": 1, "lr": 0.05}, {"evaluate_every": 2, "weight_averaging": 0.9}])
def test_a_trial_trains_as_the_trainer_does(demo: Path, tmp_path: Path, extra: dict[str, float]) -> None:
    settings = merge_settings({"dataset": "demo", "model": "mf", "epochs": 5, **extra})
    trained = train_run(settings, demo, tmp_path / "runs", reporter=Reporter()).record
    fitted = search_settings.fit(settings, demo, test=True)
    assert {key: fitted[key] for key in ("validation", "test", "epochs", "best_epoch")} == {
        key: trained[key] for key in ("validation", "test", "epochs", "best_epoch")
    }


def test_a_trial_depends_on_its_number_alone(demo: Path) -> None:
    def search(seed: int) -> search_settings.Search:
        return search_settings.Search("demo", "mf", demo, {}, {"lr": {"log": [1e-4, 1e-2]}}, seed, 1, 1)

    assert search(0).drawn(7) == search(0).drawn(7)
    assert search(0).drawn(7) != search(0).drawn(8)
    assert search(0).drawn(7) != search(1).drawn(7)
    assert 1e-4 <= search(0).drawn(7)["lr"] <= 1e-2
    assert search(0).digest != search(1).digest
