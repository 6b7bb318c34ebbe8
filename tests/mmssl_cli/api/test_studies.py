"""Comparisons, ablations, controls, plug-ins, sweeps and searches in Python: the numbers of their runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

import mmssl_cli as mmssl


def test_compare_has_mean_deviation_and_reuses_runs(data: mmssl.Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 1, "ks": (20,), "device": "cpu", "layers": 1, "runs_dir": tmp_path}
    table = mmssl.compare(data, ["mf", "lightgcn"], runs=2, **settings)
    assert sorted(table["model"]) == ["lightgcn", "mf"]
    assert table["seeds"].tolist() == [2, 2]
    assert table["validation"].is_monotonic_decreasing
    runs = [mmssl.load_run(path, data_dir=data.data_dir) for path in tmp_path.iterdir() if path.is_dir()]
    tests = [run.test["recall@20"] for run in runs if run.settings["model"] == "mf"]
    row = table[table["model"] == "mf"].iloc[0]
    assert row["recall@20"] == pytest.approx(np.mean(tests))
    assert row["recall@20 std"] == pytest.approx(np.std(tests, ddof=1))
    assert mmssl.compare(data, ["mf", "lightgcn"], runs=2, **settings).equals(table)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 4
    mmssl.compare(data, ["mf", "lightgcn"], runs=1, metrics=("recall", "mrr"), **settings)
    again = mmssl.compare(data, ["mf", "lightgcn"], runs=2, **settings)  # whatever else earlier runs measured
    assert again.columns.tolist() == table.columns.tolist() and not again.isna().any(axis=None)


@pytest.mark.slow
def test_compare_in_two_processes_has_the_numbers_of_one(
    data: mmssl.Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "ks": (20,), "device": "cpu"}
    at_once = mmssl.compare(data, ["mf", "pop"], jobs=2, runs_dir=tmp_path / "two", **settings)
    assert capfd.readouterr().out == ""
    alone = mmssl.compare(data, ["mf", "pop"], runs_dir=tmp_path / "one", **settings)
    assert at_once["model"].tolist() == alone["model"].tolist()
    np.testing.assert_allclose(at_once["recall@20"], alone["recall@20"], rtol=1e-3)
    assert mmssl.compare(data, ["mf", "pop"], jobs=2, runs_dir=tmp_path / "two", **settings).equals(at_once)


@pytest.mark.usefixtures("inline_runs")
def test_tune_finds_what_compare_then_trains_with_and_goes_on_where_it_was(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"epochs": 2, "embedding_dim": 8, "ks": (20,), "device": "cpu"}
    search: Any = {**small, "seeds": 2, "finalists": 1, "out": tmp_path / "tuning", "batch_size": 512}
    begun = mmssl.tune("mf", data, trials=2, **search)
    found = mmssl.tune("mf", data, trials=3, **search)
    assert found.trials["trial"].tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(found.trials[["score", "lr"]][:2], begun.trials[["score", "lr"]])
    assert found.settings["batch_size"] == 512
    best = found.trials.set_index("trial").loc[found.trials["score"].idxmax()]
    assert (best["lr"], best["mean"], best["seeds"]) == (found.settings["lr"], found.score, 2)
    table = mmssl.compare(data, "MF", runs=2, config=tmp_path / "tuning", runs_dir=tmp_path / "runs", **small)
    assert table["validation"].tolist() == pytest.approx([found.score], abs=1e-12)
    [run, _] = mmssl_runs(tmp_path / "runs")
    assert run.settings["batch_size"] == 512
    assert {**{name: run.settings[name] for name in found.settings}, "preset": "none"} == found.settings
    again = mmssl.train("mf", data, device="cpu", runs_dir=tmp_path / "runs", **found.settings)
    assert again.validation["recall@20"] == best["score"]  # and no shipped settings below them
    with pytest.raises(mmssl.InputError, match="is the result of another search"):
        mmssl.tune("mf", data, trials=2, **{**search, "batch_size": 256})


def test_the_real_features_are_meant_whatever_a_file_says(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"embedding_dim": 8, "ks": (20,), "device": "cpu", "runs_dir": tmp_path / "runs"}
    (tmp_path / "noise.toml").write_text('feature-control = "noise"\nepochs = 1\n')
    worth = mmssl.controls(data, "vbpr", config=tmp_path / "noise.toml", **small)
    assert worth["recall@20"].nunique() == 3
    assert [run.settings["feature_control"] for run in mmssl_runs(tmp_path / "runs")].count("none") == 1


@pytest.mark.usefixtures("inline_runs")
def test_tune_takes_ranges_as_a_mapping_and_is_the_same_search_as_with_a_file(
    data: mmssl.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "ranges.toml").write_text("ridge = [50.0, 100.0, 200.0]\nstarts = [{ ridge = 200.0 }]\n")
    search: Any = {"trials": 2, "finalists": 1, "seeds": 1, "ks": (20,), "device": "cpu", "preset": "none"}
    ranges = {"ridge": np.array([50.0, 100.0, 200.0]), "starts": [{"ridge": np.float64(200)}]}
    found = mmssl.tune("ease", data, ranges=ranges, out=tmp_path / "tuning", **search)
    assert found.trials["ridge"].tolist() == [100.0, 200.0]  # the default, then the start
    again = mmssl.tune("ease", data, ranges=tmp_path / "ranges.toml", out=tmp_path / "tuning", **search)
    pd.testing.assert_frame_equal(found.trials, again.trials)  # resumed, not refused as another search


def test_ablate_and_controls_have_the_numbers_of_their_runs(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"epochs": 1, "embedding_dim": 8, "ks": (20,), "device": "cpu", "runs_dir": tmp_path}
    table = mmssl.ablate(data, ["w/o-CL"], runs=2, **small)
    assert table["variant"].tolist() == ["full", "w/o-CL"] and table["seeds"].tolist() == [2, 2]
    runs = mmssl_runs(tmp_path)
    for variant, mean in zip(table["variant"], table["recall@20"], strict=True):
        tests = [run.test["recall@20"] for run in runs if run.settings["variant"] == variant]
        assert mean == pytest.approx(np.mean(tests)) and len(tests) == 2
    assert mmssl.compare(data, "mmssl", runs=2, **small).iloc[0]["recall@20"] == table["recall@20"][0]

    worth = mmssl.controls(data, ["mmssl", "vbpr"], **small)
    kinds = [*zip(worth["model"], worth["features"], strict=True)]
    assert kinds == [
        *(("mmssl", kind) for kind in ("real", "shuffled", "noise", "none")),
        *(("vbpr", kind) for kind in ("real", "shuffled", "noise")),
    ]
    of_noise = [run for run in mmssl_runs(tmp_path) if run.settings["feature_control"] == "noise"]
    assert {run.test["recall@20"] for run in of_noise} == set(worth["recall@20"][worth["features"] == "noise"])


def test_tests_are_paired_against_the_reference_and_corrected(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"epochs": 1, "ks": (20,), "device": "cpu", "runs_dir": tmp_path, "layers": 1}
    plain = mmssl.compare(data, ["mf", "lightgcn", "pop"], runs=2, **small)
    table = mmssl.compare(data, ["mf", "lightgcn", "pop"], runs=2, reference="LightGCN", **small)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    added = [f"{metric}@20 p, {over}" for metric in ("recall", "precision", "ndcg") for over in ("users", "seeds")]
    assert [*table.columns[len(plain.columns) :]] == added

    by_model: dict[str, list[mmssl.Run]] = {}
    for run in sorted(mmssl_runs(tmp_path), key=lambda run: run.settings["seed"]):
        by_model.setdefault(str(run.settings["model"]), []).append(run)
    lists = {name: np.mean([per_user(run)["recall@20"] for run in runs], axis=0) for name, runs in by_model.items()}
    means = {name: [run.test["recall@20"] for run in runs] for name, runs in by_model.items()}
    for over, values in (("users", lists), ("seeds", means)):
        p = {name: ttest_rel(values["lightgcn"], values[name]).pvalue for name in ("mf", "pop")}
        small_p, large_p = sorted(p, key=lambda name: p[name])
        wanted = {small_p: min(1, 2 * p[small_p]), large_p: min(1, max(2 * p[small_p], p[large_p]))}
        found = table.set_index("model")[f"recall@20 p, {over}"]
        assert np.isnan(found["lightgcn"])
        assert found[["mf", "pop"]].to_dict() == pytest.approx({name: wanted[name] for name in ("mf", "pop")})
    alone = mmssl.compare(data, "lightgcn", tests=True, **small)
    assert [*alone.columns[len(plain.columns) :]] == added and alone[added].isna().all(axis=None)
    best = mmssl.compare(data, ["mf", "lightgcn", "pop"], runs=2, tests=True, **small)
    assert best["ndcg@20 p, users"].isna().tolist() == [True, False, False]  # against the best on validation


def test_kinds_are_tested_against_the_first_of_each_model(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"epochs": 1, "embedding_dim": 8, "ks": (20,), "device": "cpu", "runs_dir": tmp_path}
    table = mmssl.plugin(data, ["bm3", "lattice"], tests=True, **small)
    kinds = [(model, kind) for model in ("bm3", "lattice") for kind in ("plain", "+ASL", "+CL")]
    assert [*zip(table["model"], table["plug-in"], strict=True)] == kinds
    assert table["recall@20 p, users"].isna().tolist() == [kind == "plain" for _, kind in kinds]
    assert table["recall@20 p, seeds"].isna().all()  # of one seed each
    settings = [(run.settings["model"], run.settings["asl"], run.settings["cl"]) for run in mmssl_runs(tmp_path)]
    assert len(settings) == len(set(settings)) == 6
    worth = mmssl.controls(data, "vbpr", tests=True, **small)
    assert worth["ndcg@20 p, users"].isna().tolist() == [True, False, False]
    assert mmssl.ablate(data, "w/o-CL", tests=True, **small)["ndcg@20 p, users"].isna().tolist() == [True, False]


def test_sparsity_has_the_means_of_the_users_in_each_bucket(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"epochs": 1, "ks": (20,), "device": "cpu", "runs_dir": tmp_path}
    edges = np.array([0, 3, 6, 50, 60])
    table = mmssl.sparsity(data, ["mf", "pop"], buckets=edges, metric="recall@20", runs=2, **small)
    assert table["bucket"].tolist() == ["[0, 3)", "[3, 6)", "[6, 50)", "[50, 60]"] * 2
    runs = [run for run in mmssl_runs(tmp_path) if run.settings["model"] == "mf"]
    rows = table[table["model"] == "mf"]
    assert set(rows["seeds"]) == {2}
    for (_, row), (low, high) in zip(rows.iterrows(), [(0, 3), (3, 6), (6, 50), (50, 61)], strict=True):
        inside = [table[table["train_degree"].between(low, high - 1)] for table in map(per_user, runs)]
        assert row["users"] == len(inside[0])
        means = [part["recall@20"].mean() for part in inside]
        assert row["recall@20"] == pytest.approx(np.mean(means), nan_ok=True)
        assert row["recall@20 std"] == pytest.approx(np.std(means, ddof=1), nan_ok=True)
    assert rows["users"].sum() == len(per_user(runs[0]))
    with pytest.warns(UserWarning, match=r"of 600 test users are in none of the buckets"):
        mmssl.sparsity(data, "mf", buckets=(3.0, 6.0), **small)
    by_quantile = mmssl.sparsity(data, "mf", **small)
    assert by_quantile["users"].sum() == len(per_user(runs[0])) and by_quantile["ndcg@20"].notna().all()
    assert len([*tmp_path.iterdir()]) == 4  # runs are shared


def test_sweep_varies_one_setting_at_a_time_or_all(data: mmssl.Dataset, tmp_path: Path) -> None:
    small: Any = {"epochs": 1, "ks": (20,), "device": "cpu", "runs_dir": tmp_path, "embedding_dim": 8}
    table = mmssl.sweep(data, {"L": [1, 2], "lr": (0.01,)}, "lightgcn", layers=1, lr=0.001, **small)
    assert [*zip(table["layers"], table["lr"], strict=True)] == [(1, 0.001), (2, 0.001), (1, 0.01)]
    assert table["reference"].tolist() == [True, False, False]
    found = {(run.settings["layers"], run.settings["lr"]): run.test["recall@20"] for run in mmssl_runs(tmp_path)}
    for _, row in table.iterrows():
        assert row["recall@20"] == found[row["layers"], row["lr"]]
    grid = mmssl.sweep(data, {"layers": [2, 1], "lr": [0.001, 0.01]}, "lightgcn", grid=True, **small)
    assert [*zip(grid["layers"], grid["lr"], strict=True)] == [(1, 0.001), (1, 0.01), (2, 0.001), (2, 0.01)]
    assert len([*tmp_path.iterdir()]) == 4
    alone = mmssl.sweep(data, {"layers": 2}, "lightgcn", runs=2, layers=2, **small)
    assert alone["seeds"].tolist() == [2]


def test_a_script_without_a_guard_is_told_what_it_lacks_and_fails_no_trial(demo: Path, tmp_path: Path) -> None:
    call = f"mmssl.tune('itemknn', {str(demo)!r}, trials=1, out='tuning')"
    (tmp_path / "bare.py").write_text(f"import mmssl_cli as mmssl\n{call}\n")
    (tmp_path / "good.py").write_text(f"import mmssl_cli as mmssl\nif __name__ == '__main__':\n    {call}\n")
    bare, good = (
        subprocess.run([sys.executable, f"{name}.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        for name in ("bare", "good")
    )
    assert bare.returncode == 1
    assert "before it began. Each of these processes imports the script that starts it: put the calls" in bare.stderr
    assert good.returncode == 0, good.stderr


def mmssl_runs(folder: Path) -> list[mmssl.Run]:
    return [mmssl.load_run(path) for path in sorted(folder.iterdir())]


def per_user(run: mmssl.Run) -> pd.DataFrame:
    return pd.read_parquet(run.path / "per_user.parquet")
