"""The prepared format and the run format, as docs/formats/ describes them, on the demo and a run of MF on it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from tests.conftest import ROOT

METRICS = [f"{metric}@{k}" for metric in ("recall", "precision", "ndcg") for k in (10, 20, 50)]
TABLES = {
    "users.parquet": {"user": "int32", "id": "string"},
    "items.parquet": {"item": "int32", "id": "string", "title": "string", "image": "string"},
    "interactions.parquet": {"user": "int32", "item": "int32", "split": "string"},
}
# SHA-256 of the columns as JSON: of the values, not of the bytes of a file, which differ between versions of pyarrow.
CONTENT = {
    "users.parquet": "9ed55bf27640755ba983505df2dcb6bfc4312dfc4157a74e40f714234d053558",
    "items.parquet": "9e43cb891e7e0a31072cdab0689e7bfde6084e12da8d1eb2a6234d3de21f4f70",
    "interactions.parquet": "a7e9a18bfe36be6d012536abf46e38ec8ff34ee9d9f71f2aaf560b532c0b33c3",
}
FEATURES = {"visual": 77, "textual": 64}
EPOCH = {
    "epoch": "int64",
    **dict.fromkeys(["loss/bpr", "loss/l2", "loss/total", "lr", "train_seconds"], "double"),
    **dict.fromkeys([f"validation/{metric}" for metric in METRICS], "double"),
    "seconds": "double",
    "processor_seconds": "double",
}
SETTINGS = [
    "model",
    "dataset",
    "feature-scaling",
    "feature-components",
    "feature-control",
    "embedding-dim",
    "batch-size",
    "epochs",
    "patience",
    "evaluate-every",
    "item-epochs",
    "select-on",
    "ks",
    "metrics",
    "lr",
    "lr-decay",
    "lr-decay-every",
    "optimizer",
    "weight-decay",
    "l2-weight",
    "weight-averaging",
    "loss",
    "softmax-temperature",
    "negative-sampler",
    "user-sampling",
    "seed",
    "device",
    "cuda-graph",
    "precision",
]
PROVENANCE = ["manifest_digest", "content_digest", "mmssl", "torch", "python", "device", "threads", "started"]


def _files(folder: Path) -> set[str]:
    """List every file below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _columns(file: Path) -> dict[str, str]:
    """Read names and types of the columns of a parquet file, in order."""
    return {column.name: str(column.type) for column in pq.read_schema(file)}


def _types(values: dict[str, Any]) -> dict[str, str]:
    """Name the type of every value."""
    return {key: type(value).__name__ for key, value in values.items()}


@pytest.fixture
def manifest(demo: Path) -> dict[str, Any]:
    """The manifest of the demo."""
    return json.loads((demo / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture
def result(run: Path) -> dict[str, Any]:
    """The result of the run."""
    return json.loads((run / "result.json").read_text(encoding="utf-8"))


@pytest.fixture
def config(run: Path) -> dict[str, Any]:
    """The settings of the run, and where it came from."""
    return tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))


def test_files_of_a_prepared_data_set(demo: Path, manifest: dict[str, Any]) -> None:
    """Check that these files are there and no other, and that the manifest has the checksum of each."""
    images = {f"images/{item:04}.png" for item in range(400)}
    assert set(manifest["files"]) == {*TABLES, *(f"features/{modality}.npz" for modality in FEATURES), *images}
    assert _files(demo) == {"manifest.json", *manifest["files"]}
    for name, entry in manifest["files"].items():
        content = (demo / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_manifest(manifest: dict[str, Any]) -> None:
    """Check the keys of the manifest, in order, and the values that do not depend on versions of libraries."""
    keys = ["format", "version", "name", "created_by", "settings", "sources", "counts", "steps", "modalities", "files"]
    assert list(manifest) == keys
    assert (manifest["format"], manifest["version"], manifest["name"]) == ("mmssl-prepared", 1, "demo")
    assert manifest["settings"] == {"source": "demo", "seed": 0, "generator": 1}
    assert (manifest["sources"], manifest["steps"]) == ({}, [])
    assert manifest["counts"] == {"users": 600, "items": 400, "train": 3488, "validation": 730, "test": 730}
    assert list(manifest["modalities"]) == list(FEATURES)
    for modality, dim in FEATURES.items():
        entry = manifest["modalities"][modality]
        assert list(entry) == ["dim", "dtype", "present", "encoder"]
        assert (entry["dim"], entry["dtype"], entry["present"]) == (dim, "float32", 400)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_a_prepared_data_set(demo: Path, name: str) -> None:
    """Check the columns of a table, and that preparation still gives the same values in the same order."""
    assert _columns(demo / name) == TABLES[name]
    values = json.dumps(pq.read_table(demo / name).to_pydict())
    assert hashlib.sha256(values.encode()).hexdigest() == CONTENT[name]


@pytest.mark.parametrize(("modality", "dim"), FEATURES.items())
def test_features_of_a_prepared_data_set(demo: Path, manifest: dict[str, Any], modality: str, dim: int) -> None:
    """Check names, types and shapes of the arrays of a modality, and its encoder."""
    with np.load(demo / "features" / f"{modality}.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"values", "present", "encoder"}
        assert (arrays["values"].dtype, arrays["values"].shape) == (np.float32, (400, dim))
        assert (arrays["present"].dtype, arrays["present"].shape) == (np.bool_, (400,))
        assert (arrays["encoder"].dtype.kind, arrays["encoder"].shape) == ("U", ())
        assert json.loads(str(arrays["encoder"])) == manifest["modalities"][modality]["encoder"]


def test_files_of_a_run(run: Path) -> None:
    """Check that these files are there and no other."""
    assert _files(run) == {
        "config.toml",
        "curves.png",
        "curves.svg",
        "lock",
        "log.jsonl",
        "metrics.parquet",
        "model.safetensors",
        "per_user.parquet",
        "result.json",
        "state.pt",
    }


def test_name_of_a_run(run: Path) -> None:
    """Check the id: date, time, data set, model and seed."""
    date, time, *rest = run.name.split("-")
    assert (len(date), len(time), date.isdigit(), time.isdigit()) == (8, 6, True, True)
    assert rest == ["demo", "mf", "s2023"]


def test_config(config: dict[str, Any], demo: Path) -> None:
    """Check the keys of config.toml, in order, and that the data set is known by its manifest's SHA-256."""
    provenance = config["provenance"]
    assert list(config) == [*SETTINGS, "provenance"]
    assert list(provenance) == PROVENANCE
    assert _types(provenance) == {**dict.fromkeys(PROVENANCE, "str"), "threads": "int"}
    assert provenance["manifest_digest"] == hashlib.sha256((demo / "manifest.json").read_bytes()).hexdigest()


def test_result(result: dict[str, Any]) -> None:
    """Check keys and types of result.json, in order, and the values that are known."""
    expected = {
        **dict.fromkeys(["status", "model"], "str"),
        "variant": "NoneType",
        **dict.fromkeys(["label", "dataset"], "str"),
        "modalities": "NoneType",
        **dict.fromkeys(["seed", "epochs", "best_epoch"], "int"),
        **dict.fromkeys(["validation", "test"], "dict"),
        "parameters": "int",
        **dict.fromkeys(["seconds_per_epoch", "seconds_to_best"], "float"),
        "peak_memory_bytes": "int",
        "device": "str",
        "warm_cold": "dict",  # some test items of the demo have no training interaction
    }
    assert list(_types(result).items()) == list(expected.items())
    assert list(result["validation"]) == list(result["test"]) == METRICS
    known = {"status": "finished", "model": "mf", "dataset": "demo", "seed": 2023, "epochs": 2, "parameters": 64000}
    assert known.items() <= result.items()


def test_metrics_of_the_epochs(run: Path) -> None:
    """Check names, types and order of the columns, and a row per epoch."""
    assert list(_columns(run / "metrics.parquet").items()) == list(EPOCH.items())
    assert pq.read_table(run / "metrics.parquet")["epoch"].to_pylist() == [1, 2]


def test_metrics_of_the_users(run: Path) -> None:
    """Check names, types and order of the columns."""
    expected = {"user": "int32", "train_degree": "int32", **dict.fromkeys(METRICS, "double")}
    assert list(_columns(run / "per_user.parquet").items()) == list(expected.items())


def test_log(run: Path) -> None:
    """Check the events of a run that was not disturbed, and the keys of each."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    start = "event run model variant label dataset modalities seed device epochs select_on parameters first_epoch at"
    assert [line["event"] for line in lines] == ["start", "epoch", "epoch", "finish"]
    assert list(lines[0]) == start.split()
    assert list(lines[1]) == list(lines[2]) == ["event", *EPOCH]
    assert list(lines[3]) == ["event", "test", "at"]


def test_weights_and_checkpoint(run: Path) -> None:
    """Check that the weights have their names and shapes, and that a checkpoint has its parts."""
    weights = load_file(run / "model.safetensors")
    shapes = {name: array.shape for name, array in weights.items()}
    assert shapes == {"users": (600, 64), "items": (400, 64)}
    state = torch.load(run / "state.pt", weights_only=True)
    parts = "epoch steps_done average model optimizer adversary_optimizer sampler_random torch_random cuda_random"
    assert set(state) == {*parts.split(), "diagnostics", "progress"}


@pytest.mark.parametrize("document", ["prepared", "run"])
def test_documents_name_every_file_and_key(
    document: str, demo: Path, run: Path, manifest: dict[str, Any], result: dict[str, Any], config: dict[str, Any]
) -> None:
    """Check that docs/formats/ names what a folder holds and the keys and columns of its files."""
    text = (ROOT / "docs" / "formats" / f"{document}.md").read_text(encoding="utf-8")
    if document == "prepared":
        names = {*TABLES, *(key for columns in TABLES.values() for key in columns), "manifest.json", *manifest}
        names |= {"values", "present", "encoder"}
    else:
        names = {*_files(run), *result, *config["provenance"], "epoch", "lr"}
        names |= {name for name in EPOCH if "seconds" in name}
    assert {name for name in names if f"`{name}`" not in text} == set()
