"""`mmssl sweep`: the points it makes, the value it chooses, and numbers that are those of the runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmssl_cli.config import build_settings
from mmssl_cli.reporting import style
from mmssl_cli.reporting.document import Table
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import list_runs
from mmssl_cli.studies.sweep.figures import place_values
from mmssl_cli.studies.sweep.findings import PAPER_BEST
from mmssl_cli.studies.sweep.points import FIGURE_4, parameter_named, parse
from mmssl_cli.studies.sweep.section import sweep_section
from pipelines.errors import UsageError
from pipelines.sources import demo
from tests.conftest import Answer
from tests.helpers.sweep_cases import REFERENCE, line, read, section_of
from tests.helpers.written_runs import write_run

#: layers -> validation and test Recall@20 of two seeds.
LAYERS = {
    1: [(0.10, 0.30), (0.11, 0.32)],
    2: [(0.20, 0.25), (0.24, 0.27)],
    3: [(0.21, 0.20), (0.20, 0.21)],
}


def write_layers(runs_dir: Path) -> None:
    for layers, seeds in LAYERS.items():
        for seed, (validation, test) in enumerate(seeds):
            settings = {"model": "mmssl", "layers": layers, "seed": seed}
            write_run(runs_dir, settings=settings, scores=[validation / 2, validation], test=test)


def row_of(table: Table, first: str) -> dict[str, Any]:
    (row,) = [row for row in table.rows if row[0].text == first]
    return dict(zip(table.columns, row, strict=True))


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("layers", "layers"),
        ("L", "layers"),
        ("embedding-dim", "embedding_dim"),
        ("embedding_dim", "embedding_dim"),
        ("d", "embedding_dim"),
        ("lambda_1", "gradient_penalty"),
        ("lambda1", "gradient_penalty"),
        ("λ₁", "gradient_penalty"),
        ("Lambda2", "contrast_weight"),
        ("tau", "gumbel_temperature"),
        ("tau'", "contrast_temperature"),
        ("τ′", "contrast_temperature"),
        ("η", "eta"),
        ("omega", "omega"),
    ],
)
def test_a_setting_is_known_by_its_name_and_by_the_papers_symbol(name: str, parameter: str) -> None:
    assert parameter_named(name, "mmssl") == parameter


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("layer=1", "has no setting 'layer' to sweep: did you mean layers"),
        ("layers", "has no values; expected NAME=VALUE,VALUE,..."),
        ("layers=, ", "has no values; expected layers=VALUE,VALUE,..."),
        ("layers=1,99", "layers cannot be '99'"),
        ("layers=two", "layers cannot be 'two'"),
        ("zeta=nan", "zeta cannot be 'nan'"),
        ("embedding-dim=8,10", r"heads cannot be 4: expected a divisor of embedding-dim \(10\)"),
        ("variant=w/o", "variant cannot be 'w/o'"),
        ("seed=1,2", "seed cannot be swept: --runs N"),
        ("dataset=demo,tiktok", "dataset cannot be swept"),
    ],
)
def test_what_cannot_be_swept_is_refused(given: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse([given], REFERENCE)


def test_a_model_without_the_setting_is_named() -> None:
    with pytest.raises(UsageError, match="Model 'mf' has no setting 'zeta' to sweep"):
        parse(["zeta=1"], build_settings({"model": "mf"}))


def test_without_parameters_those_of_figure_4_are_tried() -> None:
    values = parse((), REFERENCE)
    assert list(values) == list(FIGURE_4) and len(values) == 6
    assert values["layers"] == (1, 2, 3, 4) and values["zeta"] == (0, 10, 20, 50, 100, 150)
    assert values["gradient_penalty"] == (0, 1, 10, 20, 50, 100, 150)
    assert values["embedding_dim"] == tuple(2**power for power in range(3, 10))
    for name in ("gumbel_temperature", "contrast_temperature"):
        assert all(0 < value <= 0.9 for value in values[name])
    assert all(set(best) <= set(values[name]) for name, best in PAPER_BEST.items())
    assert list(parse((), build_settings({"model": "lightgcn"}))) == ["layers", "embedding_dim"]


def test_one_at_a_time_the_reference_is_a_point_of_every_line() -> None:
    layers, zeta = line("zeta=10,0", "layers=3,1,3")[::-1]
    assert [point.values for point in layers.points] == [(1,), (2,), (3,)]
    assert [point.values for point in zeta.points] == [(0,), (1,), (10,)]
    for each in (layers, zeta):
        assert [point.settings for point in each.points if point.reference] == [REFERENCE]
        for point in each.points:
            changed = {each.parameters[0]: point.values[0]}
            assert point.settings == build_settings({**REFERENCE.model_dump(), **changed})


def test_a_grid_is_every_combination() -> None:
    (grid,) = line("layers=2,1", "zeta=0,1", grid=True)
    assert [point.values for point in grid.points] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert [point.reference for point in grid.points] == [False, False, False, True]
    assert [(p.settings.layers, p.settings.zeta) for p in grid.points] == [p.values for p in grid.points]  # type: ignore[attr-defined]


def test_names_and_lists_are_values_too() -> None:
    assert parse(["modalities=visual+text,none,all"], REFERENCE) == {"modalities": (("visual", "text"), (), None)}
    (variants,) = line("variant=w/o-CL,w/o-GT")
    assert [point.values[0] for point in variants.points] == ["full", "w/o-CL", "w/o-GT"]


def test_the_table_holds_the_numbers_of_the_runs(tmp_path: Path) -> None:
    write_layers(tmp_path)
    (table,) = section_of(tmp_path, line("layers=1,2,3,4")).tables
    stored: dict[int, list[RunFolder]] = {}
    for path in tmp_path.iterdir():
        folder = RunFolder.open(path)
        stored.setdefault(folder.settings().layers, []).append(folder)  # type: ignore[attr-defined]
    for layers, folders in stored.items():
        results = [json.loads((folder.path / "result.json").read_text()) for folder in folders]
        expected = {
            "Validation Recall@20": [result["validation"]["recall@20"] for result in results],
            "Recall@20": [result["test"]["recall@20"] for result in results],
            "NDCG@20": [result["test"]["ndcg@20"] for result in results],
        }
        row = row_of(table, str(layers))
        assert row["Seeds"].value == 2 and row["layers"].value == layers
        for name, values in expected.items():
            assert row[name].value == pytest.approx(np.mean(values)), name
            assert row[name].deviation == pytest.approx(np.std(values, ddof=1)), name
    assert [cell.text for cell in table.rows[3]] == ["4", "", "0", "-", "-", "-"]


def test_validation_chooses_the_value_and_not_the_test(tmp_path: Path) -> None:
    write_layers(tmp_path)
    section = section_of(tmp_path, line("layers=1,2,3"))
    (table,) = section.tables
    assert [row[1].text for row in table.rows] == ["", "reference, chosen on validation", ""]
    assert row_of(table, "2")["Validation Recall@20"].mark == "best"
    assert row_of(table, "1")["Recall@20"].mark == "best"
    (text,) = section.text
    assert "validation Recall@20 chooses 2 (0.2200), whose test Recall@20 is 0.2600 ± 0.0141." in text


def test_the_baseline_is_the_best_on_validation_of_another_model(tmp_path: Path) -> None:
    write_layers(tmp_path)
    for model, validation, test in (("mf", 0.3, 0.22), ("lightgcn", 0.2, 0.9), ("mmssl", 0.9, 0.9)):
        write_run(tmp_path, settings={"model": model, "lr": 0.5}, scores=[validation], test=test)
    section = section_of(tmp_path, line("layers=1,2,3"))
    (table,), (plot,) = section.tables, section.plots
    assert [cell.text for cell in table.rows[-1]] == ["mf", "best baseline", "1", "0.3000", "0.2200", "0.1100"]
    assert section.missing == () and "mf, the best baseline: of each other model" in plot.caption
    assert "Best baseline: of each other model the settings with the most seeds" in table.notes[1]
    (horizontal,) = [drawn for drawn in plot.draw().axes[0].get_lines() if drawn.get_label() == "mf (best baseline)"]
    assert list(horizontal.get_ydata()) == [0.22, 0.22]


def test_a_baseline_with_runs_at_each_value_is_a_line_of_its_own(tmp_path: Path) -> None:
    scores = {8: [0.10, 0.12], 16: [0.20, 0.24], 64: [0.15, 0.15]}
    for dim, tests in scores.items():
        for seed, test in enumerate(tests):
            write_run(
                tmp_path,
                settings={"model": "mmssl", "layers": 2, "embedding_dim": dim, "seed": seed},
                scores=[0.1],
                test=0.3,
            )
            settings = {"model": "lattice", "embedding_dim": dim, "seed": seed}
            write_run(tmp_path, settings=settings, scores=[test], test=test)
    write_run(tmp_path, settings={"model": "lattice", "embedding_dim": 32, "lr": 0.5}, scores=[0.1], test=0.9)
    section = section_of(tmp_path, line("embedding-dim=8,16"))
    (table,), (plot,) = section.tables, section.plots
    assert [row[0].text for row in table.rows] == ["8", "16", "64", "lattice, 8", "lattice, 16", "lattice, 64"]
    assert row_of(table, "lattice, 16")["Recall@20"].value == pytest.approx(0.22)
    (drawn,) = [one for one in plot.draw().axes[0].get_lines() if one.get_label() == "lattice (best baseline)"]
    assert list(drawn.get_xdata()) == [8, 16, 64]
    assert list(drawn.get_ydata()) == pytest.approx([0.11, 0.22, 0.15])
    assert "The other line is lattice, the best baseline" in plot.caption
    (other,) = section_of(tmp_path, line("omega=1")).tables  # a setting that the baseline lacks
    assert other.rows[-1][0].text == "lattice"


def test_damaged_runs_are_named(tmp_path: Path) -> None:
    write_layers(tmp_path)
    section = sweep_section(line("layers=1,2"), *read(tmp_path), problems=["Run x is damaged."], places=" --runs-dir r")
    assert section.text[-1] == "Run x is damaged."
    assert section.missing[0].command == "mmssl train --dataset demo --model lightgcn --runs-dir r"


def test_a_missing_baseline_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    write_layers(tmp_path)
    (missing,) = section_of(tmp_path, line("layers=1,2")).missing
    assert missing.command == "mmssl train --dataset demo --model lightgcn"


def test_the_figure_shows_means_deviations_and_marks(tmp_path: Path) -> None:
    write_layers(tmp_path)
    (plot,) = section_of(tmp_path, line("layers=1,2,3,4"), "ndcg@20").plots
    figure = plot.draw()
    (axes,) = figure.axes
    lines = {drawn.get_label(): drawn for drawn in axes.get_lines()}
    assert lines["mmssl"].get_xdata().tolist() == [1, 2, 3]  # 4 has no run
    means = [np.mean([test / 2 for _, test in LAYERS[layers]]) for layers in LAYERS]
    assert lines["mmssl"].get_ydata() == pytest.approx(means)
    assert lines["reference"].get_xdata().tolist() == [2] == lines["chosen on validation"].get_xdata().tolist()
    low, high = axes.collections[0].get_paths()[0].get_extents().intervaly
    deviations = [np.std([test / 2 for _, test in LAYERS[layers]], ddof=1) for layers in LAYERS]
    assert (low, high) == pytest.approx((means[2] - deviations[2], means[0] + deviations[0]))
    assert axes.get_xlabel() == "layers (L)" and axes.get_ylabel() == "Test NDCG@20"
    assert plot.data["test"].dropna().tolist() == pytest.approx(means)


@pytest.mark.parametrize(
    ("given", "scale", "ticks"),
    [
        ("layers=1,2,3", "linear", ["1", "2", "3"]),
        ("embedding_dim=8,512", "log", ["8", "64", "512"]),
        ("zeta=0,100", "symlog", ["0", "1", "100"]),
        ("gradient_penalty=1,100,101", "log", ["1", "100", ""]),
        ("variant=w/o-CL", "linear", ["full", "w/o-CL"]),
        ("generator_lr=1e-4", "linear", ["default", "0.0001"]),
    ],
)
def test_the_axis_fits_the_values(tmp_path: Path, given: str, scale: str, ticks: list[str]) -> None:
    (swept,) = line(given)
    for point in swept.points:
        write_run(tmp_path, settings=point.settings.model_dump(), scores=[0.1], test=0.1)
    (plot,) = section_of(tmp_path, [swept]).plots
    (axes,) = plot.draw().axes
    assert axes.get_xscale() == scale
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_a_switch_is_no_number() -> None:
    axes = style.figure().add_subplot()
    assert place_values(axes, [True, False]).tolist() == [0, 1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["True", "False"]


def test_a_grid_of_two_is_a_heat_map_and_of_three_a_table_alone(tmp_path: Path) -> None:
    swept = line("layers=1,2", "zeta=0,1,5", grid=True)
    for number, point in enumerate(swept[0].points[1:]):
        settings = point.settings.model_dump()
        write_run(tmp_path, settings=settings, scores=[0.1 + number / 100], test=0.3 - number / 100)
    section = section_of(tmp_path, swept)
    figure = section.plots[0].draw()
    shown = np.ma.filled(figure.axes[0].get_images()[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, [[np.nan, 0.28], [0.30, 0.27], [0.29, 0.26]])  # zeta upwards, layers across
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["-", "0.3000", "0.2900", "0.2800", "0.2700", "0.2600"]
    (frame,) = figure.axes[0].patches
    assert frame.get_center() == pytest.approx((1, 2))  # the last is best on validation
    assert section.tables[0].labels == 3 and len(section.tables[0].rows) == 6
    cube = section_of(tmp_path, line("layers=1,2", "zeta=0,1", "eta=1", grid=True))
    assert cube.plots == () and len(cube.tables[0].rows) == 4


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = demo.generate_shop
    monkeypatch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=40, num_items=60))


@pytest.mark.slow
@pytest.mark.usefixtures("inline_runs")
def test_from_nothing_to_the_table_and_again_with_everything_reused(
    cli: Callable[..., Answer], tmp_path: Path, small_demo: None
) -> None:
    flags = ["--dataset", "demo", "--model", "lightgcn", "--epochs", 1, "--param", "L=1,2", "--layers", 1, "--runs", 2]
    planned = cli("sweep", *flags, "--dry-run")
    assert planned.code == 0 and "layers 2, seed 2024" in planned.words and not (tmp_path / "runs").exists()

    first = cli("sweep", *flags, "--json", "--out", "shown")
    assert first.code == 0, first.err
    (table,) = json.loads(first.out)["tables"]
    runs = [RunFolder.open(run.path) for run in list_runs(tmp_path / "runs")]
    assert sorted((run.settings().layers, run.settings().seed) for run in runs) == [  # type: ignore[attr-defined]
        (1, 2023),
        (1, 2024),
        (2, 2023),
        (2, 2024),
    ]
    for row in table["rows"]:
        tests = [run.read_result()["test"] for run in runs if run.settings().layers == row["layers"]]  # type: ignore[attr-defined]
        assert row["Recall@20"] == pytest.approx(np.mean([test["recall@20"] for test in tests]))
    assert table["rows"][0]["Note"].startswith("reference")
    assert json.loads(first.out)["missing"][0]["command"] == "mmssl train --dataset demo --model mf"
    written = {path.name for path in (tmp_path / "shown").rglob("*") if path.is_file()}
    assert {"sweep-layers-demo.csv", "figure4-layers-demo.svg", "figure4-layers-demo.pdf"} <= written

    again = cli("sweep", *flags, "--json")
    assert again.code == 0 and json.loads(again.out) == json.loads(first.out)
    assert len(list_runs(tmp_path / "runs")) == len(runs)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--param", "layer=1"], "has no setting 'layer' to sweep"),
        (["--param", "layers=1,99"], "layers cannot be '99'"),
        (["--grid"], "--grid tries every combination of the values that --param gives"),
        (["--param", "layers=1", "--metric", "recall@7"], "--metric 'recall@7' is not measured with --ks 10,20,50"),
        (["--param", "omega=1", "--baseline", "lattice"], "--baseline lattice: it has no setting omega"),
        (["--param", "d=8", "--baseline", "mmssl"], "--baseline mmssl: it is the swept model itself"),
        (["--param", "layers=1", "--model", "mf"], "Model 'mf' has no setting 'layers' to sweep"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    cli: Callable[..., Answer], tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    answer = cli("sweep", "--dataset", "demo", *arguments)
    assert answer.code == 2 and sentence in answer.words
    assert list(tmp_path.iterdir()) == []
