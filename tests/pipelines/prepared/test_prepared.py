"""The prepared format: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError, UsageError
from pipelines.io.files import sha256_of
from pipelines.prepared import read_prepared, verify_prepared, write_prepared
from pipelines.prepared.manifest import read_manifest
from tests.helpers.prepared_cases import small


def restate(folder: Path, name: str) -> None:
    """Let the manifest state the hash that a file now has, to reach the checks behind the checksum."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_prepared(small(), tmp_path / "small")
    return tmp_path / "small"


def test_what_is_written_is_read_back(folder: Path) -> None:
    data, expected = read_prepared(folder), small()
    for table in ("users", "interactions"):
        assert getattr(data, table).to_dict("list") == getattr(expected, table).to_dict("list")
    assert data.items["title"].isna().tolist() == [False, True, False, False, False]
    assert (data.num_users, data.num_items) == (3, 5)
    assert (data.name, data.settings, data.sources) == (expected.name, expected.settings, expected.sources)
    assert list(data.features) == ["visual", "textual"]
    for name, features in expected.features.items():
        np.testing.assert_array_equal(data.features[name].values, features.values)
        assert data.features[name].values.dtype == features.values.dtype
        np.testing.assert_array_equal(data.features[name].present, features.present)
        assert data.features[name].encoder == features.encoder
    assert data.pairs("train").tolist() == [[0, 0], [0, 3], [1, 1], [2, 4]]
    assert data.pairs("train").dtype == np.int64


def test_timestamps_are_kept(tmp_path: Path) -> None:
    data = small()
    stamped = data.interactions.assign(timestamp=np.arange(6, dtype=np.int64) + 1_700_000_000_000)
    write_prepared(replace(data, interactions=stamped), tmp_path / "s")
    assert read_prepared(tmp_path / "s").interactions["timestamp"].tolist() == stamped["timestamp"].tolist()


def test_the_manifest_states_what_is_there(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.counts.model_dump() == {"users": 3, "items": 5, "train": 4, "validation": 1, "test": 1}
    assert manifest.modalities["visual"].model_dump() == {
        "dim": 3,
        "dtype": "float16",
        "present": 4,
        "encoder": {"name": "test", "file": "a.npy"},
    }
    assert manifest.digest == sha256_of(folder / "manifest.json")
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest.files) == on_disk - {"manifest.json"}
    assert verify_prepared(folder) == manifest


def test_equal_data_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    assert write_prepared(small(), tmp_path / "again").digest == read_manifest(folder).digest


def test_only_the_modalities_asked_for_are_read(folder: Path) -> None:
    (folder / "features" / "visual.npz").unlink()
    assert list(read_prepared(folder, ["textual"]).features) == ["textual"]
    assert read_prepared(folder, []).features == {}
    with pytest.raises(InputError, match=r"visual\.npz is missing"):
        read_prepared(folder)


def test_an_unknown_modality_leads_to_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no modality 'textul': did you mean textual\?"):
        read_prepared(folder, ["textul"])


def test_a_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared data set at"):
        read_prepared(tmp_path)


@pytest.mark.parametrize("name", ["users.parquet", "items.parquet", "interactions.parquet", "features/visual.npz"])
def test_a_missing_truncated_or_changed_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-20])
    with pytest.raises(InputError, match=rf"{name} is not the file that was prepared \(its size"):
        read_prepared(folder, check=False)
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 0xFF
    (folder / name).write_bytes(changed)
    with pytest.raises(InputError, match=rf"{name} is not the file that was prepared \(its checksum"):
        read_prepared(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_prepared(folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("items.parquet", "damaged or truncated"),
        ("features/visual.npz", "damaged, truncated or not a NumPy file"),
    ],
)
def test_a_truncated_file_that_the_manifest_agrees_with(folder: Path, name: str, sentence: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    restate(folder, name)
    with pytest.raises(InputError, match=f"{name} cannot be read.*{sentence}"):
        read_prepared(folder)


class Trap:
    """Unpickling it would raise, loudly."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


def test_pickled_objects_are_never_loaded(folder: Path) -> None:
    name = "features/visual.npz"
    trap = np.array([[Trap()]] * 5, dtype=object)
    np.savez(folder / name, values=trap, present=np.ones(5, dtype=bool), encoder=np.array("{}"))
    restate(folder, name)
    with pytest.raises(InputError, match="holds pickled Python objects, which are never loaded"):
        read_prepared(folder)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"present": np.ones(5, dtype=bool)}, "has no array named values, encoder"),
        ({"values": np.ones((4, 3), dtype=np.float32)}, "4 feature rows for 5 items"),
        ({"values": np.ones((5, 3))}, "holds float64 values; expected float16 or float32, or int32 for tokens"),
        ({"values": np.ones(5, dtype=np.float32)}, r"has shape \(5,\)"),
        ({"values": np.ones((5, 0), dtype=np.float32)}, r"has shape \(5, 0\)"),
        ({"values": np.full((5, 3), np.inf, dtype=np.float32)}, "NaN or infinite features for 5 items"),
        ({"present": np.ones(5, dtype=np.int8)}, "presence mask"),
        ({"present": np.zeros(5, dtype=bool)}, "other than zero for 5 items marked as absent"),
        ({"encoder": np.array("[1]")}, "what encoded it"),
        ({"encoder": np.array("{")}, "what encoded it"),
        ({"encoder": np.array('{"name": "other"}')}, "not those that the manifest describes"),
    ],
)
def test_features_that_the_format_does_not_allow(folder: Path, arrays: dict[str, np.ndarray], sentence: str) -> None:
    good = {
        "values": np.ones((5, 3), dtype=np.float32),
        "present": np.ones(5, dtype=bool),
        "encoder": np.array("{}"),
    }
    kept = arrays if "values" not in arrays and sentence.startswith("has no") else good | arrays
    np.savez(folder / "features" / "visual.npz", **kept)
    restate(folder, "features/visual.npz")
    with pytest.raises(InputError, match=sentence):
        read_prepared(folder)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"user": [0, 1, 2]}, "has no column id"),
        ({"user": ["a", "b", "c"], "id": ["a", "b", "c"]}, "columns of other types than user int32"),
        ({"user": [0, 1, 2**40], "id": ["a", "b", "c"]}, "columns of other types than user int32"),
        ({"user": [0, 1, None], "id": ["a", "b", "c"]}, "1 empty cells in column user"),
        ({"user": [0, 1, 2], "id": ["a", None, "c"]}, "1 empty cells in column id"),
        ({"user": [0, 2, 1], "id": ["a", "b", "c"]}, "not numbered 0 to 2 in order"),
        ({"user": [0, 1, 2], "id": ["a", "b", "a"]}, r"1 user ids occur more than once \(first a\)"),
        ({"user": [0, 1], "id": ["a", "b"]}, "user numbers of the interactions are out of range .first 2."),
        ({"user": [0, 1, 2, 3], "id": list("abcd")}, "the manifest states 3 for users, the tables hold 4"),
    ],
)
def test_tables_that_the_format_does_not_allow(folder: Path, columns: dict[str, list], sentence: str) -> None:
    pq.write_table(pa.table(columns), folder / "users.parquet")
    restate(folder, "users.parquet")
    with pytest.raises(InputError, match=sentence):
        read_prepared(folder)


def test_text_that_is_not_utf_8(folder: Path) -> None:
    path = folder / "users.parquet"
    broken = pa.array([b"a", b"\xff", b"c"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"user": [0, 1, 2], "id": broken}), path)
    restate(folder, "users.parquet")
    with pytest.raises(InputError, match=r"users\.parquet cannot be read as parquet: it is damaged"):
        read_prepared(folder)


def test_tables_of_another_program_are_read(folder: Path) -> None:
    """Wider integers, large strings, a further column and another order of columns mean the same."""
    table = {
        "note": [1, 2, 3],
        "id": pa.array(["p", "q", "r"], pa.large_string()),
        "user": pa.array([0, 1, 2], pa.int64()),
    }
    pq.write_table(pa.table(table), folder / "users.parquet")
    restate(folder, "users.parquet")
    users = read_prepared(folder).users
    assert list(users.columns) == ["user", "id"]
    assert users["id"].tolist() == ["p", "q", "r"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "format version 2, and this program reads version 1"),
        ({"format": "zip"}, "not of the format 'mmssl-prepared'"),
        ({"counts": {"users": -1}}, "damaged at counts"),
        ({"surprise": 1}, "damaged at surprise"),
        ({"name": "../up"}, "damaged at name"),
        ({"files": {}}, "names modality visual without its file"),
        ({"files": {}, "modalities": {}}, "does not list users.parquet"),
    ],
)
def test_a_manifest_that_is_not_one(folder: Path, changes: dict[str, object], sentence: str) -> None:
    edit_manifest(folder, **changes)
    with pytest.raises(InputError, match=sentence):
        read_prepared(folder)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_truncated_manifest(folder: Path, length: int) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:length])
    with pytest.raises(InputError, match="is truncated or not JSON"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../b", "a\\..\\b", "C:/x", "./users.parquet", "a//b", ""]
)
def test_a_manifest_cannot_lead_out_of_its_folder(folder: Path, name: str) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit_manifest(folder, files=files | {name: {"sha256": "0" * 64, "bytes": 1}})
    with pytest.raises(InputError, match="not inside the folder"):
        verify_prepared(folder)


def test_a_link_cannot_lead_out_of_its_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "users.parquet").rename(tmp_path / "elsewhere.parquet")
    (folder / "users.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(InputError, match="leads out of its folder"):
        read_prepared(folder)


def test_pictures_are_stored_and_verified(tmp_path: Path) -> None:
    data = small()
    pictured = replace(data, items=data.items.assign(image=["images/a.png", None, "https://x.org/b.png", None, None]))
    with pytest.raises(InputError, match=r"images of 1 item are missing \(first images/a.png\)"):
        write_prepared(pictured, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    write_prepared(pictured, tmp_path / "s", images={"a.png": b"png"})
    assert verify_prepared(tmp_path / "s").files["images/a.png"].bytes == 3
    (tmp_path / "s" / "images" / "a.png").write_bytes(b"pnx")
    with pytest.raises(InputError, match=r"images/a\.png is not the file that was prepared"):
        verify_prepared(tmp_path / "s")


def test_a_new_preparation_takes_the_place_of_an_old_one(folder: Path) -> None:
    data = small()
    write_prepared(replace(data, features={}), folder)
    assert read_prepared(folder).features == {}
    assert not list((folder / "features").iterdir())
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_a_folder_that_no_preparation_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"chapter\.tex.*would be lost"):
        write_prepared(small(), tmp_path / "thesis")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="would be lost"):
        write_prepared(small(), tmp_path / "file")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_pictures_is_not_taken_for_a_prepared_one(tmp_path: Path) -> None:
    """Its only entry has a name that a prepared folder also has."""
    (tmp_path / "trip" / "images").mkdir(parents=True)
    (tmp_path / "trip" / "images" / "beach.jpg").write_text("sun")
    with pytest.raises(InputError, match=r"images.*would be lost"):
        write_prepared(small(), tmp_path / "trip")
    assert (tmp_path / "trip" / "images" / "beach.jpg").exists()


def test_a_prepared_folder_with_a_guest_is_left_alone(folder: Path) -> None:
    (folder / "notes.txt").write_text("keep me")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_prepared(small(), folder)
    assert (folder / "notes.txt").exists()


def test_invalid_data_leave_nothing_behind(tmp_path: Path) -> None:
    data = small()
    with pytest.raises(InputError, match="validation split is empty"):
        write_prepared(replace(data, interactions=data.interactions.query("split != 'validation'")), tmp_path / "s")
    assert not list(tmp_path.iterdir())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["users.parquet", "interactions.parquet", "features/textual.npz", "manifest.json"]),
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(1, 255),
    cut=st.booleans(),
)
def test_damage_anywhere_gives_a_sentence_or_the_data(
    tmp_path: Path, name: str, place: float, value: int, cut: bool
) -> None:
    """With a manifest that agrees with the damaged file, so that the parsers are reached."""
    folder = tmp_path / "fuzzed"
    write_prepared(small(), folder)
    content = bytearray((folder / name).read_bytes())
    at = int(place * len(content))
    content[at] ^= value
    (folder / name).write_bytes(content[:at] if cut else content)
    if name != "manifest.json":
        restate(folder, name)
    try:
        read_prepared(folder)
    except InputError as problem:
        assert str(problem).endswith(".")


def _bomb(path: Path, shape: tuple[int, int]) -> None:
    """Features of zeros, a thousandth of their size."""
    arrays = np.load(path)
    present, encoder = arrays["present"], arrays["encoder"]
    np.savez_compressed(path, values=np.zeros(shape, np.float32), present=present, encoder=encoder)


@pytest.mark.parametrize("dim", [2, 2**22])
def test_features_that_unpack_to_too_much_are_not_unpacked(
    tmp_path: Path, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "small"
    write_prepared(small(), folder)
    _bomb(folder / "features" / "textual.npz", (5, 2**22))
    restate(folder, "features/textual.npz")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["modalities"]["textual"]["dim"] = dim  # that of the rows, or that of the bomb
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr("pipelines.prepared.storage.MAPPED_BYTES", 2**20)
    with pytest.raises(InputError, match=r"values.npy unpacks from [0-9,]+ to 83,886,208 bytes"):
        verify_prepared(folder)


def test_a_table_of_one_row_repeated_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    write_prepared(small(), folder)
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2**22, np.int8)), pa.array([1], pa.int32()))
    table = pa.table({"user": column, "item": column, "split": pa.array(["train"]).take(np.zeros(2**22, np.int64))})
    pq.write_table(table, folder / "interactions.parquet")
    assert (folder / "interactions.parquet").stat().st_size < 2**16
    restate(folder, "interactions.parquet")
    with pytest.raises(InputError, match=r"claims 4,194,304 rows in [0-9,]+ bytes; it is not read"):
        verify_prepared(folder)
