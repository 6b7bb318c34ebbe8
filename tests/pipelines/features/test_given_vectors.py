"""Vectors of one's own in a preparation: by id, in the order of the items, and what does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.prepared import read_prepared


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Clicks of 6 users on items i0 to i5, in a table whose order is another one, with i9, which nobody clicks."""
    pairs = [(f"u{user}", f"i{item}") for user in range(6) for item in range(6) if (user + item) % 6]
    pd.DataFrame(pairs, columns=["user", "item"]).to_csv(tmp_path / "clicks.csv", index=False)
    ids = ["i3", "i9", "i0", "i5", "i1", "i2", "i4"]
    clip = [[float(name[1]) + 1, 0.5] for name in ids]
    pd.DataFrame({"item": ids, "title": [f"thing {name}" for name in ids], "clip": clip}).to_parquet(
        tmp_path / "items.parquet"
    )
    np.save(tmp_path / "audio.npy", np.array([[float(name[1]) + 1] for name in ids], dtype=np.float32))
    np.savez(tmp_path / "visual.npz", ids=["i1", "i0", "zz"], v=np.array([[2.0], [1.0], [9.0]]))
    return tmp_path


TABLES = ("--interactions", "clicks.csv", "--items", "items.parquet", "--k-core", 1, "--max-absent", 1)


def test_vectors_of_a_shop_by_id_and_in_order(cli: Callable[..., Any], shop: Path) -> None:
    flags = (
        "--features",
        "clip=items.parquet:clip",
        "--features",
        "acoustic=audio.npy",
        "--features",
        "visual=visual.npz",
    )
    answer = cli("prep", "shop", *TABLES, *flags)
    assert answer.code == 0, answer.words
    assert (
        "visual: 3 rows of visual.npz by item id, 2 of 6 items found; 1 row of other items left out (zz)"
        in answer.words
    )
    assert (
        "acoustic: 7 rows of audio.npy in the order of the items (i3, i9, i0, ...), 6 of 6 items found; 1 row of"
        in answer.words
    )
    made = read_prepared(shop / "data/shop")
    assert list(made.items["id"]) == [f"i{number}" for number in range(6)]
    np.testing.assert_array_equal(made.features["acoustic"].values[:, 0], np.arange(1, 7))
    np.testing.assert_array_equal(made.features["clip"].values, [[number + 1, 0.5] for number in range(6)])
    assert made.features["visual"].present.tolist() == [True, True, False, False, False, False]
    surplus = {"left_out": {"a row of no item that is kept": 1}}
    for words, read in {"clip=items.parquet": 7, "acoustic=audio.npy": 7, "visual=visual.npz": 3}.items():
        assert made.settings["records"][words] == {"read": read, **surplus}
        assert f"{words} {read} 1 a row of no item that is kept (1)" in answer.words
    encoder = made.features["visual"].encoder
    assert (encoder["name"], encoder["file"], encoder["dim"]) == ("given", "visual.npz", 1)
    assert "unchanged" in cli("prep", "shop", *TABLES, *flags).words
    np.savez(shop / "visual.npz", ids=["i1"], v=np.array([[7.0]]))
    assert cli("prep", "shop", *TABLES, *flags).code == 0
    assert read_prepared(shop / "data/shop").features["visual"].values[:, 0].tolist() == [0, 7, 0, 0, 0, 0]


def test_a_folder_with_a_vector_an_item_as_ducho_writes(cli: Callable[..., Any], shop: Path) -> None:
    folder = shop / "visual"
    folder.mkdir()
    for number in (0, 2, 7):
        np.save(folder / f"i{number}.npy", np.array([[number + 1.0, 0.5]], dtype=np.float32))
    flags = ("--features", "visual=visual")
    answer = cli("prep", "shop", *TABLES, *flags)
    assert answer.code == 0, answer.words
    assert "visual: 3 rows of visual by item id, 2 of 6 items found; 1 row of other items left out (i7)" in answer.words
    made = read_prepared(shop / "data/shop").features["visual"]
    assert made.values.tolist() == [[1, 0.5], [0, 0], [3, 0.5], [0, 0], [0, 0], [0, 0]]
    assert made.present.tolist() == [True, False, True, False, False, False]
    assert "unchanged" in cli("prep", "shop", *TABLES, *flags).words
    np.save(folder / "i1.npy", np.array([9.0, 9.0], dtype=np.float32))
    assert cli("prep", "shop", *TABLES, *flags).code == 0
    assert read_prepared(shop / "data/shop").features["visual"].values[1].tolist() == [9, 9]
    np.save(folder / "i3.npy", np.ones((2, 2), dtype=np.float32))
    refused = cli("prep", "shop", *TABLES, *flags)
    assert refused.code == 1 and "i3.npy holds an array of shape (2, 2); expected 2 numbers" in refused.words
    (shop / "empty").mkdir()
    refused = cli("prep", "shop", *TABLES, "--features", "visual=empty")
    assert refused.code == 1 and "empty is a folder without .npy; --features expects a file" in refused.words


def test_rows_without_a_vector_and_columns_of_numbers_are_told(cli: Callable[..., Any], shop: Path) -> None:
    rows = [("i0", [1.0, 2.0]), ("i1", None), ("i2", [3.0, 4.0])]
    pd.DataFrame(rows, columns=["item", "v"]).to_parquet(shop / "v.parquet")
    (shop / "w.csv").write_text("item,f0,f1,f2,f3,price\n" + "".join(f"i{n},1,2,3,4,5\n" for n in range(6)))
    answer = cli("prep", "shop", *TABLES, "--features", "v=v.parquet", "--features", "w=w.csv")
    assert answer.code == 0, answer.words
    assert "v: 1 row without a vector left out" in answer.words
    dimensions = "the dimensions are the columns f0, f1, f2, f3, price"
    assert f"w: {dimensions}" in answer.words
    records = read_prepared(shop / "data/shop").settings["records"]
    assert records["v=v.parquet"] == {"read": 3, "left_out": {"no vector": 1}}
    assert records["w=w.csv"] == {"read": 6, "notes": [dimensions]}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--features", "a=one/i0.npy"), "of shape \\(4,\\); .*, or a folder with a file <item>.npy each, such as one"),
        (("--text", "title,clip"), "clip of items.parquet holds vectors, not words; .* textual=items.parquet:clip"),
        (("--items", "told.csv", "--text", "title,clip"), "clip of told.csv holds vectors, not words; .* textual=told"),
        (("--features", "visual"), "--features 'visual' is no MODALITY=FILE"),
        (("--features", "a b=audio.npy"), "'a b' cannot name a modality"),
        (("--features", "a=audio.npy", "--features", "a=visual.npz"), "--features gives the modality a twice"),
        (("--features", "a=short.npy"), "short.npy has 2 rows, but the table of items has 7; expected a row each"),
        (
            ("--features", "a=other.npz"),
            "vectors of none of the 6 items: its ids are like 'q', those of the",
        ),
        (("--features", "a=large.npz", "--dtype", "float16"), "too large for float16; choose --dtype float32"),
        (("--features", "a=enormous.npz"), "too large for float32; scale them down"),
        (
            ("--features", "a=visual.npz", "--max-absent", 0.5),
            "no row in visual.npz.* leave out --features a=visual.npz",
        ),
        (("--text", "titel"), "has no column 'titel'.* did you mean title"),
        (("--time-column", "when"), "has no column 'when'"),
    ],
)
def test_what_does_not_fit_a_shop(cli: Callable[..., Any], shop: Path, flags: tuple[str, ...], sentence: str) -> None:
    (shop / "one").mkdir()
    for name in ("i0", "i1"):
        np.save(shop / "one" / f"{name}.npy", np.ones(4))
    (shop / "told.csv").write_text('item,title,clip\ni0,thing,"[0.1, -0.2]"\ni1,thing,\n')
    np.save(shop / "short.npy", np.ones((2, 3)))
    np.savez(shop / "other.npz", ids=["q"], v=np.ones((1, 2)))
    np.savez(shop / "large.npz", ids=["i0"], v=np.full((1, 2), 1e9))
    np.savez(shop / "enormous.npz", ids=["i0"], v=np.full((1, 2), 1e39))
    answer = cli("prep", "shop", *TABLES, *flags)
    assert answer.code != 0
    assert re.search(sentence, answer.words), answer.words
    assert not (shop / "data/shop").exists()


def test_vectors_for_every_other_source(cli: Callable[..., Any], shop: Path) -> None:
    """The demo, and each layout that its export writes, in the order of their items."""
    values = np.arange(1, 401, dtype=np.float32)[:, None]
    np.save(shop / "own.npy", values)
    assert cli("prep", "demo", "--features", "own=own.npy", "--features", "visual=own.npy").code == 0
    made = read_prepared(shop / "data/demo")
    assert set(made.features) == {"visual", "textual", "own"}
    assert made.settings["records"] == {"own=own.npy": {"read": 400}, "visual=own.npy": {"read": 400}}
    np.testing.assert_array_equal(made.features["own"].values, values)
    np.testing.assert_array_equal(made.features["visual"].values, values)
    for layout in ("mmssl", "mmrec", "recbole", "lightgcn"):
        assert cli("export", "demo", "--format", layout, "--out", layout).code == 0
        answer = cli("prep", f"a-{layout}", "--from", layout, "--features", "mine=own.npy")
        assert answer.code == 0, answer.words
        again = read_prepared(shop / f"data/a-{layout}")
        np.testing.assert_array_equal(again.features["mine"].values, again.features["own"].values)
        assert again.settings["records"]["mine=own.npy"] == {"read": 400}
        assert "unchanged" in cli("prep", f"a-{layout}", "--from", layout, "--features", "mine=own.npy").words


def test_recboles_own_file_of_item_vectors_needs_no_flag(cli: Callable[..., Any], shop: Path) -> None:
    folder = shop / "tiny"
    folder.mkdir()
    pairs = [f"{user}\t{item}\n" for user in range(5) for item in range(5)]
    (folder / "tiny.inter").write_text("user_id:token\titem_id:token\n" + "".join(pairs))
    rows = [f"{item}\t{item + 1} 0.5\n" for item in (4, 1, 0, 2)]
    (folder / "tiny.itememb").write_text("iid:token\titem_emb:float_seq\n" + "".join(rows))
    answer = cli("prep", "tiny", "--from", folder)
    assert answer.code == 0, answer.words
    features = read_prepared(shop / "data/tiny").features["item_emb"]
    assert features.values.tolist() == [[1, 0.5], [2, 0.5], [3, 0.5], [0, 0], [5, 0.5]]
    assert features.present.tolist() == [True, True, True, False, True]


def test_ids_of_a_table_by_the_column_of_the_interactions(cli: Callable[..., Any], shop: Path) -> None:
    clicks = (shop / "clicks.csv").read_text().replace("user,item", "user,sku")
    (shop / "clicks.csv").write_text(clicks)
    (shop / "v.csv").write_text(",x,sku\n" + "".join(f"{n},{n + 1},i{5 - n}\n" for n in range(6)))
    flags = ("--interactions", "clicks.csv", "--item-column", "sku", "--k-core", 1, "--features", "v=v.csv")
    answer = cli("prep", "shop", *flags)
    assert answer.code == 0, answer.words
    assert read_prepared(shop / "data/shop").features["v"].values[:, 0].tolist() == [6, 5, 4, 3, 2, 1]
    assert "v: no dimension, for its name is that of numbers of rows: ''" in answer.words
