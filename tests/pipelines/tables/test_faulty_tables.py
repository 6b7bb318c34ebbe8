"""Faulty tables through the real entry point: read, told of, or refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.prepared import read_prepared

Cli = Callable[..., Any]
PAIRS = [(f"u{user}", f"i{item}") for user in range(6) for item in range(6) if user != item]
NO_FEATURES = ("--k-core", 2, "--modalities", "none")


def test_stray_quotes_lose_no_interaction(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{user}\t{item}\tlamp" for user, item in PAIRS]
    rows[6], rows[24] = 'u1\ti2\t"red lamp', 'u4\ti5\t"blue lamp'
    Path("clicks.tsv").write_text("\n".join(["user\titem\tquery", *rows]))
    assert cli("prep", "t", "--interactions", "clicks.tsv", *NO_FEATURES).code == 0
    dataset = read_prepared(tmp_path / "data" / "t")
    assert (dataset.num_users, dataset.num_items, len(dataset.interactions)) == (6, 6, 30)


def test_a_cell_over_many_records_is_refused(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{user},{item},lamp" for user, item in PAIRS]
    rows[6], rows[23] = 'u1,i2,"red lamp', 'u4,i4,15"'
    Path("clicks.csv").write_text("\n".join(["user,item,query", *rows]))
    answer = cli("prep", "t", "--interactions", "clicks.csv", *NO_FEATURES)
    assert answer.code == 1
    assert "18 of 30 lines" in answer.err and "a quoted cell runs over 18 lines that look like records" in answer.err


@pytest.mark.parametrize("named", [False, True])
def test_titles_in_another_encoding(cli: Cli, tmp_path: Path, named: bool) -> None:
    Path("clicks.csv").write_text("\n".join(["user,item", *map(",".join, PAIRS)]))
    Path("items.csv").write_bytes(
        "\n".join(["item,title", *(f"i{n},Café crème {n}" for n in range(6))]).encode("latin-1")
    )
    flags = ("--interactions", "clicks.csv", "--items", "items.csv", "--text", "title", "--text-encoder", "tfidf")
    answer = cli("prep", "t", *flags, "--k-core", 2, *(("--encoding", "latin-1") if named else ()))
    assert answer.code == 0
    told = "items.csv is not in UTF-8 but, it seems, in cp1252: 'i0,Café crème 0'"
    assert (told in answer.out + answer.err) is not named
    titles = read_prepared(tmp_path / "data" / "t").items["title"].tolist()
    assert titles == [f"Café crème {n}" for n in range(6)]


def test_an_encoding_that_does_not_exist_is_refused(cli: Cli) -> None:
    Path("clicks.csv").write_text("user,item\na,b\n")
    answer = cli("prep", "t", "--interactions", "clicks.csv", "--encoding", "klingon", *NO_FEATURES)
    assert answer.code == 2 and "There is no encoding 'klingon'" in answer.err


def test_seconds_and_milliseconds_are_told(cli: Cli, tmp_path: Path) -> None:
    lines = [
        json.dumps({"user": user, "item": item, "time": (1_600_000_000 + n) * (1000 if n % 2 else 1)})
        for n, (user, item) in enumerate(PAIRS)
    ]
    Path("clicks.jsonl").write_text("\n".join(lines))
    answer = cli(
        "prep", "t", "--interactions", "clicks.jsonl", "--time-column", "time", "--split", "temporal", *NO_FEATURES
    )
    assert answer.code == 0
    assert "clicks.jsonl: times are in several units, 15 in seconds and 15 in milliseconds" in answer.out + answer.err
    times = read_prepared(tmp_path / "data" / "t").interactions["timestamp"]
    assert sorted(times) == [(1_600_000_000 + n) * 1000 for n in range(30)]


def test_pictures_that_no_item_names_are_told(cli: Cli, tmp_path: Path) -> None:
    Path("clicks.csv").write_text("\n".join(["user,item", *map(",".join, PAIRS)]))
    Path("photos").mkdir()
    for name in ("i0.png", "i1.png", "i77.png"):
        Image.new("RGB", (8, 8)).save(Path("photos") / name)
    (Path("photos") / "notes.txt").write_text("x")
    flags = ("--interactions", "clicks.csv", "--images", "photos", "--image-encoder", "pixels", "--k-core", 2)
    refused = cli("prep", "t", *flags)
    assert refused.code == 1 and "the first, i2: no image); at most 50% are tolerated" in refused.words
    answer = cli("prep", "t", *flags, "--max-absent", 1)
    assert "not used: 2 of 4 files of photos: not the image of an item kept (i77.png, notes.txt)" in answer.words
    Path("items.csv").write_text("item,photo\n" + "".join(f"i{n},i{n}.png\n" for n in range(2)) + "i2,i77.png\n")
    answer = cli("prep", "t", *flags, "--max-absent", 1, "--items", "items.csv", "--image-column", "photo")
    assert "not used: 1 of 4 files of photos: not the image of an item kept (notes.txt)" in answer.words
    (Path("photos") / "notes.txt").unlink()
    assert (
        "not used"
        not in cli("prep", "t", *flags, "--max-absent", 1, "--items", "items.csv", "--image-column", "photo").words
    )
