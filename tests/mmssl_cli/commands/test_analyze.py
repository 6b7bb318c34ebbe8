"""`mmssl analyze`: what it measures on a model against slow forms, what it keeps, and what it says where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.evaluation.gradients import gradient_weight, negative_gradients
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.studies.diagnostics import cost
from mmssl_cli.studies.diagnostics.analysis import EDGES, measure_negatives, measure_transfer, sample_users
from mmssl_cli.studies.diagnostics.interaction_gradients import margin_gradients
from mmssl_cli.studies.diagnostics.record import read_analysis
from mmssl_cli.studies.diagnostics.section import analysis_section
from pipelines.errors import InputError
from tests.conftest import Answer
from tests.helpers.model_cases import array, toy_data, toy_model, write_toy
from tests.helpers.written_runs import write_run

Cli = Callable[..., Answer]
SMALL = "--dataset toy --embedding-dim 8 --batch-size 32 --ks 3,5 --select-on recall@5 --epochs 1 --device cpu"


def test_a_user_of_whom_a_view_has_nothing_has_no_gradient_there() -> None:
    data = toy_data(absent={"visual": range(9)})
    model = toy_model(data).eval()
    model.begin_epoch(1)
    target, sources = margin_gradients(model, data.train, torch.arange(4))
    assert sources["visual"].isnan().all()
    assert sources["text"].isfinite().all() and target.isfinite().all()
    assert set(measure_transfer(model, data, torch.arange(4))) == {"text"}


def test_transferability_is_measured_beside_random_directions_and_a_model_before_training() -> None:
    data = toy_data(users=40, items=30)
    found = measure_transfer(toy_model(data, layers=2).eval(), data, torch.arange(40))
    for kinds in found.values():
        assert list(kinds) == ["trained", "random", "untrained"]
        # The random directions of a row of 30 items share 1 / 30 with any direction, on average.
        assert kinds["random"].rho_1 == pytest.approx(1 / 30, abs=0.03)
        assert all(0 <= each.share <= each.rho_2 <= 1 for each in kinds.values())


def test_bins_hold_what_the_gradients_are() -> None:
    data = toy_data(users=30, items=20, absent={})  # every user has a view
    model = toy_model(data, contrast_temperature=0.3).eval()
    model.begin_epoch(1)
    anchors = torch.tensor([0, 4, 9])

    found = measure_negatives(model, data, anchors)

    final, _ = model.embeddings()
    for (name, measured), view in zip(found.items(), model.views()[0], strict=True):
        [(x, norms)] = negative_gradients(final, view, anchors, 0.3)
        similarities, values = array(x).ravel(), array(norms).ravel()
        angled = 1 - similarities**2 > 1e-9
        assert (measured.anchors, measured.negatives) == (3, 3 * 2 * 29), name
        assert measured.equal == pytest.approx(1 - angled.mean())
        assert measured.mean_similarity == pytest.approx(similarities.mean())
        ratio = np.log(values[angled] / gradient_weight(similarities[angled], 0.3))
        assert np.log(measured.scale) == pytest.approx(ratio.mean())
        assert sum(each.count for each in measured.bins) == angled.sum()
        for each in measured.bins:
            low, high = each.similarity - 0.0125, each.similarity + 0.0125
            inside = np.log(values[angled & (similarities >= low) & (similarities < high)])
            assert len(inside) == each.count
            assert np.log(each.norm) == pytest.approx(inside.mean())
            assert np.log(each.deviation) == pytest.approx(inside.std(), abs=1e-6)
    assert len(EDGES) == 81


def test_sampled_users_have_an_item_and_lack_one() -> None:
    data = toy_data(users=30, items=20)
    assert sample_users(data, 1000).tolist() == list(range(30))
    some = sample_users(data, 5)
    assert len(some) == 5 and some.tolist() == sorted(some.tolist()) == sample_users(data, 5).tolist()


@pytest.fixture
def train(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunFolder]:
    """Train a run on the toy data set and return its folder."""
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)
    monkeypatch.setattr(cost, "FEWEST", 10)
    write_toy(tmp_path / "data")

    def run(*arguments: object, model: str = "mmssl") -> RunFolder:
        before = set(Path("runs").iterdir()) if Path("runs").exists() else set()
        answer = cli("train", "--model", model, *SMALL.split(), *arguments)
        assert answer.code == 0, answer.err
        [new] = set(Path("runs").iterdir()) - before
        return RunFolder.open(new)

    return run


def test_a_run_is_analysed_kept_and_its_cost_reused(cli: Cli, train: Callable[..., RunFolder]) -> None:
    run = train()
    train(model="mf")

    answer = cli("analyze", "--users", 12, "--out", "results")

    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0].strip() == "Analysis of mmssl on toy, seed 2023"
    assert "Timing 17 training steps with 15 users" in answer.err
    kept = read_analysis(run)
    assert kept is not None and kept.run == run.id
    assert [point.fraction for point in kept.cost.points] == [0.5, 1.0, 2.0]  # type: ignore[union-attr]
    assert [point.users for point in kept.cost.points] == [15, 30, 60]  # type: ignore[union-attr]
    assert set(kept.negatives) == set(kept.transfer) == {"visual", "text"}
    section = analysis_section(kept)
    assert [table.title.split(" of ")[0] for table in section.tables] == [
        "Gradients",
        "Transferability",
        "Cost",
        "Complexity by A.3 on toy",
    ]
    written = {path.name for path in Path("results").rglob("*.svg")}
    assert written == {f"{plot.name}.svg" for plot in section.plots} and len(written) == 3
    again = cli("analyze", "latest", "--users", 5, "--json")
    assert "Timing" not in again.err
    assert f"Run {run.id}, 5 users sampled." in json.loads(again.out)["text"]
    assert read_analysis(run).cost == kept.cost  # type: ignore[union-attr]
    anew = cli("-q", "analyze", run.id, "--cost", "--users", 5)
    assert anew.err == "" and read_analysis(run).cost != kept.cost  # type: ignore[union-attr]


def test_the_same_run_gives_the_same_numbers(cli: Cli, train: Callable[..., RunFolder]) -> None:
    run = train()
    kept = []
    for _ in range(2):
        assert cli("analyze", "--no-cost").code == 0
        kept.append((run.path / "analysis.json").read_bytes())
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("flags", "sentence", "tables"),
    [
        (["--variant", "w/o-CL"], "mmssl (w/o-CL) is trained without a contrast", ["transferability"]),
        (["--modalities", "none"], "Without modalities there is no modality's view", []),
        (["--layers", 0], "Without layers of propagation", ["negatives"]),
        (["--variant", "w/o-ASL"], "", ["negatives", "transferability"]),
    ],
)
def test_what_cannot_be_computed_is_said_and_the_rest_done(
    cli: Cli, train: Callable[..., RunFolder], flags: list[str], sentence: str, tables: list[str]
) -> None:
    run = train(*flags)
    answer = cli("analyze", run.id, "--no-cost")
    assert answer.code == 0, answer.err
    assert sentence in answer.words
    kept = read_analysis(run)
    assert kept is not None
    assert [table.name.partition("-")[0] for table in analysis_section(kept).tables] == tables
    assert f"mmssl analyze {run.id} --cost" in answer.words


def test_cost_without_modalities_has_no_refresh(cli: Cli, train: Callable[..., RunFolder]) -> None:
    run = train("--modalities", "none")
    answer = cli("analyze", run.id, "--cost")
    assert answer.code == 0, answer.err
    assert "A training step's time grows" in answer.words and "refresh of the modality graphs" not in answer.words


def test_what_is_no_run_of_mmssl_is_refused(cli: Cli, train: Callable[..., RunFolder]) -> None:
    none = cli("analyze")
    assert none.code == 2 and "runs holds no finished run of the full mmssl; `mmssl train` makes one." in none.words
    other = train(model="lightgcn")
    assert cli("analyze").code == 2
    refused = cli("analyze", other.id)
    assert (refused.code, refused.out) == (2, "")
    assert f"Run {other.id} is of model 'lightgcn'; expected a run of 'mmssl'" in refused.words
    cut = train()
    (cut.path / "result.json").unlink()
    assert cli("analyze").code == 2
    unfinished = cli("analyze", cut.id)
    assert unfinished.code == 1 and f"`mmssl train --resume {cut.id}`" in unfinished.words
    assert cli("analyze", "--users", 1).code == 2
    both = cli("analyze", cut.id, "--dataset", "toy")
    assert both.code == 2 and "--dataset chooses among all runs" in both.words


def test_the_newest_run_of_the_full_model_on_the_data_set_is_taken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSSL_DATASET", "demo")
    settings: list[dict[str, Any]] = [
        {"dataset": "tiktok"},
        {"dataset": "demo"},
        {"dataset": "demo", "seed": 1},
        {"dataset": "tiktok", "seed": 1},
        {"dataset": "demo", "variant": "w/o-CL"},
        {"dataset": "demo", "modalities": "none"},
        {"dataset": "demo", "model": "mf"},
    ]
    ids = [
        write_run(
            Path("runs"), settings={"model": "mmssl", **own}, scores=[0.1], test=0.1, started=f"2026-01-0{day}"
        ).id
        for day, own in enumerate(settings, start=1)
    ]

    def taken(*arguments: str) -> str:
        """Return the line about the run, printed before its missing data set is refused."""
        answer = cli("analyze", *arguments)
        assert answer.code == 1
        return answer.err.splitlines()[0]

    assert taken() == taken("latest") == f"Run {ids[2]}: the newest finished run of the full mmssl on demo"
    assert taken("--dataset", "tiktok").startswith(f"Run {ids[3]}: ")
    none = cli("analyze", "--dataset", "amazon-baby", "--runs-dir", "./runs/")
    assert none.code == 2 and "no finished run of the full mmssl on amazon-baby;" in none.words
    assert "`mmssl train --dataset amazon-baby` makes one" in none.words
    monkeypatch.setenv("MMSSL_DATASET", "amazon-baby")
    assert taken().startswith(f"Run {ids[3]}: ")  # the default data set has none


def test_the_weights_are_drawn_relative_to_their_maximum(cli: Cli, train: Callable[..., RunFolder]) -> None:
    run = train("--contrast-temperature", 0.3)
    assert cli("analyze", "--cost").code == 0
    kept = read_analysis(run)
    assert kept is not None
    section = analysis_section(kept, " --runs-dir r")
    weight, measured, steps = section.plots
    x = weight.data["x"].to_numpy()
    assert list(weight.data.columns[1:]) == ["tau 0.02", "tau 0.1", "tau 0.3", "tau 0.5"]
    for tau in (0.02, 0.1, 0.3, 0.5):
        phi = np.sqrt(1 - x**2) * np.exp(x / tau)
        np.testing.assert_allclose(weight.data[f"tau {tau}"], phi / phi.max(), rtol=0.02)
    (axes,) = weight.draw().axes
    assert axes.get_yscale() == "linear" and axes.get_ylim()[1] < 1.1
    assert not weight.title.startswith("Figure") and not measured.title.startswith("Figure")
    (axes,) = steps.draw().axes
    assert kept.cost is not None
    sizes = [f"{point.interactions:,}" for point in kept.cost.points]
    assert [label.get_text() for label in axes.get_xticklabels()] == sizes
    assert axes.get_legend() is None  # it is outside of the axes
    bare = analysis_section(kept.model_copy(update={"cost": None}), " --runs-dir r")
    assert bare.missing[0].command == f"mmssl analyze {run.id} --cost --runs-dir r"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2}', "\xff"])
def test_a_damaged_analysis_is_named_and_made_again(cli: Cli, train: Callable[..., RunFolder], content: str) -> None:
    run = train()
    (run.path / "analysis.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"analysis.json is damaged or of another version; `mmssl analyze .*` makes"):
        read_analysis(run)
    answer = cli("analyze", "--no-cost")
    assert answer.code == 0 and "is damaged or of another version" in answer.err
    assert read_analysis(run) is not None


def test_an_analysis_of_other_weights_does_not_count(cli: Cli, train: Callable[..., RunFolder]) -> None:
    run = train()
    assert read_analysis(run) is None
    assert cli("analyze", "--no-cost").code == 0
    weights = run.load_model()
    run.save_model({name: tensor + 1 for name, tensor in weights.items()})
    with pytest.raises(InputError, match="about earlier weights of the run; `mmssl analyze"):
        read_analysis(run)
