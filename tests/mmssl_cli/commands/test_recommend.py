"""`mmssl recommend` on a run with known rankings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmssl_cli.evaluation import ranking
from mmssl_cli.runs import tables
from mmssl_cli.runs.folder import RunFolder
from tests.conftest import Answer

Cli = Callable[..., Answer]


def test_recommend_names_items_and_leaves_out_training_items(cli: Cli, run: RunFolder) -> None:
    answer = cli("recommend", "latest", "--user", "bob", "--user", "ann", "--top", "3", "--json")
    assert cli("recommend", "latest", "--user", "bob, ann", "--top", "3", "--json").out == answer.out

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
        ("few.tsv", "id\titemId\n1\ti5\n2\ti0\n3\ti2\n"),
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


def test_candidates_that_the_data_set_lacks_are_said_and_left_out(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "few").write_text("i4\ngone\ni5\n")
    answer = cli("recommend", "latest", "--like", "i0", "--items", "few", "--top", "2", "--json")
    assert sorted(_ids(answer)) == ["i4", "i5"]
    assert "1 of 3 items in --items few are not in the data set" in answer.words and ": gone." in answer.words
    (tmp_path / "gone").write_text("gone\n")
    assert (
        "--items gone: There is no item 'gone'" in cli("recommend", "latest", "--like", "i0", "--items", "gone").words
    )


def test_recommend_to_a_new_user(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    answer = cli("recommend", "latest", "--like", "i0,i2", "--top", "2", "--json")
    assert _ids(answer) == ["i1", "i3"]
    assert json.loads(answer.out)[0]["like"] == ["i0", "i2"]
    assert cli("recommend", "latest", "--like", "i0", "--like", "i2", "--top", "2", "--json").out == answer.out
    assert cli("recommend", "latest", "--like", "i0,i2", "--top", "2").out.splitlines()[0] == "New user of i0, i2"

    (tmp_path / "few").write_text("i4\ni5\n")
    assert _ids(cli("recommend", "latest", "--like", "i0", "--items", "few", "--top", "1", "--json")) == ["i4"]
    (tmp_path / "one").write_text("i4\n")
    answer = cli("recommend", "latest", "--like", "i0", "--items", "one")
    assert "--top is 20, but there is only 1 candidate." in answer.err
    assert cli("recommend", "latest", "--like", "i0", "--top", "2", "--out", "new.csv").out == (
        "new.csv: 2 recommendations for a new user\n"
    )
    assert (tmp_path / "new.csv").read_text() == "rank,item,score\n1,i1,5.0\n2,i2,4.0\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.txt", b"\n \n", "empty.txt holds no ids."),
        ("picture.txt", b"\x89PNG\r\n\x00\x00", "picture.txt is not text; expected an id per line"),
        ("few.csv", b"price,brand\n2,i1\n", "few.csv has no column item or id, only price, brand; expected one"),
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


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "Give either --user ID, which may be repeated, or --all, or --like ID,ID for a new user."),
        (["--like", "i1", "--user", "ann"], 2, "Give either --user ID"),
        (["--like", "i1,i9,i8"], 2, "There is no item 'i9' (nor 1 other that was given): there are 6 items"),
        (["--like", "i1", "--items", "none.txt"], 1, "none.txt"),
        (["--like", "i1", "--items", "none.csv"], 1, "none.csv"),
        (
            ["--like", "i1", "--items", "data"],
            1,
            "--items data is a folder: expected a file with an id per line, or .csv",
        ),
        (
            ["--like", "i1", "--items", "data/shop/manifest.json"],
            2,
            "--items data/shop/manifest.json: There is no item '{'",
        ),
        (["--like", "i1", "--items", "data/shop/users.parquet"], 2, "There is no item 'ann' (nor 2 others"),
        (["--like", "i1", "--items", "data/shop/interactions.parquet"], 2, "There is no item '0'"),
        (["--like", "i1", "--top", "7"], 2, "--top is 7, but the data set has 6 items; choose at most 6."),
        (["--all", "--user", "ann"], 2, "Give either --user ID"),
        (["--all"], 2, "--all needs a file to write to: add --out recs.parquet."),
        (["--all", "--out", "recs.parquet", "--json"], 2, "choose one"),
        (["--user", "anne"], 2, "There is no user 'anne': did you mean ann?"),
        (["--user", "17"], 2, "there are 3 users, such as ann, bob, eve."),
        (
            ["--all", "--out", "recs.parquet", "--top", "7"],
            2,
            "--top is 7, but the data set has 6 items; choose at most 6.",
        ),
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


def test_one_user_is_no_users(cli: Cli, run: RunFolder) -> None:
    answer = cli("recommend", "latest", "--user", "bob", "--top", "1", "--out", "recs.parquet")
    assert answer.out == "recs.parquet: 1 recommendation for 1 user\n"
