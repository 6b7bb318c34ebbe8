"""Folders as other programs leave them: LightGCN's, RecBole's variants, pickles, and folders of no layout."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, coo_matrix

from pipelines.io.raw import MalformedRecords
from pipelines.layouts import lightgcn
from pipelines.layouts.unused import unused_files
from pipelines.prepared import read_prepared
from tests.helpers.encoder_cases import photo

Cli = Callable[..., Any]
PAIRS = [(user, item) for user in range(6) for item in range(7) if user != item]


def lightgcn_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "train.txt").write_text(
        "".join(f"{u} {' '.join(str(i) for i in range(5) if i != u)}\n" for u in range(6))
    )
    (folder / "test.txt").write_text("".join(f"{u} {5 + u % 2}\n" for u in range(6)) + "\n")
    return folder


def test_lightgcn_with_validation_drawn(cli: Cli, tmp_path: Path) -> None:
    folder = lightgcn_folder(tmp_path / "gowalla")
    np.save(folder / "image_feat.npy", np.ones((7, 2), dtype=np.float32))
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 0, answer.words
    assert "No valid.txt: 6 of 25 training interactions drawn for validation" in answer.err
    data = read_prepared(tmp_path / "data" / "t")
    assert (data.num_users, data.num_items, len(data.interactions)) == (6, 7, 31)
    assert dict(data.interactions["split"].value_counts()) == {"train": 19, "validation": 6, "test": 6}
    assert data.settings["seed"] == 0 and list(data.features) == ["visual"]
    drawn = data.pairs("validation").tolist()
    np.save(folder / "clip.npy", np.ones((7, 3), dtype=np.float32))
    answer = cli("prep", "v", "--from", folder, "--features", f"visual={folder}/clip.npy")
    assert answer.code == 0 and "not used: clip.npy" not in answer.err
    assert read_prepared(tmp_path / "data" / "v").features["visual"].values.shape == (7, 3)
    assert "unchanged" in cli("prep", "t", "--from", folder).out
    assert cli("prep", "t", "--from", folder, "--seed", 1).code == 0
    assert read_prepared(tmp_path / "data" / "t").pairs("validation").tolist() != drawn


def test_users_that_a_number_far_above_the_others_brings_in_are_said(cli: Cli, tmp_path: Path) -> None:
    folder = lightgcn_folder(tmp_path / "gaps")
    assert "no interaction in any split" not in cli("prep", "t", "--from", folder).words
    with (folder / "train.txt").open("a") as file:
        file.write("40 1 2 3\n")
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 0 and "34 of 41 users have no interaction in any split" in answer.words


def test_lightgcn_with_original_ids_and_validation(cli: Cli, tmp_path: Path) -> None:
    folder = lightgcn_folder(tmp_path / "book")
    (folder / "valid.txt").write_text("0 6\n")
    (folder / "item_list.txt").write_text(
        "\ufefforg_id remap_id freebase_id\n" + "".join(f"B{i} {i} m.{i}\n" for i in range(7)), "utf-8"
    )
    assert cli("prep", "t", "--from", folder).code == 0
    data = read_prepared(tmp_path / "data" / "t")
    assert data.pairs("validation").tolist() == [[0, 6]] and data.items["id"].tolist() == [f"B{i}" for i in range(7)]
    (folder / "item_list.txt").write_text("org_id remap_id\nB0 0\n")
    assert "item_list.txt lacks item 1; fix" in cli("prep", "t", "--from", folder).words
    (folder / "item_list.txt").write_text(f"org_id remap_id\n{'B' * 300} 0\n")
    told = "item_list.txt, line 2: the id has 300 characters, more than 200; fix or remove it."
    assert told in cli("prep", "t", "--from", folder).words
    rows = [f"B{i} {i}\n" for i in range(7)]
    (folder / "item_list.txt").write_text("".join(["org_id remap_id\n", *rows, "B9 3\n"]))
    told = "item_list.txt, line 9 gives item 3 an id again, B9 after B3; fix or remove it."
    assert told in cli("prep", "t", "--from", folder).words


def test_a_mark_at_the_beginning_of_lightgcns_files_is_no_number(cli: Cli, tmp_path: Path) -> None:
    folder = lightgcn_folder(tmp_path / "g")
    for name in ("train.txt", "test.txt"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 0, answer.words
    assert len(read_prepared(tmp_path / "data" / "t").interactions) == 31


def test_one_training_item_is_kept(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("3 1\n4 1 2 2\n5\n")
    counts = MalformedRecords(tmp_path / "train.txt")
    users, training = lightgcn.read_pairs(counts.path, counts)
    assert counts.record() == {"train.txt": {"read": 4, "left_out": {"an interaction that is repeated": 1}}}
    assert users.tolist() == [3, 4, 5]
    kept, drawn = lightgcn.draw_validation(training, seed=0)
    assert sorted(kept["user"]) == [3, 4] and drawn["user"].tolist() == [4]


def test_validation_is_drawn_for_users_of_any_number() -> None:
    training = pd.DataFrame({"user": [3, 3, 3, 2_000_000_000], "item": [0, 1, 2, 0]})
    left, drawn = lightgcn.draw_validation(training, seed=0)
    assert (len(left), drawn["user"].tolist()) == (3, [3])


def test_a_line_of_lightgcn_that_is_wrong(cli: Cli, tmp_path: Path) -> None:
    folder = lightgcn_folder(tmp_path / "g")
    (folder / "test.txt").write_text("0 5\n1 x\n")
    assert "test.txt, line 2 has 'x'; expected a user and items" in cli("prep", "t", "--from", folder).words


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("header", [("user_id:token", "item_id:token", "timestamp:float"), ("user_id", "item_id")])
def test_recbole_in_parts(cli: Cli, tmp_path: Path, separator: str, header: tuple[str, ...]) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    for number in range(3):
        rows = [(u, i, 1_600_000_000)[: len(header)] for u, i in PAIRS if min(2, max(0, i - 4)) == number]
        lines = [separator.join(map(str, row)) for row in (header, *rows)]
        (folder / f"shop.part{number + 1}.inter").write_text("\n".join(lines))
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 0, answer.words
    assert ("shop.part1.inter: fields are separated by spaces" in answer.err) is (separator == " ")
    data = read_prepared(tmp_path / "data" / "t")
    assert len(data.interactions) == len(PAIRS) and len(data.pairs("test")) == sum(i >= 6 for _, i in PAIRS)
    (folder / "shop.train.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    assert "two files of one split, shop.part1.inter and shop.train.inter" in cli("prep", "t", "--from", folder).words


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            ("val.json", "test.json"),
            "It has test.json, val.json. It is nearest to the published layout .* no train.json",
        ),
        (("train.txt",), "nearest to LightGCN's .* but it has no test.txt"),
        (("train.txt", "test.txt"), "nearest to LightGCN's .* but its first lines are no numbers"),
        (
            ("a.inter",),
            r"a.inter has the columns x, y; RecBole's layout needs user_id:token .* MMRec's userID and itemID. "
            r"Columns of other names go to --interactions .*a.inter, with --user-column and --item-column",
        ),
        (("ratings.csv",), "If ratings.csv is a table of interactions, give it as --interactions .*ratings.csv"),
        ((), r"It has no files\. Expected train.json, val.json and test.json; train.txt and test.txt of LightGCN"),
    ],
)
def test_what_a_folder_lacks(cli: Cli, tmp_path: Path, files: tuple[str, ...], sentence: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("x\ty\n1\t2\n")
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 1 and re.search(sentence, answer.words), answer.words


def test_a_table_of_interactions_is_found_among_others(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title\n1,Heat\n")
    (folder / "links.csv.gz").write_bytes(b"\x1f\x8bdamaged")
    (folder / "ratings.csv").write_text("userId,movieId\n1,1\n")
    answer = cli("prep", "t", "--from", folder)
    assert "ratings.csv seems to be a table of interactions: give it as --interactions " in answer.words


def test_the_way_out_of_a_layout_without_texts_is_a_flag_that_it_takes(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "shop.inter").write_text("\n".join(["user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in PAIRS)]))
    answer = cli("prep", "t", "--from", folder, "--text-encoder", "tfidf")
    assert answer.code == 1 and "Raise --max-absent, or leave out --text-encoder." in answer.words


@pytest.mark.parametrize(
    "names",
    [
        ("trnMat.pkl", "valMat.pkl", "tstMat.pkl"),
        ("train_mat", "val_mat", "test_mat"),
        ("train.pkl", "val.pkl", "test.pkl"),
        ("Training.pickle", "validation.pickle", "testing.pickle"),
    ],
)
def test_pickles_are_refused_with_what_turns_them_into_json(cli: Cli, tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = tmp_path / "tiktok"
    folder.mkdir()
    for number, name in enumerate(names):
        users, items = np.arange(3), np.arange(3) + number
        make = coo_matrix if number else coo_array
        matrix = make((np.ones(3), (users, items)), shape=(3, 5))
        (folder / name).write_bytes(pickle.dumps(matrix))
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 1 and "has pickles" in answer.err
    code = "\n".join(answer.err[answer.err.index("import json") :].splitlines()[:3])
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert json.loads((folder / "val.json").read_text()) == {"0": [1], "1": [2], "2": [3]}
    assert cli("prep", "t", "--from", folder).code == 0


def test_splits_of_pickles_are_not_guessed(cli: Cli, tmp_path: Path) -> None:
    for name in ("a.pkl", "b.pkl", "c.pkl"):
        (tmp_path / name).write_bytes(b"")
    answer = cli("prep", "t", "--from", tmp_path)
    assert answer.code == 1 and "{'train': 'TRAIN.pkl', 'val': 'VAL.pkl', 'test': 'TEST.pkl'}" in answer.err
    assert "with the file of each split in place of TRAIN.pkl, VAL.pkl, TEST.pkl" in answer.words
    (tmp_path / "train.pkl").write_bytes(b"")
    (tmp_path / "test.pkl").write_bytes(b"")
    assert "{'train': 'train.pkl', 'test': 'test.pkl'}" in cli("prep", "t", "--from", tmp_path).err


def test_arrays_and_rows_that_are_not_used_are_told(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "baby"
    folder.mkdir()
    rows = [(u, i, min(2, max(0, i - 4))) for u, i in PAIRS]
    lines = ["\t".join(map(str, row)) for row in (("userID", "itemID", "x_label"), *rows)]
    (folder / "baby.inter").write_text("\n".join(lines))
    np.save(folder / "image_feat.npy", np.ones((18, 2), dtype=np.float32))
    np.save(folder / "image_feat_clip.npy", np.ones((6, 2), dtype=np.float32))
    answer = cli("prep", "t", "--from", folder)
    assert answer.code == 0, answer.words
    assert "not used: 11 of 18 rows of image_feat.npy: they belong to no item kept" in answer.err
    assert "not used: image_feat_clip.npy (6 rows): not called *_feat.npy; --features" in answer.err
    assert read_prepared(tmp_path / "data" / "t").settings["records"] == {
        "baby.inter": {"read": len(PAIRS)},
        "image_feat.npy": {"read": 18, "left_out": {"a row of no item that is kept": 11}},
    }


def test_the_rows_of_an_array_that_is_not_used_are_counted_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.zeros((2**20, 16), dtype=np.float32))
    tracemalloc.start()
    lines = unused_files(tmp_path, [], items=6)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines[0].startswith("not used: clip.npy (1,048,576 rows)") and most < 2**24


def test_records_and_stray_files_of_the_published_layout(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "tiktok"
    folder.mkdir()
    for name, lists in (
        ("train", {"0": [0, 1], "1": [2], "2": []}),
        ("val", {"0": [2], "1": [1], "2": [0]}),
        ("test", {"0": [], "1": [0], "2": [1, 2]}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(lists))
    np.save(folder / "image_feat.npy", np.ones((3, 2), dtype=np.float32))
    np.savez(folder / "clip.npz", np.ones((3, 2)))
    (folder / "README.md").touch()
    answer = cli("prep", "t", "--from", folder, "--cold-users", "drop")
    assert answer.code == 0, answer.words
    assert "not used: clip.npz: --features MODALITY=FILE takes it" in answer.err
    assert "not used: README.md: no file of this layout" in answer.err
    cold = {"of a user without training interactions": 1}
    assert read_prepared(tmp_path / "data" / "t").settings["records"] == {
        "train.json": {"read": 3},
        "val.json": {"read": 3, "left_out": cold},
        "test.json": {"read": 3, "left_out": dict.fromkeys(cold, 2)},
        "image_feat.npy": {"read": 3},
    }
    assert cli("prep", "t", "--from", folder, "--cold-users", "drop").out.count("unchanged") == 1


def test_records_of_vectors_in_recbole_are_counted(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text("\n".join(["user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in PAIRS)]))
    vectors = [f"{item}\t{item}.5 1.5" for item in [*range(7), 99]]
    (folder / "shop.itememb").write_text("\n".join(["id:token\tclip:float_seq", *vectors]))
    (folder / "shop.kg").write_text("head_id:token\n")
    answer = cli("prep", "t", "--from", folder, "--k-core", 1)
    assert answer.code == 0, answer.words
    assert "not used: shop.kg: no file of this layout" in answer.err
    assert read_prepared(tmp_path / "data" / "t").settings["records"]["shop.itememb"] == {
        "read": 8,
        "left_out": {"an item without interactions that are kept": 1},
    }


@pytest.mark.parametrize("layout", ["mmssl", "lightgcn"])
def test_other_pictures_are_taken_over(cli: Cli, tmp_path: Path, layout: str) -> None:
    folder = lightgcn_folder(tmp_path / "raw")
    if layout == "mmssl":
        for name, lists in (("train", {"0": [0, 1, 2, 3, 4, 5, 6]}), ("val", {"0": []}), ("test", {"0": []})):
            (folder / f"{name}.json").write_text(json.dumps(lists | {"1": [{"train": 0, "val": 1, "test": 2}[name]]}))
    rows = "".join(f"{item},i{item},images/i{item}.png\n" for item in range(7))
    (folder / "items.csv").write_text("item,id,imUrl\n" + rows)
    (folder / "images").mkdir()
    for shift in (0, 7):
        for item in range(7):
            photo(item + shift).save(folder / "images" / f"i{item}.png")
        answer = cli("prep", "t", "--from", folder)
        assert answer.code == 0 and "t: prepared" in answer.words, answer.words
        image = (folder / "images" / "i3.png").read_bytes()
        assert (tmp_path / "data" / "t" / "images" / "i3.png").read_bytes() == image
        assert "unchanged" in cli("prep", "t", "--from", folder).words
