"""FoodRecSys-V1 in both of its layouts: split core data, and raw data with malformed lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords, RawInteractions
from pipelines.io.reporter import Reporter
from pipelines.sources.allrecipes import Allrecipes
from tests.helpers.source_cases import recipe_of, source_of

RATINGS = "user_id,recipe_id,rating,dateLastModified"
CORE_RECIPES = ["recipe_id", "recipe_name", "image_url", "ingredients", "cooking_directions", "nutritions"]
RAW_RECIPES = [
    *("recipe_id", "recipe_name", "aver_rate", "image_url", "review_nums"),
    *("ingredients", "cooking_directions", "nutritions", "reviews"),
]
NUTRITIONS = (
    "{u'niacin': {u'hasCompleteData': False, u'name': u'Niacin', u'amount': 7.0, u'percentDailyValue': u'< 1'}}"
)
PANINI = {
    "recipe_id": "87211",
    "recipe_name": "Chicken Pesto Paninis",
    "aver_rate": "4.625",
    "image_url": "http://images.media-allrecipes.com/userphotos/560x315/956156.jpg",
    "review_nums": "227",
    "ingredients": "focaccia bread quartered^prepared basil pesto^diced cooked chicken^^ sea  salt ",
    "cooking_directions": r"{'directions': u'Prep\n15 m\nCook\n5 m\nReady In\n20 m\n"
    r"""Preheat a panini grill.\nIt\'s "hot".'}""",
    "nutritions": NUTRITIONS,
    "reviews": "{123: {'rating': 5, 'followersCount': 11, 'text': u'" + "very good, " * 30_000 + "'}}",
}
WINGS = {
    "recipe_id": "218939",
    "recipe_name": 'Foolproof "Rosemary" Chicken Wings',
    "aver_rate": "4.6",
    "image_url": "not an address",
    "review_nums": "1",
    "ingredients": "chicken wings^sprigs rosemary",
    "cooking_directions": "{'directions': u\"Bake until the juices run clear; don't turn.\"}",
    "nutritions": NUTRITIONS,
    "reviews": "{}",
}


def rating(user: int, recipe: int, date: str = "2017-01-16T19:11:16.59") -> str:
    """A record as it is published: the date ends with a line break inside its quotes."""
    return f'{user},{recipe},5,"{date}\n"\n'


def table(columns: Sequence[str], recipes: Sequence[dict[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(recipes)
    return text.getvalue()


def write_core(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", [(1, 87211), (2, 218939)]), ("valid", [(1, 218939)]), ("test", [(2, 87211)])):
        text = RATINGS + "\n" + "".join(rating(user, recipe) for user, recipe in rows)
        (folder / f"core-data-{split}_rating.csv").write_text(text)
    (folder / "core-data_recipe.csv").write_text(table(CORE_RECIPES, [PANINI, WINGS]))
    return folder


def write_raw(folder: Path, ratings: str, recipes: str | bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "raw-data_interaction.csv").write_text(ratings)
    recipes = table(RAW_RECIPES, [PANINI, WINGS]) if recipes is None else recipes
    (folder / "raw-data_recipe.csv").write_bytes(recipes if isinstance(recipes, bytes) else recipes.encode())
    return folder


def files(folder: Path) -> Mapping[str, Path]:
    return Allrecipes(recipe_of(folder), Reporter()).paths


def read_interactions(paths: Mapping[str, Path], malformed: MalformedRecords) -> RawInteractions:
    return source_of(Allrecipes, paths).interactions(malformed, str)


def read_items(paths: Mapping[str, Path], ids: list[str], malformed: MalformedRecords) -> pd.DataFrame:
    return source_of(Allrecipes, paths).items(ids, malformed)


def read_ingredients(paths: Mapping[str, Path], ids: list[str]) -> list[list[str]]:
    read = source_of(Allrecipes, paths).ingredients
    assert read is not None
    return read(ids)


def malformed(path: Path, limit: float = 0.0) -> MalformedRecords:
    return MalformedRecords(path, limit)


def test_the_core_data_have_their_split(tmp_path: Path) -> None:
    paths = files(write_core(tmp_path))
    assert list(paths) == ["train", "validation", "test", "metadata"]
    raw = read_interactions(paths, malformed(paths["train"]))
    triples = [(raw.user_ids[user], raw.item_ids[item]) for user, item in zip(raw.user, raw.item, strict=True)]
    assert triples == [("1", "87211"), ("2", "218939"), ("1", "218939"), ("2", "87211")]
    assert raw.split is not None and raw.split.dtype == np.int8 and raw.split.tolist() == [0, 0, 1, 2]
    assert raw.timestamp is not None and raw.timestamp.tolist() == [1484593876590] * 4


def test_the_raw_data_have_none(tmp_path: Path) -> None:
    dates = {"1970-01-01": 0, "2017-01-16T19:11:16Z": 1484593876, "2017-01-16 20:11:16+01:00": 1484593876}
    ratings = RATINGS + "\n" + "".join(rating(7, 87211, date) for date in dates)
    paths = files(write_raw(tmp_path, ratings))
    assert list(paths) == ["interactions", "metadata"]
    raw = read_interactions(paths, malformed(paths["interactions"]))
    assert raw.split is None and raw.timestamp is not None
    assert raw.timestamp.tolist() == list(dates.values())


def test_recipes_have_names_texts_and_pictures(tmp_path: Path) -> None:
    paths = files(write_core(tmp_path))
    inner = tmp_path / "core-data-images" / "core-data-images"  # as Kaggle packs it
    inner.mkdir(parents=True)
    (inner / "218939.jpg").touch()
    (inner / "218939.txt").touch()
    ids = ["218939", "5", "87211", "../../core-data_recipe"]
    items = read_items(paths, ids, malformed(paths["metadata"]))
    text = (
        "Chicken Pesto Paninis focaccia bread quartered, prepared basil pesto, diced cooked chicken, sea salt "
        'Preheat a panini grill. It\'s "hot".'
    )
    wings = WINGS["recipe_name"]
    assert items.pop("recorded").tolist() == [True, False, True, False]
    assert [tuple(row) for row in items.itertuples(index=False)] == [
        (
            "218939",
            wings,
            f"{wings} chicken wings, sprigs rosemary Bake until the juices run clear; don't turn.",
            str(inner / "218939.jpg"),
        ),
        ("5", None, None, None),
        ("87211", "Chicken Pesto Paninis", text, PANINI["image_url"]),
        ("../../core-data_recipe", None, None, None),
    ]
    (inner / "218939.jpg").rename(inner.parent / "218939.jpg")
    (inner / "218939.txt").unlink()
    inner.rmdir()
    moved = read_items(paths, ["218939"], malformed(paths["metadata"]))
    assert moved.loc[0, "image"] == str(inner.parent / "218939.jpg")


def test_the_raw_table_is_the_same_and_its_reviews_are_long(tmp_path: Path) -> None:
    core, raw = (
        files(folder) for folder in (write_core(tmp_path / "core"), write_raw(tmp_path / "raw", RATINGS + "\n"))
    )
    assert len(PANINI["reviews"]) > 131_072  # what the csv module takes by itself
    ids = ["87211", "218939"]
    read = [read_items(paths, ids, malformed(paths["metadata"])) for paths in (core, raw)]
    assert read[0].equals(read[1])


def test_ingredients_are_lists_of_names(tmp_path: Path) -> None:
    paths = files(write_core(tmp_path))
    assert read_ingredients(paths, ["218939", "5", "87211"]) == [
        ["chicken wings", "sprigs rosemary"],
        [],
        ["focaccia bread quartered", "prepared basil pesto", "diced cooked chicken", "sea  salt"],
    ]


def test_malformed_ratings_cost_themselves_alone(tmp_path: Path) -> None:
    bad = [
        '8,87211,5,"2017-01-16T19:11:16\n',  # never closed
        "8,87211,5\n",
        rating(8, 87211, "yesterday"),
        '8,../../etc/passwd,5,"2017-01-16\n"\n',
        '8,,5,"2017-01-16\n"\n',
        '8,1,2,3,"2017-01-16\n"\n',
        "8,\x00,5,2017-01-16\n",
        f"8,{'9' * 201},5,2017-01-16\n",
    ]
    good = [rating(user, 87211) for user in range(100, 109)]
    mixed = "".join(before + after for before, after in zip(good, bad, strict=False)) + good[-1]
    paths = files(write_raw(tmp_path, f'{RATINGS}\n{mixed}\n"\n'))
    found = malformed(paths["interactions"], 0.5)
    raw = read_interactions(paths, found)
    # A quote that is never closed leaves its own record readable here: no cell has a quote of its own.
    assert raw.user_ids == ["100", "8", *(str(user) for user in range(101, 109))]
    assert found.count == len(bad) - 1
    assert "line 7: 3 cells, not 4" in found.shown and "'yesterday' is no date" in found.shown[1]
    with pytest.raises(InputError, match="7 of 17 lines"):
        read_interactions(paths, malformed(paths["interactions"]))


def test_malformed_recipes_cost_themselves_alone(tmp_path: Path) -> None:
    whole = table(RAW_RECIPES, [PANINI, WINGS]).splitlines(keepends=True)
    bad = ['5,"never closed,1,2,3,4,5,6,7\n', "6,too few\n", "7,a\nbroken line,1,2,3,4,5,6,7\n", "8,\0,x,1,2,3,4,5,6\n"]
    again = table(RAW_RECIPES, [WINGS | {"recipe_name": "Another name"}]).splitlines(keepends=True)[1:]
    broken = WINGS | {"recipe_id": "9", "cooking_directions": "{'directions': open('/etc/passwd')}"}
    text = "".join(
        [whole[0], bad[0], whole[1], *bad[1:], whole[2], *again, table(RAW_RECIPES, [broken])[len(whole[0]) :]]
    )
    paths = files(write_raw(tmp_path, RATINGS + "\n", text.encode() + b"10,\xff,1,2,3,4,5,6,7\n"))
    found = malformed(paths["metadata"], 0.9)
    items = read_items(paths, ["87211", "218939", "9", "8"], found)
    assert items["title"].tolist()[:3] == [PANINI["recipe_name"], WINGS["recipe_name"], WINGS["recipe_name"]]
    assert items["text"][2] == f"{WINGS['recipe_name']} chicken wings, sprigs rosemary"
    assert found.count == 4  # the nul byte is in a cell that may hold anything
    with pytest.raises(InputError, match="4 of 9 lines"):
        read_items(paths, ["87211"], malformed(paths["metadata"]))


def test_absent_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"core-data-train_rating.csv and no core-data-valid_rating.csv") as caught:
        files(tmp_path / "nowhere")
    for part in ("https://www.kaggle.com/datasets/elisaxxygao/foodrecsysv1", "login", "--raw", "core-data-images"):
        assert part in str(caught.value)
    write_core(tmp_path)
    (tmp_path / "core-data-test_rating.csv").unlink()
    with pytest.raises(InputError, match=r"has no core-data-test_rating.csv; download"):
        files(tmp_path)
    write_raw(tmp_path / "raw", RATINGS)
    (tmp_path / "raw" / "raw-data_recipe.csv").unlink()
    with pytest.raises(InputError, match=r"has no raw-data_recipe.csv; download"):
        files(tmp_path / "raw")


@pytest.mark.parametrize("content", ["", RATINGS + "\n", "user,recipe\n1,2\n", "\0\0", "<html>"])
def test_tables_without_ratings_are_refused(tmp_path: Path, content: str) -> None:
    paths = files(write_raw(tmp_path, content))
    with pytest.raises(InputError, match=r"holds no ratings|has no column"):
        read_interactions(paths, malformed(paths["interactions"]))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    paths = files(write_raw(tmp_path, "user_id,recipe_id,rating,dateLastModified,user_id\n1,2,5,2015-01-01,3\n"))
    with pytest.raises(InputError, match="has more than one column user_id"):
        read_interactions(paths, malformed(paths["interactions"]))


def test_a_table_of_other_recipes_is_refused(tmp_path: Path) -> None:
    paths = files(write_core(tmp_path))
    with pytest.raises(InputError, match="describes none of the 1 recipes"):
        read_items(paths, ["404"], malformed(paths["metadata"]))


def test_a_record_without_end_is_refused(tmp_path: Path) -> None:
    lines = RATINGS + "\n" + rating(1, 2) + ("no record begins here " * 50_000 + "\n") * 17
    paths = files(write_raw(tmp_path, lines))
    with pytest.raises(InputError, match=r"The record in line 2 of .* is longer than"):
        read_interactions(paths, malformed(paths["interactions"], 1.0))


PIECES = st.lists(
    st.binary(max_size=20)
    | st.sampled_from(
        [RATINGS + "\n", rating(1, 2), '"', "\n", ",", "1,", "\0", "9" * 300, table(RAW_RECIPES, [WINGS])]
    ).map(str.encode)
    | st.builds(lambda cells: ",".join(cells).encode(), st.lists(st.text(max_size=5) | st.just("1"), max_size=9)),
    max_size=8,
).map(b"".join)


@settings(deadline=None)
@given(PIECES, PIECES, st.booleans(), st.sampled_from([0.0, 1.0]))
def test_any_file_is_read_or_refused_in_a_sentence(ratings: bytes, recipes: bytes, headed: bool, limit: float) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        header = ",".join(RAW_RECIPES).encode() + b"\n" if headed else b""
        write_raw(folder, "", header + recipes)
        (folder / "raw-data_interaction.csv").write_bytes((RATINGS.encode() + b"\n" if headed else b"") + ratings)
        paths = files(folder)
        try:
            raw = read_interactions(paths, malformed(paths["interactions"], limit))
            assert len(raw) and all(text.isdigit() for text in [*raw.user_ids, *raw.item_ids])
        except InputError as problem:
            assert place in str(problem)
        try:
            items: Any = read_items(paths, ["218939", "1"], malformed(paths["metadata"], limit))
            assert items["id"].tolist() == ["218939", "1"]
            assert len(read_ingredients(paths, ["218939", "1"])) == 2
        except InputError as problem:
            assert place in str(problem)


def test_each_file_of_ratings_has_its_counts(tmp_path: Path) -> None:
    paths = files(write_core(tmp_path))
    paths["validation"].write_text(paths["validation"].read_text() + "7,87211,5\n")
    found = malformed(paths["train"], 0.5)
    assert len(read_interactions(paths, found)) == 4
    assert {name: (about["read"], about.get("left_out", {})) for name, about in found.record().items()} == {
        "core-data-train_rating.csv": (2, {}),
        "core-data-valid_rating.csv": (2, {"malformed": 1}),
        "core-data-test_rating.csv": (1, {}),
    }
    with pytest.raises(InputError, match=r"1 of 2 lines of .*core-data-valid_rating.csv is malformed"):
        read_interactions(paths, malformed(paths["train"], 0.3))
