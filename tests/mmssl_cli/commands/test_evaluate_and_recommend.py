"""`mmssl evaluate`, `recommend`, `runs` and `models`, on a run with known rankings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from mmssl_cli.config import SETTINGS, TrainSettings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation import ranking
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.registry import model_class
from mmssl_cli.runs import tables
from mmssl_cli.runs.folder import RunFolder
from pipelines.prepared import PreparedDataset, write_prepared
from tests.conftest import Answer

Cli = Callable[..., Answer]

PROVENANCE = '[provenance]\nmanifest_digest = ""\nstarted = ""\n'
ROWS = [
    ("ann", 0, "train"),
    ("ann", 1, "validation"),
    ("ann", 2, "test"),
    ("bob", 4, "train"),
    ("bob", 5, "train"),
    ("bob", 0, "validation"),
    ("bob", 3, "test"),
    ("eve", 1, "train"),
]
USERS = ["ann", "bob", "eve"]


class _Fixed(Recommender):
    """Embeddings as they were saved."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        nn.Module.__init__(self)
        self.weights = weights
        self.num_users, self.num_items = len(weights["users"]), len(weights["items"])

    def represent(self) -> tuple[Tensor, Tensor]:
        assert not self.training
        return self.weights["users"], self.weights["items"]


def _load_model(run: Path, data_dir: Path) -> tuple[nn.Module, InteractionData, TrainSettings]:
    folder = RunFolder.open(run)
    settings = folder.settings()
    return _Fixed(folder.load_model()).eval(), load_interactions(data_dir / settings.dataset), settings


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run for which every user's scores fall with the item's index: 0 is the best item, 5 the last."""
    for module in ("inference", "ranker"):
        monkeypatch.setattr(f"mmssl_cli.training.{module}.load_model", _load_model)
    _prepare(tmp_path / "data")
    config = 'model = "lightgcn"\ndataset = "shop"\nseed = 1\nks = [1, 2]\nselect-on = "recall@20"\n' + PROVENANCE
    folder = RunFolder.create(tmp_path / "runs", "20260101-000000-shop-lightgcn-s1", config)
    folder.save_model({"users": torch.ones(3, 1), "items": torch.arange(6, 0, -1).float().reshape(6, 1)})
    return folder


def _prepare(data_dir: Path, name: str = "shop", num_items: int = 6) -> None:
    pairs = [(USERS.index(user), item, split) for user, item, split in ROWS]
    titles = ["Red [b]hat[/b]", None, "Blue hat", *(f"Thing {i}" for i in range(3, num_items))]
    items = {"item": np.arange(num_items, dtype=np.int32), "id": [f"i{i}" for i in range(num_items)]}
    dataset = PreparedDataset(
        name=name,
        users=pd.DataFrame({"user": np.arange(3, dtype=np.int32), "id": USERS}),
        items=pd.DataFrame({**items, "title": titles}),
        interactions=pd.DataFrame(pairs, columns=["user", "item", "split"]).astype({"user": "int32", "item": "int32"}),
    )
    write_prepared(dataset, data_dir / name)


def test_evaluate_ranks_all_items_but_those_of_training(cli: Cli, run: RunFolder) -> None:
    answer = cli("evaluate", "latest", "--json")

    result = json.loads(answer.out)
    assert (result["run"], result["split"], result["users"]) == (run.id, "test", 2)
    # ann's list without item 0: 1, 2, ...; bob's: 0, 1, 2, 3. Only ann's item 2 is among the first two.
    assert result["metrics"]["recall@1"] == 0.0
    assert result["metrics"]["recall@2"] == 0.5
    assert result["metrics"]["precision@2"] == 0.25
    assert result["metrics"]["ndcg@2"] == pytest.approx(0.5 / np.log2(3))
    assert set(result["metrics"]) == {f"{name}@{k}" for name in ("recall", "precision", "ndcg") for k in (1, 2)}


def test_evaluate_on_the_other_split_at_other_cutoffs(cli: Cli, run: RunFolder) -> None:
    answer = cli("evaluate", run.id[:9], "--split", "validation", "--ks", "4, 1", "--json")

    metrics = json.loads(answer.out)["metrics"]
    assert set(metrics) == {f"{name}@{k}" for name in ("recall", "precision", "ndcg") for k in (1, 4)}
    assert metrics["recall@1"] == 1.0


def test_evaluate_shows_a_table_and_writes_each_users_metrics(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    answer = cli("evaluate", run.path, "--out", "users.parquet")

    lines = [line.split() for line in answer.out.splitlines()]
    assert ["K", "Recall", "Precision", "NDCG"] in lines
    assert ["2", "0.5000", "0.2500", "0.3155"] in lines
    assert answer.out.splitlines()[0].rstrip() == f"lightgcn on shop, test, 2 users, run {run.id}"
    table = pd.read_parquet(tmp_path / "users.parquet")
    assert table["user"].tolist() == [0, 1]
    assert table["id"].tolist() == ["ann", "bob"]
    assert table["train_degree"].tolist() == [1, 2]
    assert table["recall@2"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--split", "tset"], 2, "There is no split 'tset' to evaluate on: did you mean test?"),
        (["--ks", "ten"], 2, "ks cannot be 'ten': expected cut-offs of at least 1, such as 10,20,50."),
        (["--ks", "0"], 2, "ks cannot be '0'"),
        (["--ks", "7"], 2, "K is 7, but the data set has 6 items; choose a K from 1 to 6."),
        (["--out", "data"], 1, "Cannot write data"),
    ],
)
def test_evaluate_answers_wrong_input_with_a_sentence(
    cli: Cli, run: RunFolder, arguments: list[str], code: int, sentence: str
) -> None:
    answer = cli("evaluate", "latest", *arguments)

    assert answer.code == code
    assert sentence in answer.words
    assert answer.out == ""


def test_evaluate_on_a_run_that_is_not_there_or_torn(cli: Cli, run: RunFolder) -> None:
    unknown = cli("evaluate", "20260101-000000-shop-lightgcn-s2")
    assert unknown.code == 2
    assert f"did you mean {run.id}?" in unknown.words

    (run.path / "model.safetensors").write_bytes(b"torn")
    torn = cli("evaluate", "latest")
    assert torn.code == 1
    assert "model.safetensors is damaged or truncated; train the run again." in torn.words


def test_published_numbers_stand_beside_test_metrics_at_20(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    _prepare(tmp_path / "data", "tiktok", num_items=25)
    config = 'model = "mmssl"\nvariant = "w/o-GT"\ndataset = "tiktok"\nks = [20]\n' + PROVENANCE
    tiktok = RunFolder.create(run.path.parent, "tiktok", config)
    tiktok.save_model({"users": torch.ones(3, 1), "items": torch.arange(25, 0, -1).float().reshape(25, 1)})

    lines = [line.split() for line in cli("evaluate", "tiktok").out.splitlines()]

    assert ["MMHCL", "0.1139", "-", "0.0492"] in [line[:4] for line in lines]
    ours = [line for line in lines if line[:2] == ["mmssl", "(w/o-GT)"]][-1]  # the title begins with it too
    assert (ours[2], ours[-2:]) == ("1.0000", ["this", "run"])
    assert "MMHCL" not in cli("evaluate", "tiktok", "--split", "validation").out
    assert "MMHCL" not in cli("evaluate", "tiktok", "--ks", "10").out
    assert "MMHCL" not in cli("evaluate", run.id).out


def test_recommend_names_items_and_leaves_out_training_items(cli: Cli, run: RunFolder) -> None:
    answer = cli("recommend", "latest", "--user", "bob", "--user", "ann", "--top", "3", "--json")

    bob, ann = json.loads(answer.out)
    assert (bob["user"], ann["user"]) == ("bob", "ann")
    assert [item["item"] for item in bob["items"]] == ["i0", "i1", "i2"]
    assert [item["item"] for item in ann["items"]] == ["i1", "i2", "i3"]
    assert [item["title"] for item in ann["items"]] == [None, "Blue hat", "Thing 3"]
    assert [item["score"] for item in ann["items"]] == [5.0, 4.0, 3.0]


def test_recommend_shows_a_table_with_titles_as_they_are(cli: Cli, run: RunFolder) -> None:
    lines = cli("recommend", "latest", "--user", "bob", "--top", "6").out.splitlines()

    assert lines[0] == "User bob"
    assert lines[1].split() == ["Rank", "Item", "Score", "Title"]
    assert lines[2].split() == ["1", "i0", "6.0000", "Red", "[b]hat[/b]"]
    assert len(lines) == 2 + 4  # six items less two of training


def test_recommend_to_all_writes_parquet_by_blocks(
    cli: Cli, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 2 * 6 * 4)  # two users a block
    monkeypatch.setattr(tables, "ROWS", 9)  # their nine items a row group

    answer = cli("recommend", "latest", "--all", "--top", "5", "--out", "recs.parquet")

    assert answer.out == "recs.parquet: 14 recommendations for 3 users\n"
    file = pq.ParquetFile(tmp_path / "recs.parquet")
    assert file.num_row_groups == 2
    table = file.read().to_pandas()
    assert list(table.columns) == ["user", "rank", "item", "score"]
    lists = table.groupby("user", sort=False)["item"].agg(list)
    assert lists.to_dict() == {
        "ann": ["i1", "i2", "i3", "i4", "i5"],
        "bob": ["i0", "i1", "i2", "i3"],  # all that is left
        "eve": ["i0", "i2", "i3", "i4", "i5"],
    }
    assert table[table["user"] == "bob"]["rank"].tolist() == [1, 2, 3, 4]
    assert table["score"].iloc[0] == 5.0


def test_recommend_writes_csv_and_json_lines(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    for file in ("recs.csv", "recs.jsonl"):
        answer = cli("recommend", "latest", "--user", "bob", "--user", "ann", "--top", "2", "--out", file)
        assert answer.out == f"{file}: 4 recommendations for 2 users\n"

    rows = [("bob", 1, "i0", 6.0), ("bob", 2, "i1", 5.0), ("ann", 1, "i1", 5.0), ("ann", 2, "i2", 4.0)]
    lines = ["user,rank,item,score", *(",".join(map(str, row)) for row in rows)]
    assert (tmp_path / "recs.csv").read_text().splitlines() == lines
    parsed = [json.loads(line) for line in (tmp_path / "recs.jsonl").read_text().splitlines()]
    assert parsed == [dict(zip(("user", "rank", "item", "score"), row, strict=True)) for row in rows]


def _ids(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.err
    return [item["item"] for one in json.loads(answer.out) for item in one["items"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("few", "i5\r\n\n  i0 \ni2\ni5\n"),
        ("few.txt", "\ufeffi5\ni0\ni2"),
        ("few.csv", "rank;item;id\n1;i5;x\n2;i0;x\n3;i2;x\n"),
        ("few.jsonl", '{"id": "i5"}\n{"id": "i2"}\n{"id": "i0"}\n'),
    ],
)
def test_recommend_ranks_the_items_of_a_file(cli: Cli, run: RunFolder, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")

    answer = cli("recommend", "latest", "--user", "bob", "--items", name, "--json")  # i5 is an item of training

    assert _ids(answer) == ["i0", "i2"]
    assert answer.err.splitlines()[-1] == "--top is 20, but there are only 3 candidates."


def test_recommend_reads_candidates_from_its_own_output(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    assert cli("recommend", "latest", "--user", "eve", "--top", "2", "--out", "recs.parquet").code == 0
    answer = cli("recommend", "latest", "--user", "ann", "--items", "recs.parquet", "--top", "2", "--json")
    assert _ids(answer) == ["i2"]  # i0, the other one, is in ann's training
    assert "candidates" not in answer.err


def test_recommend_to_a_new_user(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    answer = cli("recommend", "latest", "--like", "i0,i2", "--top", "2", "--json")
    assert _ids(answer) == ["i1", "i3"]
    assert json.loads(answer.out)[0]["like"] == ["i0", "i2"]
    assert cli("recommend", "latest", "--like", "i0", "--like", "i2", "--top", "2", "--json").out == answer.out
    assert cli("recommend", "latest", "--like", "i0,i2", "--top", "2").out.splitlines()[0] == "New user of i0, i2"

    (tmp_path / "few").write_text("i4\ni5\n")
    assert _ids(cli("recommend", "latest", "--like", "i0", "--items", "few", "--top", "1", "--json")) == ["i4"]
    assert cli("recommend", "latest", "--like", "i0", "--top", "2", "--out", "new.csv").out == (
        "new.csv: 2 recommendations for a new user\n"
    )
    assert (tmp_path / "new.csv").read_text() == "rank,item,score\n1,i1,5.0\n2,i2,4.0\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.txt", b"\n \n", "empty.txt holds no ids."),
        ("picture.txt", b"\x89PNG\r\n\x00\x00", "picture.txt is not text; expected an id a line"),
        ("few.csv", b"product,price\ni1,2\n", "few.csv has no column item or id, only product, price; expected one"),
        ("few.parquet", b"PAR1 no", "few.parquet cannot be read as parquet"),
        ("cut.jsonl", b'{"id": "i1"}\n{"id": ', "cut.jsonl has malformed records: line 2"),
    ],
)
def test_a_bad_file_of_items_is_refused(
    cli: Cli, run: RunFolder, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    answer = cli("recommend", "latest", "--user", "ann", "--items", name)
    assert (answer.code, answer.out) == (1, "")
    assert sentence in answer.words


def test_embeddings_carry_the_ids_of_the_data(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    assert cli("embeddings", "latest", "--out", "vectors").code == 0
    users, items = (pq.read_table(tmp_path / "vectors" / f"{name}.parquet") for name in ("users", "items"))
    assert users.to_pydict() == {"id": USERS, "embedding": [[1.0], [1.0], [1.0]]}
    assert items["id"].to_pylist() == [f"i{i}" for i in range(6)]
    assert items["embedding"].to_pylist() == [[6.0], [5.0], [4.0], [3.0], [2.0], [1.0]]

    assert cli("embeddings", "latest", "--out", "arrays", "--format", "npy").code == 0
    values = np.load(tmp_path / "arrays" / "items.npy", allow_pickle=False)
    assert (values.dtype, values[:, 0].tolist()) == (np.float32, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert json.loads((tmp_path / "arrays" / "users.ids.json").read_text()) == USERS


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--out", "data"], 1, "data already exists and is not an empty folder; remove it or choose another one."),
        (["--out", "new", "--format", "npz"], 2, "There is no format 'npz': did you mean npy?"),
        (["--out", "data/shop/manifest.json/new"], 1, "Cannot write data/shop/manifest.json/new"),
    ],
)
def test_embeddings_answers_wrong_input_with_a_sentence(
    cli: Cli, run: RunFolder, tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    before = sorted(tmp_path.rglob("*"))

    answer = cli("embeddings", "latest", *arguments)

    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.words
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "Give either --user ID, which may be repeated, or --all, or --like ID,ID for a new user."),
        (["--like", "i1", "--user", "ann"], 2, "Give either --user ID"),
        (["--like", "i1,i9,i8"], 2, "There is no item 'i9' (nor 1 other that was given): there are 6 items"),
        (["--like", "i1", "--items", "none.txt"], 1, "none.txt"),
        (["--like", "i1", "--items", "data/shop/manifest.json"], 2, "There is no item '{'"),
        (["--like", "i1", "--items", "data/shop/users.parquet"], 2, "There is no item 'ann' (nor 2 others"),
        (["--like", "i1", "--items", "data/shop/interactions.parquet"], 2, "There is no item '0'"),
        (["--like", "i1", "--top", "7"], 2, "K is 7, but the data set has 6 items"),
        (["--all", "--user", "ann"], 2, "Give either --user ID"),
        (["--all"], 2, "--all needs a file to write to: add --out recs.parquet."),
        (["--all", "--out", "recs.parquet", "--json"], 2, "choose one"),
        (["--user", "anne"], 2, "There is no user 'anne': did you mean ann?"),
        (["--user", "17"], 2, "there are 3 users, such as ann, bob, eve."),
        (["--all", "--out", "recs.parquet", "--top", "7"], 2, "K is 7, but the data set has 6 items"),
        (
            ["--all", "--out", "data/shop/manifest.json/r.csv", "--top", "2"],
            1,
            "Cannot write data/shop/manifest.json/r.csv",
        ),
        (
            ["--all", "--out", "recs.xls"],
            2,
            "--out cannot be 'recs.xls': expected a file that ends in .parquet, .csv or",
        ),
    ],
)
def test_recommend_answers_wrong_input_with_a_sentence(
    cli: Cli, run: RunFolder, tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    before = sorted(tmp_path.iterdir())

    answer = cli("recommend", "latest", *arguments)

    assert answer.code == code
    assert sentence in answer.words
    assert sorted(tmp_path.iterdir()) == before


def _finished(run: RunFolder) -> None:
    run.write_result(
        {
            "status": "stopped",
            "model": "lightgcn",
            "dataset": "shop",
            "seed": 1,
            "epochs": 8,
            "best_epoch": 5,
            "seconds_per_epoch": 2.5,
            "validation": {"recall@20": 0.25},
            "test": {"recall@20": 0.2, "ndcg@20": 0.125},
        }
    )


def test_runs_lists_what_there_is(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    torn = RunFolder.create(run.path.parent, "torn", "model =")

    answer = cli("runs")

    rows = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines() if line.strip()}
    scores = ["8", "0.2500", "0.2000", "0.1250", "20.0"]
    assert rows[run.id] == ["lightgcn", "shop", "stopped", *scores]
    assert rows[torn.id][0] == "is"  # the sentence below the table
    assert "torn is damaged: " in answer.out
    records = {record["id"]: record for record in json.loads(cli("runs", "--json").out)}
    assert records[run.id]["test"] == {"recall@20": 0.2, "ndcg@20": 0.125}
    assert records[run.id]["seconds"] == 20.0
    assert records["torn"]["status"] == "damaged"


def test_runs_show_the_metrics_that_selected_them(cli: Cli, run: RunFolder) -> None:
    _finished(run)
    config = 'model = "mf"\ndataset = "shop"\nselect-on = "ndcg@5"\nks = [5]\n' + PROVENANCE
    other = RunFolder.create(run.path.parent, "other", config)
    result = {**run.read_result(), "validation": {"ndcg@5": 0.5}, "test": {"ndcg@5": 0.375, "recall@5": 0.75}}
    other.write_result({**result, "model": "mf"})

    lines = [line.split() for line in cli("runs").out.splitlines()]

    assert lines[0] == ["Val", "Val", "Test", "Test", "Test", "Test"]
    headers = lines[1][lines[1].index("Epochs") + 1 : -1]
    shown = {line[0]: dict(zip(enumerate(headers), line[-7:-1], strict=True)) for line in lines[2:]}
    assert {name: value for name, value in shown["other"].items() if value != "-"} == {
        (headers.index("NDCG@5"), "NDCG@5"): "0.5000",
        (headers.index("NDCG@5", 2), "NDCG@5"): "0.3750",
        (headers.index("Recall@5"), "Recall@5"): "0.7500",
    }
    assert {name: value for name, value in shown[run.id].items() if value != "-"} == {
        (headers.index("Recall@20"), "Recall@20"): "0.2500",
        (headers.index("Recall@20", 2), "Recall@20"): "0.2000",
        (headers.index("NDCG@20"), "NDCG@20"): "0.1250",
    }


def test_runs_show_the_best_validation_of_a_run_that_is_not_over(cli: Cli, run: RunFolder) -> None:
    def row() -> list[str]:
        return next(line.split() for line in cli("runs").out.splitlines() if line.startswith(run.id))

    epochs = [{"epoch": epoch, "seconds": 1.5} for epoch in range(1, 5)]
    run.write_metrics(epochs[:1])
    assert row()[4:6] == ["1", "-"]
    for epoch, score in ((2, 0.25), (3, 0.125)):
        epochs[epoch - 1] |= {"validation/recall@20": score, "validation/ndcg@20": score / 2}
    run.write_metrics(epochs)
    assert row()[3:] == ["interrupted", "4", "0.2500", "-", "-", "6.0"]
    with run.lock():
        [record] = json.loads(cli("runs", "--json").out)
    assert (record["status"], record["validation"]) == ("running", {"recall@20": 0.25, "ndcg@20": 0.125})


@pytest.mark.parametrize("command", ["train --dataset", "models mf --dataset", "export --out x"])
def test_an_empty_name_of_a_data_set_is_refused(cli: Cli, command: str) -> None:
    answer = cli(*command.split(), "")
    assert (answer.code, answer.out) == (2, "")
    assert "The name of the data set is empty; " in answer.err


def test_a_title_is_one_line_on_a_narrow_screen(cli: Cli, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert cli("evaluate", run.id).out.splitlines()[0].rstrip() == f"lightgcn on shop, test, 2 users, run {run.id}"


def test_one_user_is_no_users(cli: Cli, run: RunFolder) -> None:
    answer = cli("recommend", "latest", "--user", "bob", "--top", "1", "--out", "recs.parquet")
    assert answer.out == "recs.parquet: 1 recommendation for 1 user\n"


def test_runs_of_an_empty_folder(cli: Cli) -> None:
    assert cli("runs").out == "runs holds no runs; `mmssl train` makes one.\n"
    assert json.loads(cli("runs", "--json", "--runs-dir", "elsewhere").out) == []


def test_models_lists_the_registry_and_one_models_settings(cli: Cli) -> None:
    listed = json.loads(cli("models", "--json").out)
    assert {model["model"]: model["settings"] for model in listed} == {
        name: len(cls.model_fields) for name, cls in SETTINGS.items()
    }
    assert {model["model"]: model["paper"] for model in listed}["lightgcn"] == "He et al., SIGIR 2020"
    assert "Wei et al., WWW 2023" in cli("models").out

    settings = {setting["setting"]: setting for setting in json.loads(cli("models", "mmssl", "--json").out)}
    assert set(settings) == {name.replace("_", "-") for name in SETTINGS["mmssl"].model_fields}
    assert settings["dropout"]["allowed"] == "float >= 0, < 1"
    assert settings["modalities"]["allowed"] == "str,..."
    assert settings["adjacency"]["allowed"] == "sym | left"
    assert settings["ks"]["default"] == [10, 20, 50]
    assert "Sec. 4.3.1" in cli("models", "mmssl").out
    unknown = cli("models", "lightgc")
    assert unknown.code == 2
    assert "did you mean lightgcn or lightgcn-m?" in unknown.words


def test_models_says_which_rank_cold_items(cli: Cli) -> None:
    listed = json.loads(cli("models", "--json").out)
    assert {model["model"]: model["cold_items"] for model in listed} == {
        name: model_class(name).cold_items is not None for name in SETTINGS
    }
    header, *_ = cli("models").out.splitlines()
    assert header.split()[-3:] == ["Cold", "items", "Settings"]


def test_models_shows_settings_as_a_data_set_uses_them(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped" / "tiktok").mkdir(parents=True)
    (tmp_path / "shipped" / "tiktok" / "mf.toml").write_text("lr = 0.25\nks = [7]\nbatch-size = 1024\n")
    monkeypatch.setattr("mmssl_cli.config.presets.SHIPPED", tmp_path / "shipped")

    rows = {row["setting"]: row for row in json.loads(cli("models", "mf", "--dataset", "tiktok", "--json").out)}

    assert (rows["lr"]["value"], rows["lr"]["default"]) == (0.25, 0.001)
    assert (rows["ks"]["value"], rows["dataset"]["value"]) == ([7], "tiktok")
    differ = {name for name, row in rows.items() if row["value"] != row["default"]}
    assert differ == {"lr", "ks", "dataset"}
    lines = cli("models", "mf", "--dataset", "tiktok").out.splitlines()
    assert lines[0].split() == ["Setting", "Value", "Default", "Allowed", "Description"]
    assert lines[-1] == "Settings shipped for mf on tiktok: lr 0.25, ks 7."
    none = cli("models", "mf", "--dataset", "demo").out.splitlines()[-1]
    assert none == "No setting shipped for mf on demo overrides a default."
    assert "did you mean tiktok?" in cli("models", "mf", "--dataset", "tiktk").words
    assert cli("models", "--dataset", "tiktok").code == 2


@pytest.mark.parametrize(
    "arguments",
    [["models"], ["models", "mmssl", "--json"], ["models", "mf", "--dataset", "demo"], ["runs"], ["train", "--help"]],
)
def test_listing_needs_no_torch(process: Callable[..., Answer], arguments: list[str], tmp_path: Path) -> None:
    # `python -m` looks in the working folder first.
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')\n")

    answer = process(*arguments)

    assert answer.code == 0, answer.err
    assert answer.out


@pytest.mark.parametrize("command", ["evaluate", "recommend", "runs", "models"])
def test_help_shows_an_example(cli: Cli, command: str) -> None:
    assert f"Example: mmssl {command}" in cli(command, "--help").words
