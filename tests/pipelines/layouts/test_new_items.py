"""Items that nobody has chosen, and items held out whole, through the real entry point and in every layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.prepared import PreparedDataset, read_prepared
from pipelines.prepared.manifest import has_new_items

Cli = Callable[..., Any]
PAIRS = [(user, item) for user in range(8) for item in range(10)]


def own_tables(folder: Path) -> tuple[object, ...]:
    (folder / "clicks.csv").write_text("user,item\n" + "".join(f"u{user},i{item}\n" for user, item in PAIRS))
    (folder / "items.csv").write_text("item,title\n" + "".join(f"i{item},Cup {item}\n" for item in range(11)))
    tables = ("--interactions", folder / "clicks.csv", "--items", folder / "items.csv")
    return *tables, "--text", "title", "--text-encoder", "tfidf"


def recbole(folder: Path) -> tuple[object, ...]:
    pairs = "".join(f"u{user}\ti{item}\n" for user, item in PAIRS)
    (folder / "shop.inter").write_text("user_id:token\titem_id:token\n" + pairs)
    items = "".join(f"i{item}\tCup {item}\n" for item in range(11))
    (folder / "shop.item").write_text("item_id:token\ttitle:token_seq\n" + items)
    return "--from", folder


def mmrec(folder: Path) -> tuple[object, ...]:
    (folder / "baby.inter").write_text("userID\titemID\n" + "".join(f"{user}\t{item}\n" for user, item in PAIRS))
    mapping = "".join(f"i{item}\t{item}\n" for item in range(11))
    (folder / "i_id_mapping.csv").write_text("asin\titemID\n" + mapping)
    np.save(folder / "image_feat.npy", np.eye(11, 4, dtype=np.float32) + 1)
    return "--from", folder


def prepared(cli: Cli, make: Callable[[Path], tuple[object, ...]], *flags: object) -> tuple[PreparedDataset, str]:
    folder = Path("raw")
    folder.mkdir(exist_ok=True)
    answer = cli("prep", "shop", *make(folder), *flags)
    assert answer.code == 0, answer.words
    return read_prepared(Path("data/shop")), answer.words


@pytest.mark.parametrize("make", [own_tables, recbole, mmrec])
def test_a_core_of_zero_keeps_items_that_nobody_has_chosen(cli: Cli, make: Any) -> None:
    dataset, _ = prepared(cli, make, "--k-core", 0)
    assert sorted(dataset.items["id"]) == sorted(f"i{item}" for item in range(11))
    assert all(features.present.all() for features in dataset.features.values())
    without, _ = prepared(cli, make, "--k-core", 1, "--force")
    assert len(without.items) == 10


@pytest.mark.parametrize("make", [own_tables, recbole, mmrec])
def test_whole_items_are_held_out(cli: Cli, make: Any) -> None:
    dataset, words = prepared(cli, make, "--split", "cold-items", "--k-core", 0)
    kinds = dataset.interactions.groupby("item")["split"].agg(lambda splits: frozenset(splits))
    assert sorted(sorted(splits) for splits in kinds if "train" not in splits) == [["test"], ["validation"]]
    assert len(dataset.items) == 11
    said = "cold items (without a training interaction): 8 interactions with 1 item in validation, 8 interactions with"
    assert said in words
    assert dataset.settings["split"] == "cold-items"
    assert json.loads(Path("data/shop/manifest.json").read_text())["settings"]["split"] == "cold-items"


@pytest.mark.parametrize("layout", ["mmssl", "lightgcn", "mmrec", "recbole"])
def test_new_items_stay_new_ones_after_an_export(cli: Cli, layout: str) -> None:
    before, _ = prepared(cli, own_tables, "--split", "cold-items", "--k-core", 1)
    said = cli("export", "shop", "--format", layout, "--out", "out")
    assert said.code == 0 and "are cold ones in shop: prepare the export with `--k-core 0`" in said.words
    answer = cli("prep", "again", "--from", "out", "--k-core", 0)
    assert answer.code == 0, answer.words
    after = read_prepared(Path("data/again"))
    assert has_new_items(after.settings)
    assert all(np.array_equal(after.pairs(split), before.pairs(split)) for split in ("train", "validation", "test"))
    refused = cli("prep", "again", "--from", "out", "--k-core", 3)
    assert refused.code in (1, 2) and "fixes the split of its interactions" in refused.words


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (dict.fromkeys(("train.json", "val.json", "test.json"), '{"0": [0, 1]}'), "--split"),
        ({"train.txt": "0 1 2\n1 0 2\n", "test.txt": "0 0\n1 1\n"}, "--split"),
        (
            {f"s.{part}.inter": f"user_id:token\titem_id:token\nu\ti{part}\n" for part in ("train", "valid", "test")},
            "fixes the split of its interactions; leave out --split",
        ),
    ],
)
def test_a_source_with_a_split_refuses_it(cli: Cli, tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    answer = cli("prep", "shop", "--from", folder, "--split", "cold-items")
    assert answer.code in (1, 2) and sentence in answer.words and "Traceback" not in answer.words
