"""The benchmark of time to quality: from finished runs, trained here, and beside the log of another program."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bench_quality
from benchmarks.bench_quality import Course, read_log
from pipelines.errors import InputError
from tests.helpers.written_runs import write_run

LOG = [
    {"model": "MF", "epoch": 2, "seconds": 3.0, "score": 0.0995},
    {"model": "MF", "epoch": 1, "seconds": 2.0, "score": None},
    {"model": "MF", "epoch": 3, "seconds": 9.0, "score": 0.1},
    {"model": "LightGCN", "epoch": 1, "seconds": 1.0, "score": 0.2},
]
Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run the benchmark and return its report."""

    def run(*arguments: object) -> dict[str, Any]:
        bench_quality.main([*map(str, arguments), "--json"])
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        return report

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of another program, as CSV."""
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, LOG[0])
        writer.writeheader()
        writer.writerows(LOG)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds of MF with processor time, and LightGCN of an earlier version, without."""
    folder = tmp_path / "runs"
    for seed, each in ((1, 0.5), (2, 1.5)):
        scores = [np.nan, 0.05, 0.0991, 0.1, 0.0999]
        run = write_run(folder, settings={"model": "mf", "seed": seed}, scores=scores, test=0.1, seconds=2.0)
        run.write_metrics(run.read_metrics().assign(processor_seconds=each))
    write_run(folder, settings={"model": "lightgcn"}, scores=[0.2, 0.1], test=0.1, seconds=4.0)
    write_run(folder, settings={"model": "lightgcn", "dataset": "other"}, scores=[0.2], test=0.1)
    write_run(folder, settings={"model": "ngcf"}, scores=[0.2])  # not over
    return folder


def test_seconds_until_a_share_of_the_final_score(bench: Bench, runs: Path, log: Path) -> None:
    report = bench("--runs", runs, "--dataset", "demo", "--against", log)
    found = {row["model"]: row for row in report["results"]}
    assert set(found) == {"mf", "lightgcn"} and "left_out" not in report
    mf, lightgcn = found["mf"], found["lightgcn"]
    assert (mf["runs"], mf["epochs"], mf["score"], mf["metric"]) == (2, 3, 0.1, "recall@20")
    assert mf["seconds"]["median"] == 6.0
    assert mf["processor_seconds"] == pytest.approx({"low": 2.25, "median": 3.0, "high": 3.75})
    assert mf["processor_seconds_of_all_epochs"]["median"] == pytest.approx(5.0)
    assert (mf["their_epochs"], mf["their_score"], mf["theirs"]) == (2, 0.1, 5.0)
    assert mf["processor_ratio"]["high"] == pytest.approx((5 / 1.5 + (5 / 1.5 + 5 / 4.5) / 2) / 2)
    assert mf["ratio_to_their_score"] == mf["processor_ratio"]  # both programs end at 0.1
    assert lightgcn["seconds"]["median"] == 4.0 and lightgcn["theirs"] == 1.0
    assert "processor_seconds" not in lightgcn and "processor_ratio" not in lightgcn
    plan = report["plan"]
    assert (plan["runs"], plan["runs_without_processor_seconds"]) == (3, 1)
    assert plan["hours"] == pytest.approx(28 / 3600) and plan["processor_hours"] == pytest.approx(10 / 3600)


def test_the_table_names_what_it_shows(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write_run(runs, settings={"model": "mf", "seed": 3}, scores=[0.1], test=0.1)
    (broken.path / "metrics.parquet").write_bytes(b"")
    bench_quality.main(["--runs", str(runs)])
    out = capsys.readouterr().out
    head = next(line for line in out.splitlines() if line.startswith("model "))
    assert "processor seconds" in head and "score" in head
    assert "processor hours" in out and "other" in out
    assert f"Run {broken.id} is left out" in out


def test_models_are_trained_where_no_runs_are_given(bench: Bench, demo: Path) -> None:
    report = bench("--data", demo, "--models", "mf,pop", "--epochs", 2)
    mf, pop = report["results"]
    assert (mf["model"], mf["dataset"], pop["model"], pop["epochs"]) == ("mf", "demo", "pop", 1)
    assert 0 < mf["processor_seconds"]["median"] <= mf["processor_seconds_of_all_epochs"]["median"]
    assert 0 < mf["score"] < 1
    assert report["plan"]["runs"] == 2 and report["plan"]["processor_hours"] > 0


def test_the_first_epoch_near_the_best_counts() -> None:
    seconds = np.ones(4)
    course = Course(np.array([0.9, np.nan, 0.989, 1.0]), seconds, seconds)
    assert (course.final, course.reached) == (1.0, 4)
    assert Course(np.array([0.99, 1.0, 0.5, 1.0]), seconds, seconds).reached == 1


def test_a_log_is_csv_or_json(tmp_path: Path, log: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(LOG))
    for found in (read_log(log), read_log(path)):
        assert set(found) == {"mf", "lightgcn"}
        (course,) = found["mf"]
        np.testing.assert_array_equal(course.scores, [np.nan, 0.0995, 0.1])
        np.testing.assert_array_equal(course.processor_seconds, [2, 3, 9])
    path.write_text(json.dumps([{**epoch, "seed": seed} for seed in (1, 2) for epoch in LOG]))
    assert [len(courses) for courses in read_log(path).values()] == [2, 2]


@pytest.mark.parametrize(
    "text",
    [
        "model,epoch,score\nmf,1,0.1\n",
        "model,epoch,seconds,score\nmf,first,1,0.1\n",
        "model,epoch,seconds,score\nmf,1,-1,0.1\n",
        "model,epoch,seconds,score\nmf,1,1,inf\n",
        "model,epoch,seconds,score\nmf,1,1,\n",
        "model,epoch,seconds,score\nmf,1,1,0.1\nmf,1,1,0.1\n",
        '{"model": "mf"}',
        None,
    ],
)
def test_another_form_is_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / ("log.json" if text and text.startswith("{") else "log.csv")
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"log\.(csv|json).*expected"):
        read_log(path)


def test_a_folder_without_finished_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench_quality.main(["--runs", str(tmp_path), "--dataset", "demo"])
    assert ended.value.code == 2 and "holds no finished runs on demo" in capsys.readouterr().err


@pytest.mark.parametrize(("score", "ratio"), [(0.05, (5 / 1 + 5 / 3) / 2), (0.5, 0.0)])
def test_the_time_to_a_lower_score_of_another_program_and_to_one_that_is_never_reached(
    bench: Bench, runs: Path, tmp_path: Path, score: float, ratio: float
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(f"model,epoch,seconds,score\nmf,1,5,{score}\n")
    report = bench("--runs", runs, "--dataset", "demo", "--against", log)
    [mf] = [row for row in report["results"] if row["model"] == "mf"]
    assert mf["ratio_to_their_score"]["median"] == pytest.approx(ratio)
