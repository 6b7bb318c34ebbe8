"""The benchmark beside MMRec, with a small program of its interface in its place."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmarks import bench_mmrec, bench_parity
from benchmarks.bench_quality import read_log

_PROGRAM = {
    "quick_start": "",
    "configurator": """
import numpy, pathlib, torch
class Config(dict):
    def __init__(self, model, dataset, given):
        super().__init__(n_layers=[4], reg_weight=[0.4, 0.5], dropout=[0.1, 0.3])
        self["hyper_parameters"] = list(self)
        self.update(valid_metric="Recall@20", eval_batch_size=7, model=model, **given)
        assert pathlib.Path("configs/dataset", dataset + ".yaml").is_file() and numpy.float is float
        assert torch.ones(2).cuda().device.type == "cpu"
""",
    "dataset": """
import pandas as pd
class RecDataset:
    def __init__(self, config, rows=None):
        file = config["data_path"] + "exported/exported.inter"
        self.config, self.rows, self.shown = config, pd.read_csv(file, sep="\\t") if rows is None else rows, False
    def split(self):
        return [RecDataset(self.config, self.rows[self.rows.x_label == label]) for label in range(3)]
    def __str__(self):
        self.shown = True
        return "rows"
""",
    "dataloader": """
class TrainDataLoader:
    def __init__(self, config, dataset, batch_size, shuffle):
        assert dataset.shown and batch_size == 64 and shuffle and set(dataset.rows.x_label) == {0}
    def pretrain_setup(self):
        self.ready = True
class EvalDataLoader:
    def __init__(self, config, dataset, additional_dataset, batch_size):
        assert dataset.shown and batch_size == 7
        (self.label,) = set(dataset.rows.x_label)
""",
    "utils": """
def init_seed(seed):
    assert seed == 2023
def get_model(name):
    assert name == "LightGCN"
    return Model
def get_trainer():
    return Trainer
class Model:
    def __init__(self, config, train):
        assert train.ready and config["n_layers"] == 2 and config["dropout"] == 0.1 and config["reg_weight"] == 0.5
    def pre_epoch_processing(self): pass
    def post_epoch_processing(self): pass
class Trainer:
    def __init__(self, config, model, mg):
        self.lr_scheduler, self.trained = self, 0
    def step(self): pass
    def _train_epoch(self, train, epoch):
        assert epoch == self.trained
        self.trained += 1
        sum(range(10**5))
    def evaluate(self, split):
        score = 0.1 - abs(self.trained - 3) / 100  # the third epoch is the best
        return {"recall@20": score + split.label, "ndcg@20": 0.5}
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    utils = tmp_path / "MMRec/src/utils"
    utils.mkdir(parents=True)
    (utils.parent / "configs/dataset").mkdir(parents=True)
    for name, text in _PROGRAM.items():
        (utils / f"{name}.py").write_text(text)
    return tmp_path / "MMRec"


def test_both_programs_take_turns(checkout: Path, demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--mmrec",
        str(checkout),
        "--data",
        str(demo),
        "--models",
        "lightgcn",
        "--epochs",
        "1",
        "--batch-size",
        "64",
    ]
    bench_mmrec.main([*flags, "--set", "reg_weight=0.5", "--json"])
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [(row["model"], row["what"]) for row in rows] == [("lightgcn", "epoch"), ("lightgcn", "evaluation")]
    for row in rows:
        assert row["ours"]["median"] > 0
        assert row["ratio"]["median"] == pytest.approx(row["mmrec"]["median"] / row["ours"]["median"])


def test_trainings_end_by_patience_and_are_made_once(
    checkout: Path, demo: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--mmrec", str(checkout), "--data", str(demo), "--models", "lightgcn", "--batch-size", "64", "--runs", "1"]
    flags += ["--patience", "2", "--set", "reg_weight=0.5", "--out", str(tmp_path / "out"), "--json"]
    bench_parity.main([*flags, "--epochs", "9"])
    report = json.loads(capsys.readouterr().out)
    theirs, ours = report["results"]
    assert {name: theirs[name] for name in ("program", "seed", "epochs", "best_epoch")} == {
        **{"program": "mmrec", "seed": "2023", "epochs": "5", "best_epoch": "3"},
    }
    assert [theirs[name] for name in ("validation", "recall@20", "ndcg@20")] == pytest.approx([1.1, 2.1, 0.5])
    assert ours["program"] == "mmssl" and 0 < ours["recall@20"] < 1 and int(ours["epochs"]) <= 9
    assert [(row["program"], row["runs"]) for row in report["means"]] == [("mmrec", 1), ("mmssl", 1)]
    assert report["means"][0]["recall@20"] == "2.1000"
    with (tmp_path / "out/epochs.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert [float(epoch["score"]) for epoch in epochs] == pytest.approx([1.08, 1.09, 1.1, 1.09, 1.08])
    (course,) = read_log(tmp_path / "out/epochs.csv")["lightgcn"]
    assert course.final == pytest.approx(1.1)
    before = (tmp_path / "out/results.csv").read_bytes()
    bench_parity.main([*flags, "--epochs", "9"])
    assert (tmp_path / "out/results.csv").read_bytes() == before
    assert json.loads(capsys.readouterr().out)["results"] == report["results"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--models", "mf,vbpr"], "--models vbpr is not compared; choose from lightgcn, mf"),
        ([], "holds no MMRec; --mmrec names a checkout"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    flags: list[str], sentence: str, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench_mmrec.main(["--mmrec", str(tmp_path), "--data", str(demo), *flags])
    assert sentence in " ".join(capsys.readouterr().err.split())
