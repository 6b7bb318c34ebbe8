"""`mmssl report` and what it is built from: the numbers are those of the runs, and what is missing is named."""

from __future__ import annotations

import csv
import json
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from mmssl_cli.app import app
from mmssl_cli.config import build_settings
from mmssl_cli.console.training import Reporter
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.results import finished_runs
from mmssl_cli.studies.run_selection import differences, gather
from mmssl_cli.training.trainer import train_run
from pipelines.errors import UsageError
from tests.conftest import Answer
from tests.helpers.model_cases import write_toy
from tests.helpers.shared_folder import made_once

Cli = Callable[..., Answer]
SMALL = {"dataset": "toy", "embedding_dim": 8, "batch_size": 32, "epochs": 3, "device": "cpu", "ks": (5, 20)}
RUNS: list[dict[str, Any]] = [
    {"model": "lightgcn"},
    {"model": "lightgcn", "layers": 5, "lr": 1e-6},  # validates worse, or stands for lightgcn
    {"model": "mmssl"},
    {"model": "mmssl", "variant": "w/o-CL"},
    {"model": "mmssl", "layers": 1},
    {"model": "mmssl", "layers": 1, "eta": 0.3},  # differs in two: neither a variant nor a point
    {"model": "mmssl", "epochs": 2},  # trained less long: no point of a sweep
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy data, two seeds of each of RUNS, and in out/ the report that said what is in ``said``."""
    return made_once(tmp_path_factory, "report", _train_and_report)


def _train_and_report(folder: Path) -> None:
    write_toy(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
        for changed in RUNS:
            for seed in (1, 2):
                own = (
                    {"heads": 2, "layers": 2, "weight_averaging": 0.0, "contrast_weight": 1.0}
                    if changed["model"] == "mmssl"
                    else {}
                )
                settings = build_settings({**SMALL, **own, **changed, "seed": seed})
                train_run(settings, folder / "data", folder / "runs", reporter=Reporter())
        patch.chdir(folder)
        arguments = ["report", "--data-dir", str(folder / "data"), "--runs-dir", str(folder / "runs"), "--out", "out"]
        answer = CliRunner().invoke(app, arguments, prog_name="mmssl")
    assert answer.exit_code == 0, answer.stderr
    Path(folder / "said").write_text(answer.stdout)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a report are empty: drawing takes seconds."""
    empty = b'<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt"/>'
    monkeypatch.setattr("mmssl_cli.reporting.style._rendered", lambda *given: empty)


def results_of(runs: Path, **wanted: Any) -> list[RunFolder]:
    """The runs with these settings, by seed."""
    folders = [RunFolder.open(path) for path in runs.iterdir() if not path.name.startswith(".")]
    fitting = [
        run for run in folders if all(getattr(run.settings(), key, None) == value for key, value in wanted.items())
    ]
    return sorted(fitting, key=lambda run: run.settings().seed)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_runs_are_sorted_into_reference_variants_points_and_baselines(toy: Path) -> None:
    runs, problems = finished_runs(toy / "runs")
    selection = gather(runs, "toy")
    assert problems == [] and selection.reference is not None and len(selection.configurations) == len(RUNS)
    assert selection.reference.settings.epochs == 3 and selection.reference.seeds == (1, 2)
    assert list(selection.variants) == ["full", "w/o-CL"]
    assert {name: list(points) for name, points in selection.points.items()} == {"layers": [1, 2]}
    assert selection.points["layers"][2] is selection.reference
    assert list(selection.baselines) == ["lightgcn"]
    candidates = [one for one in selection.configurations if one.settings.model == "lightgcn"]
    scores = [np.mean([run.result["validation"]["recall@20"] for run in one.runs]) for one in candidates]
    assert selection.baselines["lightgcn"] is candidates[int(np.argmax(scores))]
    assert list(differences(selection.reference, selection.points["layers"][1])) == ["layers"]


def test_the_reference_can_be_named(toy: Path) -> None:
    runs, _ = finished_runs(toy / "runs")
    short = results_of(toy / "runs", model="mmssl", epochs=2)[0]
    selection = gather(runs, "toy", reference=short.id)
    assert selection.reference is not None and selection.reference.settings.epochs == 2
    assert list(selection.variants) == ["full"] and selection.points == {}
    for wrong in (results_of(toy / "runs", model="lightgcn")[0].id, "no-such-run"):
        with pytest.raises(UsageError, match="cannot be the reference"):
            gather(runs, "toy", reference=wrong)


def test_the_numbers_of_the_report_are_those_of_the_runs(toy: Path) -> None:
    out = toy / "out"
    assert "out/index.html" in (toy / "said").read_text()
    full = results_of(toy / "runs", model="mmssl", layers=2, epochs=3, variant="full")
    without = results_of(toy / "runs", model="mmssl", variant="w/o-CL")

    tables = {
        metric: {row["Variant"]: row for row in rows_of(out / f"tables/table3-ablation-toy-{metric}-20.csv")}
        for metric in ("recall", "ndcg")
    }
    for label, metric in (("Recall@20", "recall@20"), ("NDCG@20", "ndcg@20")):
        ablation = tables[metric[:-3]]
        assert list(ablation) == ["full", "w/o-CL"]
        for variant, runs in (("full", full), ("w/o-CL", without)):
            values = [json.loads((run.path / "result.json").read_text())["test"][metric] for run in runs]
            assert float(ablation[variant][label]) == pytest.approx(statistics.mean(values))
            assert float(ablation[variant][f"{label} deviation"]) == pytest.approx(statistics.stdev(values))
    users = [
        sum(pd.read_parquet(run.path / "per_user.parquet").set_index("user")["recall@20"] for run in runs) / 2
        for runs in (without, full)
    ]
    expected = stats.ttest_rel(users[0], users[1]).pvalue
    tested = {row["Metric"]: row for row in rows_of(out / "tables/table3-tests-toy.csv")}
    assert {row["Variant"] for row in tested.values()} == {"w/o-CL"} and set(tested) == {"Recall@20", "NDCG@20"}
    assert float(tested["Recall@20"]["p, users"]) == pytest.approx(expected)
    means = [np.mean([run.read_result()["test"]["recall@20"] for run in runs]) for runs in (without, full)]
    assert float(tested["Recall@20"]["Difference"]) == pytest.approx(means[0] / means[1] - 1)

    test = stats.ttest_rel(*([run.read_result()["test"]["recall@20"] for run in runs] for runs in (without, full)))
    assert float(tested["Recall@20"]["p, seeds"]) == pytest.approx(test.pvalue)
    comparison = {row["Model"]: row for row in rows_of(out / "tables/table2-comparison-toy.csv")}
    assert list(comparison) == ["lightgcn", "mmssl"]
    assert float(comparison["mmssl"]["Recall@20"]) == pytest.approx(means[1])
    listed = {row["Run"] for row in rows_of(out / "tables/runs-toy.csv")}
    assert {run.id for run in [*full, *without]} <= listed and len(listed) == 8
    assert "3 other configurations with finished runs on toy are not shown" in (out / "report.md").read_text()


def test_every_format_shows_every_table_and_figure(toy: Path) -> None:
    out = toy / "out"
    page, text, tex = ((out / name).read_text() for name in ("index.html", "report.md", "report.tex"))
    tables = {path.stem for path in (out / "tables").glob("*.csv")}
    figures = {path.stem for path in (out / "figures").glob("*.svg")}
    for start in ("table1", "table2", "table3", "table4", "figure1", "figure3", "figure4"):
        assert any(name.startswith(start) for name in tables | figures), start
    for form in ("pdf", "png"):
        assert figures == {path.stem for path in (out / "figures").glob(f"*.{form}")}
    assert page.count("<svg") == len(figures) == text.count("](figures/")
    assert page.count("<table") == len(tables) == tex.count(r"\begin{tabular}")
    assert re.findall(r"https?://(?!www\.w3\.org/)", page) == []  # nothing to fetch: only names of XML vocabularies


def test_what_is_missing_is_named_with_its_command(cli: Cli, toy: Path) -> None:
    said = (toy / "said").read_text()
    reference = results_of(toy / "runs", model="mmssl", layers=2, epochs=3, variant="full")[0]
    places = f"--runs 2 --data-dir {toy / 'data'} --runs-dir {toy / 'runs'}"
    for command in (
        f"mmssl ablate --variant w/o-GT --config {reference.path / 'config.toml'} {places}",
        f"mmssl sweep --param zeta=0,10,20,50,100,150 --config {reference.path / 'config.toml'} {places}",
        f"mmssl sweep --param layers=3,4 --config {reference.path / 'config.toml'} {places}",
        f"mmssl controls --config {reference.path / 'config.toml'} {places}",
        f"mmssl analyze {reference.id}",
    ):
        assert command in said
    assert "--variant w/o-CL" not in said
    dry = said.partition("mmssl ablate --variant w/o-GT ")[2].splitlines()[0].split()
    planned = json.loads(cli("ablate", "--variant", "w/o-GT", *dry, "--dry-run", "--json").out)["runs"]
    assert [run["status"] for run in planned] == ["finished", "missing"] * 2


@pytest.mark.usefixtures("undrawn")
def test_the_report_says_what_it_is_built_around_and_what_is_left_out(cli: Cli, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy / "runs", "runs")
    [cut_off, _] = results_of(Path("runs"), model="mmssl", epochs=2)
    (cut_off.path / "result.json").unlink()
    answer = cli("report", "--data-dir", toy / "data")
    text = Path("report/report.md").read_text()
    reference = results_of(Path("runs"), model="mmssl", layers=2, epochs=3, variant="full")[0]
    assert f"(run {reference.id})" in text and "Other settings of mmssl were trained too" in text
    assert f"Run {cut_off.id} is interrupted after 2 epochs and left out." in answer.err
    assert "lightgcn: 3 epochs, patience 15; mmssl: visual + text, 3 epochs, patience 15" in text


@pytest.mark.usefixtures("undrawn")
def test_without_the_data_set_the_report_is_made_of_what_the_runs_hold(cli: Cli, toy: Path) -> None:
    answer = cli("report", "--data-dir", "nowhere", "--runs-dir", toy / "runs", "--json")
    assert answer.code == 0, answer.err
    titles = [section["section"] for section in json.loads(answer.out)]
    assert any(title.startswith("Ablation on toy") for title in titles)
    assert not any(title.startswith("Data sets") for title in titles)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--runs-dir", "nowhere"), 2, "holds no finished runs"),
        (("--dataset", "tou"), 2, "did you mean toy"),
        (("--reference", "nothing"), 2, "There is no run"),
    ],
)
def test_bad_input_is_answered(cli: Cli, toy: Path, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    places = ("--data-dir", toy / "data", *(() if "--runs-dir" in arguments else ("--runs-dir", toy / "runs")))
    answer = cli("report", *arguments, *places)
    assert answer.code == code and sentence in answer.words, answer
    assert not Path("report").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_run_is_named_and_left_out(cli: Cli, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy / "runs", "runs")
    damaged = results_of(Path("runs"), model="mmssl", variant="w/o-CL")[0]
    (damaged.path / "per_user.parquet").write_bytes(b"nothing")
    answer = cli("report", "--data-dir", toy / "data")
    assert answer.code == 0 and damaged.id in answer.err and "damaged" in answer.err
    assert damaged.id in Path("report/index.html").read_text()
    ablation = {row["Variant"]: row for row in rows_of(Path("report/tables/table3-ablation-toy-recall-20.csv"))}
    assert ablation["w/o-CL"]["Seeds"] == "2"
