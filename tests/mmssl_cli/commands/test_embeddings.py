"""`mmssl embeddings` on a run with known embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmssl_cli.runs.folder import RunFolder
from tests.conftest import Answer
from tests.helpers.known_run import USERS

Cli = Callable[..., Answer]


def test_embeddings_carry_the_ids_of_the_data(cli: Cli, run: RunFolder, tmp_path: Path) -> None:
    assert cli("embeddings", "latest", "--out", "vectors").code == 0
    users, items = (pq.read_table(tmp_path / "vectors" / f"{name}.parquet") for name in ("users", "items"))
    assert users.to_pydict() == {"id": USERS, "embedding": [[1.0], [1.0], [1.0]]}
    assert items["id"].to_pylist() == [f"i{i}" for i in range(6)]
    assert items["embedding"].to_pylist() == [[6.0], [5.0], [4.0], [3.0], [2.0], [1.0]]

    assert cli("embeddings", "latest", "--out", "arrays", "--format", "npy").code == 0
    values = np.load(tmp_path / "arrays" / "items.npy", allow_pickle=False)
    assert (values.dtype, values[:, 0].tolist()) == (np.float32, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert json.loads((tmp_path / "arrays" / "users.ids.json").read_text()) == USERS


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--out", "data"], 1, "data already exists and is not an empty folder; remove it or choose another one."),
        (["--out", "new", "--format", "npz"], 2, "There is no format 'npz': did you mean npy?"),
        (["--out", "data/shop/manifest.json/new"], 1, "Cannot write data/shop/manifest.json/new"),
    ],
)
def test_embeddings_answers_wrong_input_with_a_sentence(
    cli: Cli, run: RunFolder, tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    before = sorted(tmp_path.rglob("*"))

    answer = cli("embeddings", "latest", *arguments)

    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.words
    assert sorted(tmp_path.rglob("*")) == before
