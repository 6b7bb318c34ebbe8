"""The benchmarks run, their parts add up, and the dense transcription they compare with computes the same."""

from __future__ import annotations

import pytest
import torch

from benchmarks import bench_epoch
from benchmarks.dense_reference import DenseAdversary
from mmssl_cli.config import merge_settings
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.training.loop import TrainingLoop

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
