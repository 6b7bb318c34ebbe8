"""Large data: features in their file, work in blocks, lists that stream to parquet, and nothing of users x items."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import bench_size
from benchmarks.command import shown
from mmssl_cli.data import features as features_module
from mmssl_cli.data import graph
from mmssl_cli.data.features import rows_of_block, scale_features, that_fit
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation import ranking
from mmssl_cli.evaluation.items import evaluate_items
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.evaluation.ranking import ranked_blocks
from mmssl_cli.models import content
from mmssl_cli.models.mmssl import encoder
from mmssl_cli.models.mmssl.encoder import ModalityAttention
from mmssl_cli.models.registry import build_model
from mmssl_cli.runs import tables
from mmssl_cli.runs.tables import row_groups
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import InputError
from pipelines.prepared import storage
from pipelines.prepared.dataset import Features
from pipelines.prepared.storage import read_features, write_features
from tests.conftest import Answer
from tests.helpers.model_cases import toy_batch, toy_data, toy_model, write_toy

Cli = Callable[..., Answer]


# Features in their file


def _features(dtype: str, rows: int = 40) -> Features:
    values = np.random.default_rng(0).normal(size=(rows, 6)).astype(dtype)
    present = np.arange(rows) % 7 > 0
    values[~present] = 0
    return Features(values, present, {"what": "chance"})


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
def test_large_features_are_mapped_and_hold_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(storage, "MAPPED_BYTES", 200)
    written = _features(dtype)
    write_features(written, tmp_path / "text.npz")

    found = read_features(tmp_path / "text.npz", written.values.shape)

    assert isinstance(found.values, np.memmap) and not isinstance(found.present, np.memmap)
    assert found.values.dtype == dtype
    np.testing.assert_array_equal(found.values, written.values)
    np.testing.assert_array_equal(found.present, written.present)
    found.values[:] = 1  # in private
    np.testing.assert_array_equal(read_features(tmp_path / "text.npz", written.values.shape).values, written.values)


def test_features_that_cannot_be_mapped_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAPPED_BYTES", 1)
    written = _features("float32")
    arrays: dict[str, Any] = {"present": written.present, "encoder": np.array("{}")}
    np.savez_compressed(tmp_path / "small.npz", values=written.values, **arrays)
    np.savez(tmp_path / "columns.npz", values=np.asfortranarray(written.values), **arrays)

    for name in ("small", "columns"):
        found = read_features(tmp_path / f"{name}.npz", written.values.shape).values
        assert not isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, written.values)


def test_a_damaged_file_of_mapped_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAPPED_BYTES", 1)
    path = tmp_path / "text.npz"
    objects = np.array([{"a": 1}] * 40, dtype=object)
    np.savez(path, values=objects, present=np.ones(40, bool), encoder=np.array("{}"))
    with pytest.raises(InputError, match="pickled Python objects, which are never loaded"):
        read_features(path, (40, 6))
    write_features(_features("float32"), path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x93NUMPY", b"\x93NUMBY", 1))
    with pytest.raises(InputError, match="damaged, truncated or not a NumPy file"):
        read_features(path, (40, 6))


@pytest.mark.parametrize("scaling", ["none", "standard", "l2", "whiten"])
def test_scaling_in_blocks_is_scaling_at_once(monkeypatch: pytest.MonkeyPatch, scaling: str) -> None:
    generator = torch.Generator().manual_seed(0)
    values = (3 + torch.randn(50, 6, generator=generator)).half()
    present = torch.rand(50, generator=generator) < 0.8
    at_once = scale_features(values, present, scaling, 4)
    monkeypatch.setattr(features_module, "BLOCK_BYTES", 4 * 6 * 7)
    assert rows_of_block(6) == 7

    by_blocks = scale_features(values, present, scaling, 4)

    assert by_blocks.dtype == torch.float32 and not by_blocks[~present].any()
    torch.testing.assert_close(by_blocks, at_once, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_a_device_stays_in_host_memory() -> None:
    features = {
        "large": torch.zeros(100, 8, dtype=torch.float16),
        "tokens": torch.zeros(100, 50, dtype=torch.int64),
        "small": torch.zeros(100, 4),
    }
    assert that_fit(features, 100 * 12 * 4) == {"large", "small", "tokens"}
    assert that_fit(features, 100 * 12 * 4 - 1) == {"small", "tokens"}
    assert that_fit(features, 100 * 4 * 4 - 1) == {"tokens"}


# Projections by blocks


@pytest.mark.parametrize(("dtype", "rows"), [(torch.float32, 7), (torch.float16, 7), (torch.float16, 100)])
def test_a_projection_by_blocks_has_the_values_and_gradients_of_a_plain_one(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    raw, layer = torch.randn(40, 6).to(dtype), nn.Linear(6, 3)
    upstream = torch.randn(40, 3)
    plain = layer(raw.float())
    expected = torch.autograd.grad(plain, (layer.weight, layer.bias), upstream)

    blocked = content._LinearOfBlocks.apply(raw, layer.weight, layer.bias, rows)
    found = torch.autograd.grad(blocked, (layer.weight, layer.bias), upstream)

    torch.testing.assert_close(blocked, plain)
    torch.testing.assert_close(found, expected)


def test_a_projection_by_blocks_keeps_none_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "rows_of_block", lambda dim: 10)
    raw, layer = torch.randn(400, 30).half(), nn.Linear(30, 2)
    with _Largest() as largest:
        content.projected(layer, raw).sum().backward()
    assert largest.elements == 400 * 2


def _losses(data: InteractionData) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    model = toy_model(data)
    model.begin_epoch(1)
    terms = model.training_step(toy_batch(data))
    torch.stack(list(terms.values())).sum().backward()
    return terms, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_mmssl_has_the_same_losses_and_gradients_from_mapped_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_toy(tmp_path) / "toy"
    expected = _losses(load_interactions(folder))
    monkeypatch.setattr(storage, "MAPPED_BYTES", 1)
    mapped = load_interactions(folder)
    # Half precision makes them go by blocks; the values are taken from there, so that both are the same numbers.
    halves = {name: values.half() for name, values in mapped.features.items()}
    rounded = {name: values.float() for name, values in halves.items()}

    for found, wanted in (
        (_losses(mapped), expected),
        (_losses(_with(mapped, halves)), _losses(_with(mapped, rounded))),
    ):
        torch.testing.assert_close(found, wanted)


def _with(data: InteractionData, features: dict[str, Tensor]) -> InteractionData:
    parts = {name: getattr(data, name) for name in ("name", "num_users", "num_items", "train", "validation", "test")}
    return InteractionData(**parts, features=features, present=data.present)


@pytest.mark.parametrize(
    "model",
    [
        *("bm3", "clcrec", "freedom", "mgcn", "mmgcl", "mmhcl", "smore", "damrs", "diffmm", "lgmrec", "pgl", "gume"),
        "vbpr",
    ],
)
def test_other_models_of_content_take_half_precision(model: str) -> None:
    from mmssl_cli.config import build_settings

    data = toy_data()
    data = _with(data, {name: values.half() for name, values in data.features.items()})
    settings = build_settings({"model": model, "embedding_dim": 8, "batch_size": 8})
    torch.manual_seed(0)
    recommender = build_model(data, settings)
    recommender.begin_epoch(1)
    assert all(bool(term.isfinite()) for term in recommender.training_step(toy_batch(data)).values())


# Work in blocks


def test_attention_in_blocks_is_attention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = ModalityAttention(8, 2)
    views, upstream = torch.randn(3, 10, 8, requires_grad=True), torch.randn(10, 8)
    wanted = (views, attention.query, attention.key)
    at_once = attention(views)
    expected = torch.autograd.grad(at_once, wanted, upstream)
    monkeypatch.setattr(encoder, "BLOCK_NODES", 4)

    by_blocks = attention(views)

    torch.testing.assert_close(by_blocks, at_once)
    torch.testing.assert_close(torch.autograd.grad(by_blocks, wanted, upstream), expected)


def test_pairs_in_order_are_not_sorted_and_others_are() -> None:
    pairs = np.array([(0, 3), (0, 5), (2, 0), (2, 0), (2, 9)])
    for given in (pairs, pairs[::-1].copy(), pairs[[3, 0, 4, 2, 1]]):
        matrix = CSR.from_pairs(given, 4)
        assert matrix.indices.tolist() == [3, 5, 0, 0, 9]
        assert matrix.indptr.tolist() == [0, 2, 2, 5, 5]


class _Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation gave, views of what there was aside."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor) and value.layout == torch.strided and not value._is_view():
                self.elements = max(self.elements, value.numel())
        return result


def test_nothing_in_training_or_ranking_is_as_large_as_users_x_items(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = 400, 300
    monkeypatch.setattr(graph, "BLOCK_ELEMENTS", 20 * items)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * 20 * items)
    data = toy_data(users=users, items=items)
    model = toy_model(data, batch_size=32)
    loop = TrainingLoop(model, data, model.settings)
    with _Largest() as largest:
        loop.run_epoch()
        model.eval()
        with torch.no_grad():
            final = model.represent()
            evaluate(*final, data.train, data.test, (10, 20))
            evaluate_items(partial(ranked_blocks, *final), items, data.train, data.test, (10, 20))
    assert 20 * items < largest.elements < users * items / 4
    with _Largest() as whole:
        _ = final[0] @ final[1].T
    assert whole.elements == users * items


def test_evaluation_in_blocks_is_evaluation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_data(users=30, items=25)
    generator = torch.Generator().manual_seed(0)
    final = torch.randn(30, 4, generator=generator), torch.randn(25, 4, generator=generator)
    means, table = evaluate(*final, data.train, data.test, (3, 10))
    by_item = evaluate_items(partial(ranked_blocks, *final), 25, data.train, data.test, (3, 10))
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * 25 * 4)
    blocks: list[pd.DataFrame] = []

    means_of_blocks, table_of_blocks = evaluate(*final, data.train, data.test, (3, 10), on_progress=blocks.append)

    assert len(blocks) > 2
    assert means_of_blocks == means
    pd.testing.assert_frame_equal(table_of_blocks, table)
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), table)
    pd.testing.assert_frame_equal(
        evaluate_items(partial(ranked_blocks, *final), 25, data.train, data.test, (3, 10)), by_item
    )


# Parquet as it comes

SCHEMA = pa.schema({"row": pa.int64()})


def _table(first: int, count: int) -> pa.Table:
    return pa.table({"row": np.arange(first, first + count)}, schema=SCHEMA)


def test_rows_are_written_as_soon_as_they_make_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS", 1000)
    path = tmp_path / "rows.parquet"
    with row_groups(path, SCHEMA) as add:
        sizes = []
        for start in range(0, 4000, 400):
            add(_table(start, 400))
            (under_way,) = tmp_path.iterdir()
            sizes.append(under_way.stat().st_size)
        assert not path.exists()
    assert sizes[0] < sizes[2] == sizes[3] < sizes[5]  # a group every third table
    file = pq.ParquetFile(path)
    assert file.num_row_groups > 3
    assert file.read()["row"].to_pylist() == list(range(4000))


def test_a_file_of_no_rows_is_a_file_with_columns(tmp_path: Path) -> None:
    with row_groups(tmp_path / "rows.parquet", SCHEMA):
        pass
    assert pq.read_table(tmp_path / "rows.parquet").schema.names == ["row"]


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS", 10)
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), row_groups(path, SCHEMA) as add:
        add(_table(0, 50))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def trained(cli: Cli, tmp_path: Path) -> Path:
    """The folder of a data set and of a run of one epoch on it."""
    write_toy(tmp_path / "data")
    answer = cli("train", "--dataset", "toy", "--model", "mf", "--epochs", "1", "--ks", "3,10")
    assert answer.code == 0, answer.words
    return tmp_path


@pytest.mark.parametrize("command", [["recommend", "latest", "--all"], ["evaluate", "latest"]])
def test_commands_write_what_they_rank_block_by_block_or_nothing(
    cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    assert cli(*command, "--out", "at_once.parquet").code == 0
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * 25 * 4)
    monkeypatch.setattr(tables, "ROWS", 5)
    assert cli(*command, "--out", "by_groups.parquet").code == 0
    by_groups = pq.ParquetFile(trained / "by_groups.parquet")
    assert by_groups.num_row_groups > 3
    # A product of fewer rows may round otherwise, in the last digit.
    pd.testing.assert_frame_equal(by_groups.read().to_pandas(), pd.read_parquet(trained / "at_once.parquet"))

    whole, blocks = ranking._topk_lowest_index_first, itertools.count()

    def cut_off(*arguments: Any) -> tuple[Tensor, Tensor]:
        if next(blocks) == 3:
            raise OSError(28, "No space left on device")
        return whole(*arguments)

    monkeypatch.setattr(ranking, "_topk_lowest_index_first", cut_off)
    before = sorted(trained.iterdir())
    answer = cli(*command, "--out", "by_groups.parquet")
    assert answer.code == 1 and "Cannot write by_groups.parquet: the disk is full" in answer.words
    assert sorted(trained.iterdir()) == before
    assert pq.ParquetFile(trained / "by_groups.parquet").num_row_groups == by_groups.num_row_groups


# The benchmark


def test_the_benchmark_of_size_says_what_each_stage_took(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sizes = {"users": 200, "items": 60, "interactions": 2000, "feature-dim": 8, "batch": 64, "refreshed": 40}
    flags = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    bench_size.main([*flags, "--ranked", "30", "--steps", "1", "--folder", str(tmp_path), "--json"])
    report = json.loads(capsys.readouterr().out)
    stages = [result["stage"] for result in report["stages"]]
    assert len(stages) == 12 and len(set(stages)) == 12
    assert all(result["peak_bytes"] > 0 and result["seconds"] >= 0 for result in report["stages"])
    assert report["processor_seconds_for_all_users"]["neighbours (Eq. 8)"] > 0
    assert (report["sizes"]["users"], report["sizes"]["interactions"]) == (200, 2000)
    assert list(tmp_path.iterdir()) == []
    table = shown(report)
    assert "neighbours of 40 users" in table and "peak" in table and " GB" in table
