"""A prepared data set goes out in another tool's layout and comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.build import Request
from pipelines.entries import DatasetEntry
from pipelines.errors import InputError, UsageError
from pipelines.io.reporter import Reporter
from pipelines.io.step_cache import WorkFolder
from pipelines.layouts import LAYOUTS, load_layout
from pipelines.layouts.exporting import export
from pipelines.layouts.mmssl import read_published
from pipelines.layouts.notes import NOTES_FILE
from pipelines.prepared import read_prepared, write_prepared
from pipelines.prepared.dataset import SPLITS, Features, PreparedDataset
from pipelines.recipe import PrepOptions
from pipelines.sources.published import layout_of
from tests.helpers.prepared_cases import real

NUMBERED = ("mmssl", "lightgcn")
"""Layouts whose tables of ids number users and items."""


def back(folder: Path, layout: str, name: str = "own") -> tuple[PreparedDataset, dict[str, bytes]]:
    """Read an exported folder as preparation does: the data set and its pictures."""
    assert layout_of(folder) == layout
    options = PrepOptions(**({"cold_users": "keep"} if layout in NUMBERED else {"max_malformed": 0.0}))
    work = WorkFolder(folder.parent / "work", Reporter())
    entry = DatasetEntry(title=name, source="published")
    return load_layout(layout).plan(folder, Request(name, entry, options, folder.parent, work)).build()


def by_id(dataset: PreparedDataset) -> dict[str, Any]:
    """All that a data set holds, by original ids."""
    users, items = list(dataset.users["id"]), list(dataset.items["id"])
    table = dataset.interactions
    times = table["timestamp"] if "timestamp" in table else [None] * len(table)
    rows = zip(table["user"], table["item"], table["split"], times, strict=True)
    columns = [column for column in ("title", "text", "image") if column in dataset.items]
    details = dataset.items[columns].astype(object).where(dataset.items[columns].notna(), None)
    features = {
        name: (
            str(one.values.dtype),
            {item: one.values[row].tobytes() for row, item in enumerate(items)},
            {item: bool(one.present[row]) for row, item in enumerate(items)},
            one.encoder,
            None if one.vocabulary is None else one.vocabulary.values.tolist(),
        )
        for name, one in dataset.features.items()
    }
    return {
        "users": set(users),
        "items": {item: tuple(row) for item, row in zip(items, details.itertuples(index=False), strict=True)},
        "columns": columns,
        "interactions": {(users[user], items[item]): (split, time) for user, item, split, time in rows},
        "features": features,
    }


# What a text file can hold and check_id lets through; the quirks of CSV are wanted, control characters are not.
WORDS = st.text(st.sampled_from("abä 0\",;|'\\&<>=#-.:/"), min_size=1, max_size=6)
TEXTS = st.none() | st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)
FLOATS = {
    "float16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
}


@st.composite
def datasets(draw: st.DrawFn) -> PreparedDataset:
    """Small data sets with every quirk that the prepared format allows."""
    user_ids = draw(st.lists(WORDS, min_size=3, max_size=7, unique=True))
    item_ids = draw(st.lists(WORDS, min_size=3, max_size=6, unique=True))
    pairs = [(user, item) for user in range(len(user_ids)) for item in range(len(item_ids))]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=5, max_size=20, unique=True))
    splits = [*SPLITS, *draw(st.lists(st.sampled_from(SPLITS), min_size=len(chosen) - 3, max_size=len(chosen) - 3))]
    interactions = pd.DataFrame(chosen, columns=["user", "item"], dtype=np.int32).assign(split=splits)
    if draw(st.booleans()):
        interactions["timestamp"] = draw(
            st.lists(st.integers(-(10**17), 10**17), min_size=len(chosen), max_size=len(chosen))
        )
    items = pd.DataFrame({"item": np.arange(len(item_ids), dtype=np.int32), "id": item_ids})
    for column in draw(st.sets(st.sampled_from(["title", "text"]))):
        items[column] = pd.Series(draw(st.lists(TEXTS, min_size=len(items), max_size=len(items))), dtype=object)
    names = draw(st.sets(st.sampled_from(["visual", "textual", "acoustic", "image", "x.y-z"]), max_size=3))
    return PreparedDataset(
        name="own",
        users=pd.DataFrame({"user": np.arange(len(user_ids), dtype=np.int32), "id": user_ids}),
        items=items,
        interactions=interactions,
        features={name: draw(features(len(items))) for name in sorted(names)},
        settings={"cold_users": "keep"},
    )


@st.composite
def features(draw: st.DrawFn, count: int) -> Features:
    kind = draw(st.sampled_from(["float16", "float32", "int32"]))
    dim = draw(st.integers(1, 3))
    cells = FLOATS[kind] if kind in FLOATS else st.integers(0, 3)
    rows = draw(st.lists(st.lists(cells, min_size=dim, max_size=dim), min_size=count, max_size=count))
    values = np.array(rows, dtype=kind)
    present = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    present |= values.any(axis=1)
    encoder: dict[str, Any] = {"name": "drawn", "settings": {"dim": dim}}
    if kind != "int32":
        return Features(values, present, encoder)
    tokens = draw(st.lists(TEXTS.filter(bool), min_size=3, max_size=3))
    vocabulary = pd.DataFrame({"id": np.arange(1, 4, dtype=np.int32), "token": tokens, "count": [5, 2, 10**12]})
    return Features(values, present, {**encoder, "vocabulary": 4}, vocabulary)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(dataset=datasets())
def test_there_and_back(tmp_path_factory: pytest.TempPathFactory, layout: str, dataset: PreparedDataset) -> None:
    place = tmp_path_factory.mktemp("trip")
    write_prepared(dataset, place / "own")
    export(place / "own", layout, place / "out")
    returned, _ = back(place / "out", layout)
    write_prepared(returned, place / "back")
    before, after = by_id(read_prepared(place / "own")), by_id(read_prepared(place / "back"))
    known = [column for column in before["columns"] if dataset.items[column].notna().any()]
    if layout not in NUMBERED:  # a column that says nothing of any item is not kept
        assert after["columns"] == known
        before["items"] = {item: tuple(filter(None, row)) for item, row in before["items"].items()}
        after["items"] = {item: tuple(filter(None, row)) for item, row in after["items"].items()}
        del before["columns"], after["columns"]
    assert after == before
    if layout in NUMBERED:  # which numbers users and items itself
        assert list(returned.users["id"]) == list(dataset.users["id"])
        assert list(returned.items["id"]) == list(dataset.items["id"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_demo_comes_back_with_its_pictures(demo: Path, tmp_path: Path, layout: str) -> None:
    files = export(demo, layout, tmp_path / "out")
    assert all(path.is_file() for path in files) and len(files) == len(list((tmp_path / "out").rglob("*.*")))
    dataset, pictures = back(tmp_path / "out", layout, "demo")
    write_prepared(dataset, tmp_path / "demo", images=pictures)
    assert by_id(read_prepared(tmp_path / "demo")) == by_id(read_prepared(demo))
    for name, content in pictures.items():
        assert (demo / "images" / name).read_bytes() == content
    assert len(pictures) == 400


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_real_tiktok_comes_back_whole(tmp_path: Path, layout: str) -> None:
    dataset = read_published("tiktok", real("tiktok"), cold="keep")
    write_prepared(dataset, tmp_path / "tiktok")
    export(tmp_path / "tiktok", layout, tmp_path / "out")
    returned, _ = back(tmp_path / "out", layout, "tiktok")
    assert returned.counts() == dataset.counts()
    before, after = by_id(dataset), by_id(returned)
    assert before["interactions"] == after["interactions"]
    assert before["features"] == after["features"]


def small() -> PreparedDataset:
    return PreparedDataset(
        name="own",
        users=pd.DataFrame({"user": [0, 1], "id": ["ann", "bob"]}),
        items=pd.DataFrame({"item": [0, 1, 2], "id": ["z9", "a1", "m5"], "title": ["Cup, blue", None, 'A "jar"']}),
        interactions=pd.DataFrame(
            {"user": [0, 0, 0, 1], "item": [0, 1, 2, 1], "timestamp": [5, 6, 7, 8]}, dtype=np.int32
        ).assign(split=["train", "validation", "test", "train"]),
        features={
            "visual": Features(
                np.array([[0.5, 1], [0, 0], [-2, 1e-3]], np.float32), np.array([True, False, True]), {"name": "v"}
            ),
            "textual": Features(np.array([[1], [0], [0]], np.float16), np.array([True, True, False]), {"name": "t"}),
        },
    )


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    write_prepared(small(), tmp_path / "own")
    return tmp_path / "own"


def test_mmrec_files_are_as_that_tool_reads_them(prepared: Path, tmp_path: Path) -> None:
    export(prepared, "mmrec", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "own.inter", sep="\t")
    assert table.values.tolist() == [[0, 0, 5, 0], [0, 1, 6, 1], [0, 2, 7, 2], [1, 1, 8, 0]]
    assert list(table.columns) == ["userID", "itemID", "timestamp", "x_label"]
    assert np.load(tmp_path / "out" / "image_feat.npy", allow_pickle=False).shape == (3, 2)
    assert np.load(tmp_path / "out" / "text_feat.npy", allow_pickle=False).dtype == np.float16
    mapping = pd.read_csv(tmp_path / "out" / "i_id_mapping.csv", sep="\t")
    assert mapping.values.tolist() == [["z9", 0], ["a1", 1], ["m5", 2]]
    lines = (tmp_path / "out" / "own.yaml").read_text().splitlines()
    assert 'inter_splitting_label: "x_label"' in lines and 'vision_feature_file: "image_feat.npy"' in lines


def test_recbole_files_are_as_that_tool_reads_them(prepared: Path, tmp_path: Path) -> None:
    export(prepared, "recbole", tmp_path / "out")
    first = (tmp_path / "out" / "own.train.inter").read_bytes().splitlines()
    assert first == [b"user_id:token\titem_id:token\ttimestamp:float", b"ann\tz9\t5", b"bob\ta1\t8"]
    items = pd.read_csv(tmp_path / "out" / "own.item", sep="\t", engine="python")
    assert items["title:token_seq"].fillna("").tolist() == ["Cup, blue", "", 'A "jar"']
    vectors = pd.read_csv(tmp_path / "out" / "own.visual_feat", sep="\t", engine="python")
    assert vectors.values.tolist() == [["z9", "0.5 1"], ["a1", "0 0"], ["m5", "-2 0.001"]]
    config = dict(line.split(": ", 1) for line in (tmp_path / "out" / "own.yaml").read_text().splitlines())
    assert json.loads(config["benchmark_filename"]) == ["train", "valid", "test"]
    assert json.loads(config["load_col"])["textual_feat"] == ["textual_id", "textual"]
    assert json.loads(config["preload_weight"]) == {"visual_id": "visual", "textual_id": "textual"}


def test_mmssl_files_are_the_published_layout(prepared: Path, tmp_path: Path) -> None:
    export(prepared, "mmssl", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "train.json").read_text()) == {"0": [0], "1": [1]}
    assert json.loads((tmp_path / "out" / "val.json").read_text()) == {"0": [1], "1": []}
    (tmp_path / "out" / NOTES_FILE).unlink()  # as another tool would read it
    plain = read_published("own", tmp_path / "out")
    assert plain.features["textual"].present.tolist() == [True, False, False]
    assert plain.features["visual"].encoder == {"name": "published", "file": "image_feat.npy"}


def test_what_cannot_be_exported(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'recbol': did you mean recbole"):
        export(prepared, "recbol", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("precious")
    with pytest.raises(InputError, match="already exists and is not an empty folder"):
        export(prepared, "mmrec", tmp_path / "full")
    with pytest.raises(InputError, match="There is no prepared data set"):
        export(tmp_path / "none", "mmrec", tmp_path / "out")
    data = small()
    data.users.loc[1, "id"] = "bo\nb"
    write_prepared(data, tmp_path / "odd")
    with pytest.raises(InputError, match="own has user ids that cannot be exported: the id holds characters"):
        export(tmp_path / "odd", "mmssl", tmp_path / "out")
    (prepared / "features" / "visual.npz").write_bytes(b"cut")
    with pytest.raises(InputError, match="is not the file that was prepared"):
        export(prepared, "mmssl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_may_be_exported_to(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(prepared, "mmssl", tmp_path / "out")
    assert (tmp_path / "out" / "train.json").is_file()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is damaged at its top"),
        ('{"../image_feat.npy": {}}', "is damaged at"),
        ('{"gone_feat.npy": {"modality": "v", "dtype": "float32", "encoder": {}}}', "describes gone_feat.npy, which"),
        ('{"image_feat.npy": {"modality": "v", "dtype": "float64", "encoder": {}}}', "is damaged at image_feat.npy.dt"),
        ('{"image_feat.npy": {"modality": "../v", "dtype": "float32", "encoder": {}}}', "image_feat.npy.modality"),
        ('{"image_feat.npy": {"modality": "v", "dtype": "int32", "encoder": {}}}', "int32 values and a vocabulary go"),
        (
            '{"image_feat.npy": {"modality": "v", "dtype": "float16", "encoder": {}}}',
            "holds float32 values, not fl",
        ),
        (
            '{"image_feat.npy": {"modality": "v", "dtype": "float32", "encoder": {}, "zeros": [3]}}',
            "has 3 rows, but row 3 is noted",
        ),
        (
            '{"image_feat.npy": {"modality": "v", "dtype": "float32", "encoder": {}},'
            ' "text_feat.npy": {"modality": "v", "dtype": "float16", "encoder": {}}}',
            "gives one modality to two files",
        ),
    ],
)
@pytest.mark.parametrize("layout", ["mmssl", "mmrec"])
def test_wrong_notes(prepared: Path, tmp_path: Path, layout: str, text: str, sentence: str) -> None:
    export(prepared, layout, tmp_path / "out")
    (tmp_path / "out" / NOTES_FILE).write_text(text)
    with pytest.raises(InputError, match=sentence):
        back(tmp_path / "out", layout)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("users.csv", "user,id\n0,a\n", "users.csv has 1 rows, but there are 2 users"),
        ("users.csv", "user,id\n0,a\n1,b\n2,c\n", None),
        ("users.csv", "user,name\n0,a\n1,b\n", "has the columns user, name; expected user, id"),
        ("timestamps.csv", "user,item,timestamp\n0,0,1\n", "lacks the time of 3 interactions"),
        ("timestamps.csv", "user,item,timestamp\n0,0,1\n0,0,2\n", "gives the time of a pair of user and item twice"),
        ("timestamps.csv", "user,item,timestamp\na,0,1\n", "does not give users and items by their numbers"),
        ("timestamps.csv", "user,item,timestamp\n0,0,soon\n", "1 of 1 lines of .* is malformed"),
    ],
)
def test_tables_beside_the_published_layout(
    prepared: Path, tmp_path: Path, file: str, text: str, sentence: str | None
) -> None:
    export(prepared, "mmssl", tmp_path / "out")
    (tmp_path / "out" / file).write_text(text)
    if sentence is None:  # more users than the splits have: some without interactions
        assert read_published("own", tmp_path / "out").num_users == 3
        return
    with pytest.raises(InputError, match=sentence):
        read_published("own", tmp_path / "out")
