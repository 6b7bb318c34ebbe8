"""The study of sparse users and items: tables, figures, the paper's numbers, and results stored with a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmssl_cli.config import build_settings, settings_to_toml
from mmssl_cli.evaluation import items as item_measures
from mmssl_cli.evaluation.ranking import Ranking, ranked_blocks
from mmssl_cli.evaluation.sparsity import parse_buckets
from mmssl_cli.reporting import style
from mmssl_cli.reporting.document import Cell, Section, Table
from mmssl_cli.reporting.published import published_sparsity
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.results import Configuration, FinishedRun, configurations
from mmssl_cli.studies.sparsity import figures as sparsity_figures
from mmssl_cli.studies.sparsity.per_item import per_item
from mmssl_cli.studies.sparsity.section import reference_of, sparsity
from pipelines.errors import InputError
from tests.helpers.model_cases import toy_data

DEGREES = [0, 1, 3, 4, 5, 6, 8, 9, 13, 50, 100, 101]


def test_published_numbers_are_those_of_the_same_buckets_only() -> None:
    baby = published_sparsity("amazon-baby", (0, 4, 6, 9, 13, 100))
    assert list(baby) == ["VBPR", "MMGCN", "LATTICE", "SLMRec", "MMSSL"]
    assert baby["MMSSL"] == [0.0350, 0.0377, 0.0381, 0.0409, 0.0686]
    assert published_sparsity("allrecipes", (0, 2, 3, 4, 5, 10))["SLMRec"] == [0.0085, 0.0099, 0.0116, 0.0114, 0.0174]
    assert published_sparsity("amazon-baby", (0, 4, 6, 9, 13)) == {}
    assert published_sparsity("allrecipes", (0, 4, 6, 9, 13, 100)) == {}
    assert published_sparsity("tiktok", (0, 4, 6, 9, 13, 100)) == {}
    assert published_sparsity("amazon-baby", (0, 4, 6, 9, 13, 100), "recall@20") == {}


def test_thinning_keeps_distinct_points_in_a_fixed_order() -> None:
    degree, accuracy = np.array([5, 1, 5, 1, 3]), np.array([0.5, 0.0, 0.5, 1.0, 0.0])
    x, y = sparsity_figures.thinned(degree, accuracy)
    assert list(zip(x, y, strict=True)) == [(1, 0.0), (1, 1.0), (3, 0.0), (5, 0.5)]
    x, _ = sparsity_figures.thinned(np.arange(1000), np.zeros(1000), most=10)
    assert x.tolist() == np.linspace(0, 999, 10).round().tolist()


# The study


def _run(
    runs_dir: Path,
    model: str,
    seed: int,
    degrees: Sequence[int] = DEGREES,
    *,
    dataset: str = "tiktok",
    items: bool = True,
    **settings: Any,
) -> FinishedRun:
    """A finished run with random metrics of users and items; the metrics rise with the model's name."""
    random = np.random.default_rng([seed, len(model)])
    saved = build_settings({"model": model, "dataset": dataset, "seed": seed, "ks": (20,), **settings})
    config = settings_to_toml(saved, {"manifest_digest": "", "started": ""})
    folder = RunFolder.create(runs_dir, f"{model}-{dataset}-{seed}", config)
    names = [f"{name}@20" for name in ("recall", "precision", "ndcg")]
    users = {"user": np.arange(len(degrees), dtype=np.int32), "train_degree": np.array(degrees, np.int32)}
    per_user = pd.DataFrame(users | {name: random.random(len(degrees)) / len(model) for name in names})
    folder.write_metrics([{"epoch": 1, "seconds": 1.0}])
    folder.write_per_user(per_user)
    folder.save_model({"x": torch.zeros(1)})
    if items:
        folder.write_per_item(_per_item(random))
    test = {name: float(per_user[name].mean()) for name in names}
    base = {"status": "finished", "model": model, "dataset": dataset, "seed": seed, "epochs": 1, "best_epoch": 1}
    folder.write_result({**base, "validation": {}, "test": test})
    return FinishedRun.read(folder)


def _per_item(random: np.random.Generator) -> pd.DataFrame:
    relevant = np.arange(30) % 4
    hits = random.integers(0, relevant + 1)
    columns = {"item": np.arange(30), "train_degree": np.arange(30) ** 2, "relevant": relevant, "hits@20": hits}
    return pd.DataFrame(columns | {"recommended@20": hits + random.integers(0, 9, 30)}).astype("int32")


@pytest.fixture
def compared(tmp_path: Path) -> list[Configuration]:
    """lightgcn with two seeds, mf with one, mmssl with two."""
    runs = [("lightgcn", 1), ("lightgcn", 2), ("mf", 1), ("mmssl", 1), ("mmssl", 2)]
    return configurations(_run(tmp_path / "runs", model, seed) for model, seed in runs)


def _rows(table: Table) -> dict[str, tuple[Cell, ...]]:
    return {" ".join(cell.text for cell in row[: table.labels]): row[table.labels :] for row in table.rows}


def test_the_table_is_what_a_plain_loop_over_the_stored_users_gives(
    compared: list[Configuration], tmp_path: Path
) -> None:
    section = sparsity(compared, tmp_path, buckets=parse_buckets("0,4,9,100"))
    rows = _rows(section.tables[0])
    assert section.tables[0].columns == ("Model", "[0, 4)", "[4, 9)", "[9, 100]")
    assert [cell.text for cell in rows["test users"]] == ["3", "4", "4"]
    for model, seeds in (("lightgcn", (1, 2)), ("mf", (1,)), ("mmssl", (1, 2))):
        for at, (low, high) in enumerate(((0, 3), (4, 8), (9, 100))):
            means = []
            for seed in seeds:
                users = pd.read_parquet(tmp_path / "runs" / f"{model}-tiktok-{seed}" / "per_user.parquet")
                inside = [row["ndcg@20"] for _, row in users.iterrows() if low <= row["train_degree"] <= high]
                means.append(sum(inside) / len(inside))
            cell = rows[model][at]
            assert cell.value == pytest.approx(sum(means) / len(means))
            assert cell.deviation == (pytest.approx(np.std(means, ddof=1)) if len(means) > 1 else None)
    assert any("1 of 12 test users is in none of the buckets" in note for note in section.tables[0].notes)


def test_mmssl_is_compared_with_each_other_model_over_the_users_of_a_bucket(
    compared: list[Configuration], tmp_path: Path
) -> None:
    from scipy import stats

    assert reference_of(compared).label == "mmssl"
    assert reference_of(compared[:2]).label == "lightgcn"
    table = sparsity(compared, tmp_path, metric="recall@20", buckets=parse_buckets("0,4,101")).tables[1]
    assert [row[0].text for row in table.rows] == ["mmssl over lightgcn"] * 3 + ["mmssl over mf"] * 3
    inside = np.array(DEGREES) < 4
    ours, others = (np.mean([run.per_user["recall@20"] for run in compared[at].runs], axis=0)[inside] for at in (2, 0))
    gain, p = table.rows[0][2], table.rows[1][2]
    assert gain.value == pytest.approx(ours.mean() / others.mean() - 1)
    assert p.value == pytest.approx(stats.ttest_rel(ours, others).pvalue)
    alone, mf = (compared[at].runs[0].per_user["recall@20"][inside] for at in (2, 1))  # over the one seed of both
    assert table.rows[3][2].value == pytest.approx(alone.mean() / mf.mean() - 1)
    assert table.rows[4][2].value == pytest.approx(stats.ttest_rel(alone, mf).pvalue)
    raw, holm = ([cell.value for row in table.rows[at::3] for cell in row[2:]] for at in (1, 2))
    smallest = raw.index(min(raw))  # of four tests
    assert holm[smallest] == pytest.approx(min(1, 4 * raw[smallest]))
    assert all(high >= low for low, high in zip(raw, holm, strict=True))


def test_models_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    runs = configurations(_run(tmp_path / "runs", model, seed) for model, seed in (("mf", 1), ("mmssl", 2)))
    table = sparsity(runs, tmp_path, buckets=parse_buckets("0,4,101")).tables[1]
    assert [[cell.text for cell in row[2:]] for row in table.rows] == [["-", "-"]] * 3


def test_the_papers_rows_stand_beside_ours_in_its_buckets_only(tmp_path: Path) -> None:
    ours = [Configuration((_run(tmp_path / "runs", "mmssl", 1, dataset="amazon-baby"),))]
    table = sparsity(ours, tmp_path).tables[0]
    rows = _rows(table)
    assert [cell.value for cell in rows["LATTICE (paper)"]] == [0.0263, 0.03, 0.0337, 0.0366, 0.0619]
    assert any("as printed" in note for note in table.notes)
    other = sparsity(ours, tmp_path, buckets=parse_buckets("0,4,6,9,100")).tables[0]
    assert not any("paper" in name for name in _rows(other))

    both = [*ours, Configuration((_run(tmp_path / "runs", "mf", 1, dataset="amazon-baby"),))]
    gains = _rows(sparsity(both, tmp_path).tables[1])
    # The paper prints 110.8 % and 12.3 %.
    assert gains["MMSSL over VBPR (paper) improvement"][0].text == "+110.8\u00a0%"
    assert gains["MMSSL over SLMRec (paper) improvement"][4].text == "+12.3\u00a0%"


def test_a_bucket_without_users_has_no_number_and_nothing_is_best_where_all_are_alike(
    compared: list[Configuration], tmp_path: Path
) -> None:
    section = sparsity(compared, tmp_path, buckets=parse_buckets("0,4,14,20,100"))
    rows = _rows(section.tables[0])
    assert [rows[name][2].text for name in ("test users", "mmssl", "mf")] == ["0", "-", "-"]
    assert rows["mmssl"][2].mark == rows["mf"][2].mark == ""
    assert [row[4].text for row in section.tables[1].rows] == ["-"] * 6
    assert {rows[name][0].mark for name in ("mmssl", "mf", "lightgcn")} == {"best", "second", ""}


def test_models_that_cannot_be_compared_are_refused_in_a_sentence(
    compared: list[Configuration], tmp_path: Path
) -> None:
    other = Configuration((_run(tmp_path / "runs", "mf", 9, DEGREES[:-1]),))
    with pytest.raises(InputError, match="were tested on different users"):
        sparsity([*compared, other], tmp_path)
    with pytest.raises(InputError, match=r"did not measure ndcg@7; train it with its K in --ks"):
        sparsity(compared, tmp_path, metric="ndcg@7")
    with pytest.raises(InputError, match="they have from 0 to 101 training items"):
        sparsity(compared, tmp_path, buckets=parse_buckets("200,300"))


def test_the_item_table_and_its_groups_are_recomputed_from_the_stored_items(
    compared: list[Configuration], tmp_path: Path
) -> None:
    section = sparsity(compared, tmp_path)
    tables = [pd.read_parquet(run.folder.path / "per_item.parquet") for run in compared[2].runs]
    shares, recalls = [], []
    for table in tables:
        tail = table[table["item"] < 24]  # 80 % of 30 items: their degree rises with their number
        shares.append(100 * tail["recommended@20"].sum() / table["recommended@20"].sum())
        recalls.append(tail["hits@20"].sum() / tail["relevant"].sum())
    row = _rows(section.tables[2])["mmssl"]
    assert row[0].value == pytest.approx(np.mean(shares))
    assert row[1].value == pytest.approx(np.mean(recalls))
    assert "24 of 30 items, with up to 529 training interactions" in section.tables[2].notes[0]

    groups = section.plots[1].data
    group = groups[(groups["model"] == "mmssl") & (groups["degree from"] == 16)].iloc[0]  # degrees 16 and 25
    expected = [table["hits@20"][5] / 1 for table in tables]  # item 4 has no test interaction, item 5 has one
    assert (group["items"], group["mean degree"]) == (1, 25)
    assert group["mean recall@20"] == pytest.approx(np.mean(expected))


def test_every_figure_is_drawn_the_same_each_time(compared: list[Configuration], tmp_path: Path) -> None:
    section = sparsity(compared, tmp_path)
    assert [plot.name for plot in section.plots] == [
        "figure1a-users-tiktok",
        "figure1bc-items-tiktok",
        "figure1-tail-tiktok",
    ]
    for plot in section.plots:
        picture = style.svg(plot.draw(), plot.name)
        assert picture == style.svg(plot.draw(), plot.name)
        assert "mmssl" in picture and "lightgcn" in picture
    assert "NDCG@20" in style.svg(section.plots[0].draw())


def test_items_that_cannot_be_had_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    runs = [_run(tmp_path / "runs", "mf", 1, items=False), _run(tmp_path / "runs", "lightgcn", 1)]
    section: Section = sparsity(configurations(runs), tmp_path / "nowhere")
    assert any(text.startswith("The items of mf are left out.") for text in section.text)
    assert list(_rows(section.tables[2])) == ["lightgcn"]
    alone = sparsity(configurations(runs[:1]), tmp_path / "nowhere")
    assert (len(alone.tables), len(alone.plots)) == (1, 1)


# Results stored with a run

DATA = toy_data(users=60, items=40)
EMBEDDINGS = torch.randn(100, 8, generator=torch.Generator().manual_seed(5)).split([60, 40])


class _Fixed(torch.nn.Module):
    def __init__(self, embeddings: tuple[torch.Tensor, torch.Tensor]) -> None:
        super().__init__()
        self.embeddings = embeddings

    def ranking(self) -> Ranking:
        return partial(ranked_blocks, *self.embeddings)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths from which a model is loaded, one per load."""
    loaded: list[Path] = []

    def load_model(folder: Path, data_dir: Path) -> tuple[Any, ...]:
        loaded.append(folder)
        return _Fixed(EMBEDDINGS), DATA, RunFolder.open(folder).settings()

    monkeypatch.setattr("mmssl_cli.studies.sparsity.per_item.load_model", load_model)
    return loaded


def test_items_are_computed_once_and_again_when_the_file_is_damaged_or_the_weights_change(
    tmp_path: Path, loads: list[Path]
) -> None:
    run = _run(tmp_path / "runs", "mf", 1, items=False)
    expected = item_measures.evaluate_items(
        partial(ranked_blocks, *EMBEDDINGS), DATA.num_items, DATA.train, DATA.test, (20,)
    )
    pd.testing.assert_frame_equal(per_item(run, tmp_path), expected)
    pd.testing.assert_frame_equal(per_item(run, tmp_path), expected)
    assert len(loads) == 1
    (run.folder.path / "per_item.parquet").write_bytes(b"torn")
    pd.testing.assert_frame_equal(per_item(run, tmp_path), expected)
    assert len(loads) == 2
    run.folder.save_model({"x": torch.ones(1)})
    per_item(run, tmp_path)
    assert len(loads) == 3
    run.folder.write_per_item(expected.drop(columns="hits@20"))
    pd.testing.assert_frame_equal(per_item(run, tmp_path), expected)
    assert len(loads) == 4


def test_a_run_folder_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, loads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path / "runs", "mf", 1, items=False)

    def refuse(path: Path, content: bytes) -> None:
        raise InputError(f"Cannot write {path}: the file system is read-only.")

    monkeypatch.setattr("mmssl_cli.runs.tables.write_bytes", refuse)
    assert len(per_item(run, tmp_path)) == 40
    assert not (run.folder.path / "per_item.parquet").exists()
