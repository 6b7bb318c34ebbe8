"""The benchmarks of training: their parts add up, their counts are right, and the dense transcription agrees."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench_epoch, floor, workload
from benchmarks.command import shown
from benchmarks.dense_reference import DenseMMSSL
from benchmarks.floor import Counter
from benchmarks.step_breakdown import in_parts
from benchmarks.timing import Stopwatch
from mmssl_cli.sparse.products import product_in_float32
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import make_loop

SIZES = {"users": 40, "items": 30, "interactions": 160, "test_users": 20, "feature_dims": (6, 6)}
CPU = torch.device("cpu")


def tiny_loop(**settings: Any) -> TrainingLoop:
    """A tiny MMSSL after its first step."""
    own = {"embedding_dim": 8, "batch_size": 32, **settings}
    loop = make_loop(workload.settings_of("mmssl", "cpu", **own), workload.random_data(**SIZES), CPU)
    loop.model.train()
    workload.refresh(loop.model)
    loop._step(workload.batches(loop, 1)[0])
    return loop


def test_random_data_has_the_sizes_asked_for_and_a_training_item_for_every_user() -> None:
    pairs = workload.random_pairs(np.random.default_rng(0), 40, 30, 200, least=3)
    assert len(np.unique(pairs, axis=0)) == 200 and np.bincount(pairs[:, 0], minlength=40).min() >= 3
    data = workload.random_data(**{**SIZES, "feature_dims": (6, 6, 2)})
    assert (data.num_users, data.num_items, len(data.train), len(data.test), len(data.features)) == (40, 30, 160, 20, 3)
    assert int(data.train.degrees().min()) >= 1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"contrast_users": "all", "adjacency": "left", "omega": 0.5, "layers": 1, "discriminator_steps": 2},
    ],
)
def test_the_dense_transcription_takes_the_same_steps(settings: dict[str, Any]) -> None:
    compared = bench_epoch.compare_with_dense(tiny_loop(**settings), steps=4)["agreement"]
    assert compared["largest_relative_difference_of_losses"] < 1e-4
    assert compared["neighbours_in_common"] > 0.99
    assert compared["steps"] == 4


@pytest.mark.parametrize("equation", ["views", "generated", "attend", "contrast", "generator_loss"])
def test_a_wrong_dense_transcription_is_noticed(equation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(DenseMMSSL, equation)

    def wrong(self: DenseMMSSL, *arguments: Any) -> Any:
        """Rows of another node; a scalar too large."""
        return tree_map(lambda t: t.roll(1, 0) if t.dim() else 1.1 * t, right(self, *arguments))

    monkeypatch.setattr(DenseMMSSL, equation, wrong)
    compared = bench_epoch.compare_with_dense(tiny_loop(), steps=2)["agreement"]
    assert compared["largest_relative_difference_of_losses"] > 1e-4


def test_the_parts_of_an_epoch_add_up_and_training_is_the_same_without_the_stopwatch() -> None:
    watch, loop = Stopwatch(), tiny_loop()
    with in_parts(loop, watch):
        timed = loop.run_epoch()
    plain = tiny_loop().run_epoch()  # which sets the seed anew
    losses = [name for name in plain if name.startswith("loss/")]
    assert [timed[name] for name in losses] == [plain[name] for name in losses]
    assert len(watch.seconds) == 11
    assert "gradient penalty, forward (Eq. 7)" in watch.seconds
    assert 0 < sum(watch.seconds.values()) < timed["train_seconds"]


def test_a_part_inside_another_is_not_counted_twice() -> None:
    watch = Stopwatch()
    inner = watch.timed(lambda: watch.part, "inner")
    swallowed = watch.timed(lambda: watch.part, "swallowed", nested=False)
    with watch.time("outer"):
        assert (inner(), swallowed(), watch.part) == ("inner", "outer", "outer")
    assert watch.part == "" and set(watch.seconds) == {"inner", "outer"}


def test_operations_and_bytes_of_products_are_counted_as_by_hand() -> None:
    left, right = torch.rand(3, 4), torch.rand(4, 5)
    with Counter() as dense:
        left @ right
    assert dense.flops == 2 * 3 * 4 * 5
    assert dense.operator_bytes == 4 * (3 * 4 + 4 * 5 + 3 * 5)
    assert dense.persistent_bytes == 4 * (3 * 4 + 4 * 5)

    matrix = torch.tensor([[0.0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0]]).to_sparse_csr()  # 3 entries of 4 columns
    with Counter() as sparse:
        product_in_float32(matrix, right)
    assert sparse.flops == 2 * 3 * 5
    with Counter() as native:
        matrix @ right
    assert native.flops == 2 * 3 * 5
    entries = 3 * (8 + 4) + 4 * 8  # columns and weights, and where the rows start
    assert native.operator_bytes == entries + 4 * (3 * 5 + 3 * 5)


def test_bytes_of_optimisers_gathers_and_memory_to_be_filled() -> None:
    weight = torch.nn.Parameter(torch.rand(10, 4))
    optimizer = torch.optim.AdamW([weight], fused=True)
    for _ in range(2):
        weight.grad = torch.ones_like(weight)
        with Counter() as counter:
            optimizer.step()
    # Weight and two moments read and written, the gradient read; a little for the step's number.
    assert 0 <= counter.persistent_bytes - 7 * 160 <= 16
    with Counter() as counter:
        weight.detach()[torch.tensor([1, 1, 7])]
    assert counter.operator_bytes == 2 * 3 * 16 + 3 * 8
    with Counter() as counter:
        torch.empty(1000).fill_(0)
    assert counter.persistent_bytes == 0


def test_a_step_has_the_operations_that_pytorch_counts_and_those_of_sparse_products() -> None:
    first, second = tiny_loop(), tiny_loop()
    with Counter() as counter:
        first._step(workload.batches(first, 1)[0])
    with FlopCounterMode(display=False) as pytorch:
        second._step(workload.batches(second, 1)[0])
    dim, m, k, layers = 8, 2, first.settings.graph_topk, first.settings.layers  # type: ignore[attr-defined]
    propagated = 2 * len(first.data.train) * (layers + m)  # both ways; a generator's features go there and back
    viewed = 2 * m * first.data.num_users * k
    assert counter.flops == pytorch.get_total_flops() + 2 * 2 * dim * (propagated + viewed)  # forward and backward
    assert counter.floor(1.0, 1.0) == max(counter.flops, counter.persistent_bytes)
    assert sum(counter.operator_floors(1e30, 1.0).values()) == pytest.approx(counter.operator_bytes)


def test_the_whole_report_and_its_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(workload, "SIZES", SIZES)
    monkeypatch.setattr(floor, "SIDE", 32)
    monkeypatch.setattr(floor, "NUMBERS", 1024)
    monkeypatch.setattr(workload, "PREPARED", workload.PREPARED / "not there")
    flags = ["--epochs", "1", "--repeats", "2", "--compared-steps", "2", "--set", "embedding-dim=8"]
    bench_epoch.main([*flags, "--set", "batch-size=32", "--set", "ks=10,20", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["sizes"]["batch"] == 32 and report["machine"]["torch"] == torch.__version__
    assert all(row["ratio"]["median"] > 0 for row in report["floor"]) and report["peak_memory_bytes"] > 0
    assert sum(row["share"] for row in report["parts"]) == pytest.approx(1)
    text = shown(report)
    for words in ("gradient penalty", "floor of a step", "against dense", "operator by operator", "in common 1"):
        assert words in text


def test_settings_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_epoch.main(["--set", "embeding-dim=8"])
    assert ended.value.code == 2
    assert "embedding-dim" in capsys.readouterr().err
