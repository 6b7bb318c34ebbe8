"""Working files that were damaged: what they describe is made again, which is said, and the result is the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.io.step_cache import read_record, write_record
from tests.conftest import Answer
from tests.helpers.raw_cases import amazon_entry, write_amazon, write_table

Cli = Callable[..., Answer]
Damage = Callable[[Path], object]

SHOP = (
    *("shop", "--interactions", "clicks.csv", "--items", "items.csv", "--user-column", "who", "--item-column", "sku"),
    *("--time-column", "when", "--image-column", "photo", "--image-encoder", "pixels", "--max-absent", "0.5"),
)


def test_a_record_comes_back_and_a_changed_one_does_not(tmp_path: Path) -> None:
    path, said = tmp_path / "a.json", list[str]()
    assert read_record(path, said.append) == {} and not said
    write_record(path, {"b": [1, 2.5, "é"], "a": None})
    assert read_record(path, said.append) == {"b": [1, 2.5, "é"], "a": None} and not said
    for changed in (path.read_text().replace("2.5", "2.6"), "[]", "[" * 100_000, '{"b": 1}', "", '{"sha256": 1}'):
        path.write_text(changed)
        assert read_record(path, said.append) == {}
    assert len(said) == 6 and all("a.json is damaged" in line for line in said)


def _edit(path: Path, change: Callable[[dict], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


RECORDS: dict[str, Damage] = {
    "no key": lambda path: _edit(path, lambda value: value.pop(next(iter(value)))),
    "a list for an object": lambda path: path.write_text("[1]"),
    "other types": lambda path: _edit(path, lambda value: value.update({name: 3 for name in value if name != "key"})),
    "deep": lambda path: path.write_text("[" * 100_000),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-20]),
}
FILES: dict[str, Damage] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "a byte": lambda path: path.write_bytes(path.read_bytes()[:100] + b"!" + path.read_bytes()[101:]),
    "empty": lambda path: path.write_bytes(b""),
}


def _prepared(cli: Cli, tmp_path: Path, *arguments: str) -> tuple[bytes, str]:
    """The manifest of a fresh preparation, which holds the hashes of all files, and what was said."""
    shutil.rmtree(tmp_path / "data" / arguments[0], ignore_errors=True)
    answer = cli("prep", *arguments)
    assert answer.code == 0, answer.err
    return (tmp_path / "data" / arguments[0] / "manifest.json").read_bytes(), answer.err


def test_every_working_file_may_be_damaged(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    first, _ = _prepared(cli, tmp_path, *SHOP)
    work = tmp_path / "data" / ".prep" / "shop"
    records = sorted(work.rglob("*.json"))
    names = {"step.json", "hashes.json", "remembered.json", "store.json", "unchanged.json"}
    assert {path.name for path in records} == names
    for path in records:
        for what, damage in RECORDS.items():
            damage(path)
            again, said = _prepared(cli, tmp_path, *SHOP)
            assert again == first and f"{path.name} is damaged" in said, (path, what, said)
    others = [path for path in sorted(work.rglob("*")) if path.suffix in (".npz", ".parquet")]
    assert len(others) >= 5
    for path in others:
        for what, damage in FILES.items():
            damage(path)
            again, said = _prepared(cli, tmp_path, *SHOP)
            assert again == first and path.name in said and "damaged" in said, (path, what, said)


def test_a_chunk_of_another_kind_is_made_again(cli: Cli, tmp_path: Path) -> None:
    write_table(tmp_path)
    first, _ = _prepared(cli, tmp_path, *SHOP)
    chunk = next((tmp_path / "data" / ".prep" / "shop").rglob("chunk-*.npz"))
    with np.load(chunk) as archive:
        values, present = archive["values"], archive["present"]
    np.savez(chunk, values=values[:, 0], present=present)
    again, said = _prepared(cli, tmp_path, *SHOP)
    assert again == first and "Encoding again" in said


@pytest.mark.parametrize("name", ["vectors.json", "values.npy", "present.npy"])
def test_vectors_that_were_taken_over_may_be_damaged(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "datasets.toml").write_text(amazon_entry("toys", "http://127.0.0.1:9"))
    write_amazon(tmp_path / "raw")
    first, _ = _prepared(cli, tmp_path, "toys", "--raw", "raw")
    path = next((tmp_path / "data" / ".prep" / "toys").rglob(name))
    path.write_bytes(path.read_bytes()[:60] + b"!" + path.read_bytes()[61:])
    again, said = _prepared(cli, tmp_path, "toys", "--raw", "raw")
    assert again == first and "made again" in said
