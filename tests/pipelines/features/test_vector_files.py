"""Vectors of one's own: every form gives the same rows, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import pickle
import re
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from pipelines.errors import InputError, UsageError
from pipelines.features.vector_files import locate_vectors, read_item_vectors

IDS = ["12", "b7", "c"]
VALUES = np.array([[0.5, -1.25], [3.0, 0.0], [1e-3, 2.0]], dtype=np.float32)


def npz(folder: Path) -> Path:
    np.savez(folder / "v.npz", ids=np.array(IDS), clip=VALUES)
    return folder / "v.npz"


def tensors(folder: Path) -> Path:
    import torch

    torch.save({name: torch.tensor(row) for name, row in zip(IDS, VALUES, strict=True)}, folder / "v.pt")
    return folder / "v.pt"


def parquet(folder: Path) -> Path:
    table = pd.DataFrame({"title": ["x", "y", "z"], "item_id": IDS, "clip": list(VALUES)})
    table.to_parquet(folder / "v.parquet")
    return folder / "v.parquet"


def itememb(folder: Path) -> Path:
    lines = [f"{name}\t{' '.join(map(str, row))}\n" for name, row in zip(IDS, VALUES.tolist(), strict=True)]
    (folder / "v.itememb").write_text("iid:token\tclip:float_seq\n" + "".join(lines))
    return folder / "v.itememb"


def csv(folder: Path) -> Path:
    lines = [f"{name},{','.join(map(str, row))}\n" for name, row in zip(IDS, VALUES.tolist(), strict=True)]
    (folder / "v.csv").write_text("asin,0,1\n" + "".join(lines))
    return folder / "v.csv"


def json_lines(folder: Path) -> Path:
    rows = zip(IDS, VALUES.tolist(), strict=True)
    (folder / "v.jsonl").write_text("".join(json.dumps({"id": name, "clip": row}) + "\n" for name, row in rows))
    return folder / "v.jsonl"


@pytest.mark.parametrize(
    ("write", "key"),
    [
        *((write, None) for write in (npz, tensors, itememb, csv, json_lines)),
        *((write, "clip") for write in (npz, parquet, itememb, json_lines)),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path: Path, write: Callable[[Path], Path], key: str | None) -> None:
    path = write(tmp_path)
    assert locate_vectors(f"{path}:{key}" if key else str(path)) == (path, key)
    found = read_item_vectors(path, key)
    assert found.ids == IDS
    np.testing.assert_array_equal(np.asarray(found.values, dtype=np.float32), VALUES)


def test_ids_in_a_column_of_their_own_are_not_ignored(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", emb=VALUES, item=np.array(IDS)[:, None])
    with pytest.raises(InputError, match="holds item beside emb, with one entry per row; rename it to ids"):
        read_item_vectors(tmp_path / "v.npz", "emb")


def test_forms_without_ids(tmp_path: Path) -> None:
    import torch

    np.save(tmp_path / "v.npy", VALUES.astype(np.float16))
    np.savez(tmp_path / "v.npz", VALUES)
    torch.save(torch.tensor(VALUES).bfloat16(), tmp_path / "v.pt")
    pd.DataFrame({"clip": list(VALUES)}).to_parquet(tmp_path / "v.parquet")
    for name in ("v.npy", "v.npz", "v.pt", "v.parquet"):
        found = read_item_vectors(tmp_path / name, None)
        assert found.ids is None
        np.testing.assert_allclose(np.asarray(found.values, dtype=np.float32), VALUES, rtol=4e-3)


def test_safetensors_with_numbers_as_ids(tmp_path: Path) -> None:
    save_file({"ids": np.array([7, 3, 12]), "clip": VALUES, "other": VALUES * 2}, tmp_path / "v.safetensors")
    found = read_item_vectors(tmp_path / "v.safetensors", "clip")
    assert found.ids == ["7", "3", "12"]
    np.testing.assert_array_equal(found.values, VALUES)


def broken(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content)
    elif name.endswith(".npz"):
        np.savez(path, **content)
    elif name.endswith(".safetensors"):
        save_file(content, path)
    elif name.endswith(".pt"):
        import torch

        torch.save(content, path)
    else:
        np.save(path, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("v.npy", np.zeros(3), r"array of shape \(3,\); expected \[items, dim\]"),
        ("v.npy", np.zeros((0, 3)), r"array of shape \(0, 3\)"),
        ("v.npy", np.array([[1.0, np.nan], [1, 2]]), r"NaN or infinite values in 1 of 2 rows, first in that of row 0"),
        ("v.npy", np.array([["a"]]), "holds <U1 values"),
        ("v.npy", b"nothing", "cannot be read .* expected an npy file of numbers"),
        ("v.npy", np.array([[{}]], dtype=object), "cannot be read"),
        ("v.npz", {"a": VALUES, "b": VALUES}, "holds the arrays a, b; name one: --features MODALITY=.*:KEY"),
        ("v.npz", {"a": VALUES, "ids": np.array(["x"])}, "has 1 ids, but 3 rows"),
        ("v.npz", b"PK nothing", "cannot be read"),
        ("v.safetensors", {"a": VALUES, "b": VALUES}, "holds the arrays a, b; name one: --features MODALITY=.*:KEY"),
        ("v.safetensors", {"a": VALUES, "ids": np.array([1.5, 2, 3])}, "holds ids of type float64"),
        ("v.safetensors", b"nothing", "cannot be read .* expected a safetensors file"),
        ("v.pt", {"a": np.zeros(3)}, "never loaded|holds a dict"),
        ("v.pt", b"nothing", "cannot be read"),
        ("v.csv", "item,a,b\nx,1,2\ny,1,nan\n", "NaN or infinite values in 1 of 2 rows, first in that of item 'y'"),
        (
            "v.csv",
            "item,a,b\nx,1,2\ny,1,word\n",
            "line 3 has 'word', no number, in the column b; expected numbers alone",
        ),
        (
            "v.csv",
            "item,a,b\nx,1,2\ny,,3\n",
            "line 3 has no number in the column a; .* leave out other columns, and it",
        ),
        ("v.npz", {"a": VALUES, "names": np.array(IDS)}, "holds the arrays a, names; name one"),
        ("v.npz", {"a": VALUES, "ids": np.array(IDS, dtype=object)}, r"Python objects in ids, .* as ids.astype\(str\)"),
        ("v.npz", {"a": VALUES.astype(object)}, r"holds Python objects in a, .* save them as a.astype\('float32'\)"),
        ("v.itememb", "iid:token\te:float_seq\nx\t1 2\ny\t1\n", "line 3 has 1 numbers in e:float_seq; expected 2"),
        ("v.itememb", "iid:token\te:float_seq\nx\t1 two\n", "has non-numeric cells in"),
        ("v.txt", "0.5 1.5\n1.5 2.5\n", "has no header: it begins with '0.5 1.5'. Begin it with the names"),
        ("v.csv", "b7,0.5,1.5\nc,1.5,2.5\n", "has no header: it begins with 'b7 0.5 1.5'"),
        ("v.txt", "b7 0.5 1.5\nc 1.5 2.5\n", "has no header: it begins with 'b7 0.5 1.5'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: Any, sentence: str) -> None:
    with pytest.raises((InputError, UsageError), match=sentence):
        read_item_vectors(broken(tmp_path, name, content), None)


@pytest.mark.parametrize("header", ["name,0,1", ",0,1", "x,1,2", "item,2019,2020", "asin,0.5,1.5"])
def test_numbers_may_name_the_columns(tmp_path: Path, header: str) -> None:
    (tmp_path / "v.csv").write_text(f"{header}\n12,0.5,-1.25\nb7,3,0\nc,0.001,2\n")
    found = read_item_vectors(tmp_path / "v.csv", None)
    assert found.ids == IDS
    np.testing.assert_array_equal(found.values, VALUES)


@pytest.mark.parametrize(
    ("header", "unused"),
    [
        (",movieId,0,1", ("",)),
        ("index,item_id,0,1", ("index",)),
        ("Unnamed: 0,asin,0,1", ("Unnamed: 0",)),
        ("0,movie_id,1", ()),
        ("movieId,0,1,,", ("", "")),
    ],
)
def test_ids_of_a_table_that_are_not_first(tmp_path: Path, header: str, unused: tuple[str, ...]) -> None:
    """Found by their usual names; numbers of rows beside them are no dimension."""
    rows = zip(IDS, VALUES.tolist(), strict=True)
    names = header.split(",")
    at = next(place for place, name in enumerate(names) if name.lower().endswith(("id", "asin")))
    lines = []
    for n, (item, row) in enumerate(rows):
        cells = iter(row)
        lines.append(
            [item if place == at else n if name in unused else next(cells) for place, name in enumerate(names)]
        )
    (tmp_path / "v.csv").write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n")
    found = read_item_vectors(tmp_path / "v.csv", None)
    assert (found.ids, found.unused) == (IDS, unused)
    np.testing.assert_array_equal(found.values, VALUES)


def test_several_ids_of_a_table_or_an_archive_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("item_idx,movieId,0\n0,12,0.5\n")
    with pytest.raises(InputError, match="could be the item's id: item_idx, movieId; take out all but the one with"):
        read_item_vectors(tmp_path / "v.csv", None)
    assert read_item_vectors(tmp_path / "v.csv", None, ["movieId"]).ids == ["12"]
    (tmp_path / "v.csv").write_text("id,movie_id,0\n0,12,0.5\n")
    with pytest.raises(InputError, match="could be the item's id: id, movie_id; take out"):
        read_item_vectors(tmp_path / "v.csv", None)
    assert read_item_vectors(tmp_path / "v.csv", None, ["movieId"]).ids == ["12"]
    (tmp_path / "v.csv").write_text("movie,asin,0\n1,12,0.5\n")
    assert read_item_vectors(tmp_path / "v.csv", None).ids == ["12"]
    np.savez(tmp_path / "v.npz", item_idx=np.arange(3), movie_id=np.array(IDS), clip=VALUES)
    with pytest.raises(InputError, match=r"item_idx and movie_id beside clip, .*; rename the one with item ids"):
        read_item_vectors(tmp_path / "v.npz", None)
    np.savez(tmp_path / "v.npz", item_idx=np.arange(3), ids=np.array(IDS), clip=VALUES)
    assert read_item_vectors(tmp_path / "v.npz", None).ids == IDS
    np.savez(tmp_path / "v.npz", item_idx=np.arange(5), movie_id=np.array(IDS), clip=VALUES)
    assert read_item_vectors(tmp_path / "v.npz", None).ids == IDS


@pytest.mark.parametrize("name", ["ids", "id", "item_ids", "items", "asin", "ItemID", "movieIds"])
def test_ids_in_arrays_of_the_usual_names(tmp_path: Path, name: str) -> None:
    for ids in (np.array(IDS), np.array(IDS).astype("S")):
        np.savez(tmp_path / "v.npz", **{"clip": VALUES, name: ids})
        assert read_item_vectors(tmp_path / "v.npz", None).ids == IDS
    save_file({name: np.array([7, 3, 12]), "clip": VALUES}, tmp_path / "v.safetensors")
    assert read_item_vectors(tmp_path / "v.safetensors", None).ids == ["7", "3", "12"]
    np.savez(tmp_path / "v.npz", **{name: VALUES})
    if name != "ids":
        assert read_item_vectors(tmp_path / "v.npz", None).ids is None


def test_arrays_that_could_be_the_ids_are_not_passed_over(tmp_path: Path) -> None:
    save_file({"rows": np.array([7, 3, 12]), "clip": VALUES}, tmp_path / "v.safetensors")
    np.savez(tmp_path / "v.npz", rows=np.array(IDS), clip=VALUES)
    np.savez(tmp_path / "o.npz", rows=np.array(IDS, dtype=object), clip=VALUES)
    for name in ("v.npz", "o.npz", "v.safetensors"):
        with pytest.raises(InputError, match="holds rows beside clip, with one entry per row; rename it to ids if"):
            read_item_vectors(tmp_path / name, "clip")
    np.savez(
        tmp_path / "v.npz", weights=np.ones(3), few=np.array([1, 2]), labels=np.array([1, 1, 2]), ids=IDS, clip=VALUES
    )
    assert read_item_vectors(tmp_path / "v.npz", "clip").ids == IDS


def test_decimal_commas_in_columns_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("item;a;b\n12;0,5;-1,25\nb7;3;0\nc;0,001;2\n")
    np.testing.assert_array_equal(read_item_vectors(tmp_path / "v.csv", None).values, VALUES)
    for cells, expected in ((("0,5", "3"), [[0.5], [3]]), (("1,0", "[0, 1]"), [[1, 0], [0, 1]])):
        (tmp_path / "v.csv").write_text(f"item;a\n12;{cells[0]}\nb7;{cells[1]}\n")
        assert read_item_vectors(tmp_path / "v.csv", None).values.tolist() == expected
    (tmp_path / "v.csv").write_text("item\ta\n12\t1,0\nb7\t0,1\n")
    with pytest.raises(InputError, match="has in a cells like '1,0', one number with a decimal comma or two; write"):
        read_item_vectors(tmp_path / "v.csv", None)


@pytest.mark.parametrize("name", ["v;.csv", "v\t.csv", "v,.csv", "v.jsonl", "v.parquet"])
def test_decimal_commas_within_a_vector_are_refused(tmp_path: Path, name: str) -> None:
    def write(cell: str) -> Path:
        rows = pd.DataFrame({"item": ["a", "b"], "vec": ["[1, 2]", cell]})
        if name == "v.jsonl":
            rows.to_json(tmp_path / name, orient="records", lines=True)
        elif name == "v.parquet":
            rows.to_parquet(tmp_path / name)
        else:
            rows.to_csv(tmp_path / name, index=False, sep=name[1])
        return tmp_path / name

    for cell in ("0,5 0,25", "[0,5, 0,25]", "( 0,5\t2 )", "2 -0,5", "1,5e-3, 0.5"):
        with pytest.raises(InputError, match=re.escape(f"has in vec cells like {cell!r}, whose commas may be decimal")):
            read_item_vectors(write(cell), None)
    for cell in ("1,2", "[1,2]", "1, 2", "1 , 2", "1 2", "1.0,2.0", "[ 1.0, 2.0 ]"):
        if cell == "1,2" and name[1] in ";\t":
            continue
        assert read_item_vectors(write(cell), None).values.tolist() == [[1, 2], [1, 2]]


def test_thousands_are_no_numbers_of_a_vector(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("item\tx\ty\n12\t0,125\t7\nb7\t1,500\t2,5\n")
    with pytest.raises(InputError, match="line 3 has '1,500', no number, in the column x"):
        read_item_vectors(tmp_path / "v.csv", None)
    (tmp_path / "v.csv").write_text("item;x;y\n12;0,125;7\nb7;1,500;2,5\n")
    assert read_item_vectors(tmp_path / "v.csv", None).values.tolist() == [[0.125, 7], [1.5, 2.5]]


@pytest.mark.parametrize("name", ["v.jsonl", "v.parquet", "v.csv"])
def test_an_empty_list_is_no_vector(tmp_path: Path, name: str) -> None:
    rows = pd.DataFrame({"item": ["a", "b", "c"], "v": [[], [1.0, 2.0], [3.0, 4.0]]})
    if name == "v.parquet":
        rows.to_parquet(tmp_path / name)
    elif name == "v.csv":
        rows.to_csv(tmp_path / name, index=False)
    else:
        rows.to_json(tmp_path / name, orient="records", lines=True)
    found = read_item_vectors(tmp_path / name, None)
    assert (found.ids, found.empty, found.values.tolist()) == (["b", "c"], 1, [[1, 2], [3, 4]])


def test_tensors_that_numpy_cannot_hold(tmp_path: Path) -> None:
    import torch

    rows = torch.tensor(VALUES)
    for content in (rows.to_sparse(), rows.to(torch.float8_e4m3fn), {"a": rows[0].to(torch.float8_e4m3fn)}):
        torch.save(content, tmp_path / "v.pt")
        with pytest.raises(InputError, match=r"holds a tensor \(.*that NumPy cannot hold; save it as tensor.to_dense"):
            read_item_vectors(tmp_path / "v.pt", None)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    for name in ("v.npy", "v.npz", "v.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload()))
        with pytest.raises(InputError):
            read_item_vectors(tmp_path / name, None)
    assert not ran.exists()


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no array 'clop': did you mean clip\?"):
        read_item_vectors(npz(tmp_path), "clop")
    with pytest.raises(InputError, match=r"has no column 'clop'.*did you mean clip\?"):
        read_item_vectors(parquet(tmp_path), "clop")
    with pytest.raises(UsageError, match=r"has the columns title, clip; name one: --features MODALITY=.*:clip"):
        read_item_vectors(parquet(tmp_path), None)
    with pytest.raises(InputError, match=r"There is no file .*nowhere.npy:a"):
        locate_vectors(str(tmp_path / "nowhere.npy:a"))


def test_bombs_are_refused_before_they_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for module in ("pipelines.prepared.storage", "pipelines.features.vector_files"):
        monkeypatch.setattr(f"{module}.MAPPED_BYTES", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((2**9, 2**10), dtype=np.float32))
    with pytest.raises(InputError, match=r"bomb.npz cannot be read: arr_0.npy unpacks from .* more than vectors take"):
        read_item_vectors(tmp_path / "bomb.npz", None)
    torch.save(torch.zeros(1).expand(2**9, 2**10), tmp_path / "bomb.pt")
    with pytest.raises(InputError, match=r"bomb.pt holds an expanded tensor of shape \(512, 1024\)"):
        read_item_vectors(tmp_path / "bomb.pt", None)
    with pytest.raises(InputError, match=r"bomb.pt holds 512 expanded tensors of shape \(1024,\)"):
        torch.save(dict.fromkeys(map(str, range(2**9)), torch.zeros(1).expand(2**10)), tmp_path / "bomb.pt")
        read_item_vectors(tmp_path / "bomb.pt", None)


def most_memory(read: Callable[[], Any]) -> int:
    """The bytes that Python and NumPy hold at most in a call, which may be refused."""
    tracemalloc.start()
    with suppress(InputError):
        read()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_matrices_of_a_folder_are_refused_unread(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"i{number}.npy", np.ones((512, 256)))
    assert most_memory(lambda: read_item_vectors(tmp_path, None)) < 2**19


def test_wide_tables_are_held_in_single_precision(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((2000, 500))
    pd.DataFrame(values, columns=[f"f{n}" for n in range(500)]).assign(item=range(2000)).to_parquet(tmp_path / "v.pq")
    np.testing.assert_array_equal(read_item_vectors(tmp_path / "v.pq", None).values, values.astype(np.float32))
    assert most_memory(lambda: read_item_vectors(tmp_path / "v.pq", None)) < 10 * values.size
