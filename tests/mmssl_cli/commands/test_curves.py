"""`mmssl curves`: its numbers are those of metrics.parquet, its lines the means over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmssl_cli.reporting import style
from mmssl_cli.reporting.document import Section
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.studies.curves.section import curves_section
from mmssl_cli.studies.curves.traces import Trace, curves_of
from pipelines.errors import InputError, UsageError
from tests.conftest import Answer
from tests.helpers.written_runs import write_run

SEEDS = [
    ([0.02, 0.05, math.nan, 0.10, 0.08], [1.0, 2.0, 3.0, 4.0, 5.0]),
    ([0.03, 0.097, 0.10, 0.09], [2.0, 2.0, 2.0, 2.0]),
]


def model_runs(runs_dir: Path, **settings: Any) -> list[RunFolder]:
    """The same settings with two seeds: one run of five epochs, one of four."""
    return [
        write_run(runs_dir, settings={"model": "mf", "seed": seed, **settings}, scores=scores, seconds=each, test=0.1)
        for seed, (scores, each) in enumerate(SEEDS)
    ]


def section_of(folders: list[RunFolder]) -> Section:
    return curves_section(curves_of(Trace.read(folder) for folder in folders))


def test_the_table_holds_the_numbers_of_metrics_parquet(tmp_path: Path) -> None:
    folders = model_runs(tmp_path)
    (table,) = section_of(folders).tables
    (row,) = table.rows
    cells = dict(zip(table.columns, row, strict=True))
    expected: dict[str, list[float]] = {name: [] for name in table.columns[2:]}
    for folder in folders:  # by hand: from the file alone, one epoch after the other
        best, best_epoch, to_best, spent = -1.0, 0, 0.0, 0.0
        rows = pd.read_parquet(folder.path / "metrics.parquet").to_dict("records")
        for record in rows:
            spent += record["seconds"]
            if record["validation/recall@20"] > best:
                best, best_epoch, to_best = record["validation/recall@20"], record["epoch"], spent
        near = next(record["epoch"] for record in rows if record["validation/recall@20"] >= 0.95 * best)
        numbers = (2, len(rows), best, best_epoch, near, to_best, spent / len(rows))
        for name, number in zip(expected, numbers, strict=True):
            expected[name].append(number)
    for name, numbers in expected.items():
        assert cells[name].value == pytest.approx(np.mean(numbers)), name
        if name != "Seeds":
            assert cells[name].deviation == pytest.approx(np.std(numbers, ddof=1)), name
    assert expected["Best epoch"] == [4, 3] and expected["Epochs to 95% of the best"] == [4, 2]
    assert cells["Seconds to the best"].text == "8.0 ± 2.8" and cells["Best epoch"].text == "3.5 ± 0.7"
    assert cells["Status"].text == "finished"


def test_a_line_is_the_mean_over_the_epochs_that_all_seeds_reached(tmp_path: Path) -> None:
    (curves, losses) = section_of(model_runs(tmp_path)).plots
    figure = curves.draw()
    recall, by_time = figure.axes[0], figure.axes[1]
    line, *rest = lines_of(recall)
    assert line.get_xdata().tolist() == [1, 2, 4]  # one seed was not validated in epoch 3
    assert line.get_ydata() == pytest.approx([0.025, 0.0735, 0.095])
    assert lines_of(by_time)[0].get_xdata() == pytest.approx([1.5, 3.5, 9.0])
    (longer,) = rest
    assert longer.get_xdata().tolist() == [4, 5] and longer.get_ydata() == pytest.approx([0.10, 0.08])
    low, high = recall.collections[0].get_paths()[0].get_extents().intervaly
    assert high == pytest.approx(0.0735 + np.std([0.05, 0.097], ddof=1))
    assert low == pytest.approx(0.025 - np.std([0.02, 0.03], ddof=1))
    drawn = losses.draw().axes
    assert [axes.get_title(loc="left") for axes in drawn] == ["total", "bpr"]
    assert lines_of(drawn[1])[0].get_ydata() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def lines_of(axes: Any) -> list[Any]:
    """Return the lines drawn, without single markers."""
    return [line for line in axes.get_lines() if line.get_linestyle() != "None"]


def test_epochs_are_whole_numbers(tmp_path: Path) -> None:
    folder = write_run(tmp_path, settings={"model": "mf"}, scores=[0.1, 0.2], test=0.1)
    for plot in section_of([folder]).plots:
        axes = [one for one in plot.draw().axes if one.get_xlabel() == "Epoch"]
        assert axes
        for one in axes:
            assert all(tick == round(tick) for tick in one.get_xticks())


def test_the_epoch_that_validation_selects_is_marked(tmp_path: Path) -> None:
    folders = model_runs(tmp_path)
    figure = section_of(folders).plots[0].draw()
    for axes, places in zip(figure.axes[:2], ([4, 3], [10.0, 6.0]), strict=True):
        marks = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [  # type: ignore[index]
            (places[0], 0.10),
            (places[1], 0.10),
        ]
    selects = write_run(tmp_path, settings={"model": "mf", "select_on": "recall@10"}, scores=[0.1])
    assert Trace.read(selects).selected is None  # it has no such column


def test_the_losses_of_many_terms_fit_a_part_of_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path, settings={"model": "mf"}, scores=[0.1, 0.2])
    metrics = folder.read_metrics()
    folder.write_metrics(metrics.assign(**{f"loss/part {number}": 0.5 for number in range(11)}))
    figure = section_of([folder]).plots[1].draw()
    assert figure.get_figheight() <= 4.5
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles[:2] == ["total", "bpr"] and len(titles) == 13
    labelled = [axes.get_xlabel() for axes in figure.axes]
    assert labelled == [""] * 9 + ["Epoch"] * 4 + [""] * 3


def test_the_data_beside_the_figure_are_the_runs_own(tmp_path: Path) -> None:
    folders = model_runs(tmp_path)
    data = section_of(folders).plots[0].data
    assert list(data.columns) == ["label", "run", "seed", "epoch", "seconds", *ndcg_and_recall(folders[0])]
    for folder in folders:
        part, metrics = data[data["run"] == folder.id], folder.read_metrics()
        assert part["seconds"].to_numpy() == pytest.approx(np.cumsum(metrics["seconds"]))
        np.testing.assert_array_equal(part["validation/ndcg@20"], metrics["validation/ndcg@20"])


def ndcg_and_recall(folder: RunFolder) -> list[str]:
    return [name for name in folder.read_metrics() if name.startswith("validation/")]


def test_configurations_of_one_model_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    base = {"model": "lightgcn", "dataset": "demo"}
    folders = [write_run(tmp_path, settings={**base, **own}, scores=[0.1]) for own in ({"layers": 1}, {"layers": 3})]
    folders.append(write_run(tmp_path, settings={"model": "mf", "dataset": "demo"}, scores=[0.1]))
    curves = curves_of(Trace.read(folder) for folder in folders)
    assert [curve.label for curve in curves] == ["lightgcn, layers 1", "lightgcn, layers 3", "mf"]
    assert style.colour(curves[0].label) == style.colour("lightgcn")


def test_runs_that_are_not_over_are_drawn_as_far_as_they_came(tmp_path: Path) -> None:
    cut_off = write_run(tmp_path, settings={"model": "mf"}, scores=[0.1, 0.2])
    running = write_run(tmp_path, settings={"model": "lightgcn"}, scores=[0.1, 0.2, 0.3])
    with running.lock():
        (table,) = section_of([cut_off, running]).tables
    assert [[cell.text for cell in row[:4]] for row in table.rows] == [
        ["mf", "interrupted", "1", "2"],
        ["lightgcn", "running", "1", "3"],
    ]


def test_devices_are_noted(tmp_path: Path) -> None:
    one = [write_run(tmp_path, settings={"model": "mf", "seed": seed}, scores=[0.1]) for seed in (1, 2)]
    other = write_run(tmp_path, settings={"model": "lightgcn"}, scores=[0.1], device="NVIDIA X")
    assert "All on cpu (test)" in section_of(one).tables[0].notes[1]
    assert section_of([*one, other]).tables[0].notes[1] == (
        "Seconds do not compare between devices, and these runs were on several: NVIDIA X; cpu (test)."
    )


def test_runs_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, settings={"model": "mf"}, scores=[0.1])
    elsewhere = write_run(tmp_path, settings={"model": "mf", "dataset": "other"}, scores=[0.1])
    empty = RunFolder.create(tmp_path, "empty", (run.path / "config.toml").read_text())
    with pytest.raises(UsageError, match=r"run-000 on demo, run-001 on other; give runs of one"):
        section_of([run, elsewhere])
    with pytest.raises(InputError, match="Run empty has no epoch yet"):
        Trace.read(empty)
    with pytest.raises(UsageError, match=r"Run run-000 has no validation recall@7; it has recall@20, ndcg@20"):
        curves_section(curves_of([Trace.read(run)]), ["recall@7"])
    (run.path / "metrics.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="damaged"):
        Trace.read(run)


def test_the_command_draws_the_runs_it_is_given(cli: Callable[..., Answer], tmp_path: Path) -> None:
    folders = model_runs(tmp_path / "runs")
    answer = cli("curves", *(folder.id for folder in folders), "--json", "--out", "shown", "--metric", "ndcg@20")
    assert answer.code == 0, answer.err
    (table,) = json.loads(answer.out)["tables"]
    best = np.mean([np.nanmax(scores) / 2 for scores, _ in SEEDS])
    assert table["rows"][0]["Best validation NDCG@20"] == pytest.approx(best)
    written = {path.name for path in (tmp_path / "shown").rglob("*") if path.is_file()}
    assert {"figure3-curves-demo.svg", "figure3-losses-demo.svg", "curves-demo.csv"} <= written


def test_the_command_without_runs_takes_the_finished_ones(cli: Callable[..., Answer], tmp_path: Path) -> None:
    model_runs(tmp_path / "runs")
    write_run(tmp_path / "runs", settings={"model": "lightgcn"}, scores=[0.2], test=0.1)
    (
        write_run(tmp_path / "runs", settings={"model": "lightgcn"}, scores=[0.1], test=0.1).path / "result.json"
    ).write_text("{")
    answer = cli("curves", "--dataset", "demo", "--json")
    assert answer.code == 0, answer.err
    assert [row["Model"] for row in json.loads(answer.out)["tables"][0]["rows"]] == ["mf", "lightgcn"]
    assert json.loads(answer.out)["text"][0].startswith("Of each model and variant: the settings with the most seeds")
    assert "is damaged" in answer.err
    unknown = cli("curves", "--dataset", "demo", "--metric", "foo@1")
    assert unknown.code == 2 and "finished runs on demo measured" in unknown.words
    assert "The metric 'foo@1' is unknown" in unknown.words and ": ndcg@20, recall@20." in unknown.words


def test_runs_on_another_preparation_are_left_out_and_named(cli: Callable[..., Answer], tmp_path: Path) -> None:
    older = write_run(tmp_path / "runs", settings={"model": "lightgcn"}, scores=[0.2], test=0.1, content="older")
    model_runs(tmp_path / "runs")
    shown = json.loads(cli("curves", "--dataset", "demo", "--json").out)
    assert [row["Model"] for row in shown["tables"][0]["rows"]] == ["mf"]
    assert f"Left out, as they were trained on another preparation of demo: {older.id}." in shown["text"]
    prepared = cli("prep", "demo")
    assert prepared.code == 0, prepared.err
    elsewhere = json.loads(cli("curves", "--dataset", "demo", "--json").out)
    assert "All runs were trained on another preparation of demo than the one at hand." in elsewhere["text"]


def test_runs_that_did_not_measure_a_metric_are_not_drawn(cli: Callable[..., Answer], tmp_path: Path) -> None:
    for model, lost in (("mf", "recall@20"), ("lightgcn", "ndcg@20")):
        folder = write_run(tmp_path / "runs", settings={"model": model}, scores=[0.2], test=0.1)
        folder.write_metrics(folder.read_metrics().drop(columns=f"validation/{lost}"))
    answer = cli("curves", "--dataset", "demo", "--metric", "ndcg@20", "--json")
    assert [row["Model"] for row in json.loads(answer.out)["tables"][0]["rows"]] == ["mf"]
    both = cli("curves", "--dataset", "demo")
    assert both.code == 2 and "No finished run on demo measured all of recall@20, ndcg@20" in both.words


def test_runs_of_other_cut_offs_are_drawn_by_the_metric_that_selected_them(
    cli: Callable[..., Answer], tmp_path: Path
) -> None:
    settings = {"model": "mf", "ks": (5, 10), "select_on": "recall@10"}
    folder = write_run(tmp_path / "runs", settings=settings, scores=[0.2, 0.1], test=0.1)
    metrics = folder.read_metrics()
    folder.write_metrics(metrics.rename(columns={name: name.replace("@20", "@10") for name in metrics}))
    for named in ([], [folder.id]):
        answer = cli("curves", *named, *([] if named else ["--dataset", "demo"]), "--json")
        assert answer.code == 0, answer.err
        assert "Best validation Recall@10" in json.loads(answer.out)["tables"][0]["rows"][0]


def test_runs_of_several_cut_offs_are_drawn_by_the_metric_that_all_have(
    cli: Callable[..., Answer], tmp_path: Path
) -> None:
    folders = [
        write_run(
            tmp_path / "runs", settings={"model": "mf", "ks": ks, "select_on": "recall@10"}, scores=[0.2], test=0.1
        )
        for ks in ((5, 10), (10, 20))
    ]
    for folder in folders:
        metrics = folder.read_metrics()
        both = {name.replace("@20", "@10"): metrics[name] for name in metrics if "@20" in name}
        lost = ["validation/recall@20", "validation/ndcg@20"] if folder is folders[0] else []
        folder.write_metrics(metrics.assign(**both).drop(columns=lost))
    answer = cli("curves", *(folder.id for folder in folders), "--json")
    assert answer.code == 0, answer.err
    assert "Best validation Recall@10" in json.loads(answer.out)["tables"][0]["rows"][0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There is no finished run on demo to draw in runs; `mmssl train --dataset demo` makes one."),
        (["--runs-dir", "my runs"], "`mmssl train --dataset demo --runs-dir 'my runs'` makes one."),
        (["latest", "--dataset", "demo"], "--dataset chooses among all runs"),
        (["nothing"], "There is no run 'nothing'"),
    ],
)
def test_the_command_says_what_is_missing(cli: Callable[..., Answer], arguments: list[str], sentence: str) -> None:
    answer = cli("curves", *arguments)
    assert answer.code == 2 and sentence in answer.words


def test_diagnostics_of_the_adversary_have_a_figure_of_their_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path, settings={"model": "mmssl"}, scores=[0.1, 0.2, 0.3])
    assert [plot.name for plot in section_of([folder]).plots] == ["figure3-curves-demo", "figure3-losses-demo"]
    values = {"diagnostics/D real": [0.7, 0.8, 0.9], "diagnostics/turnover": [np.nan, 0.5, 0.25]}
    folder.write_metrics(folder.read_metrics().assign(**values))
    plot = section_of([folder]).plots[2]
    assert plot.name == "adversary-demo"
    real, turnover = plot.draw().axes[:2]
    assert [axes.get_title(loc="left") for axes in (real, turnover)] == ["D real", "turnover"]
    np.testing.assert_allclose(np.asarray(real.lines[0].get_ydata(), dtype=float), [0.7, 0.8, 0.9])
    np.testing.assert_allclose(np.asarray(turnover.lines[0].get_ydata(), dtype=float), [0.5, 0.25])
