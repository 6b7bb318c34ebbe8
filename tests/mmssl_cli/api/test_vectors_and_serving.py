"""The vectors of a run for other programs: an index for approximate search, and answers over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd
import pytest

import mmssl_cli as mmssl
from tests.conftest import ROOT, Answer

faiss = pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> mmssl.Run:
    """Two epochs of MF, trained once; only to be read."""
    data = mmssl.load_dataset(demo)
    return mmssl.train("mf", data, epochs=2, device="cpu", runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("kind", ["faiss", "hnsw"])
def test_an_index_finds_nearly_all_of_the_exact_best(
    cli: Callable[..., Answer], run: mmssl.Run, tmp_path: Path, kind: str
) -> None:
    place = ("--data-dir", run.data_dir)
    answer = cli("embeddings", run.path, "--out", "index", "--format", kind, *place)
    assert answer.code == 0, answer.err
    index = faiss.read_index(str(tmp_path / "index/items.index"))
    users, items = run.embeddings()
    np.testing.assert_array_equal(np.load(tmp_path / "index/users.npy"), users.values)
    assert json.loads((tmp_path / "index/items.ids.json").read_text()) == items.ids
    scores, found = index.search(users.values, 20)
    best = np.argsort(-(users.values @ items.values.T), axis=1)[:, :20]
    recall = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found.tolist(), best.tolist(), strict=True)])
    assert recall >= 0.99 and f"finds {recall:.1%} of a user's exact top 20" in answer.words
    exact = np.take_along_axis(users.values @ items.values.T, found, axis=1)
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-6)


def test_without_faiss_the_extra_is_named(
    cli: Callable[..., Answer], run: mmssl.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    answer = cli("embeddings", run.path, "--out", "index", "--format", "hnsw", "--data-dir", run.data_dir)
    assert answer.code == 2 and "pip install 'mmssl[ann]'" in answer.words and not Path("index").exists()


@pytest.mark.parametrize("kind", ["faiss", "hnsw"])
def test_recommendations_through_an_index_say_how_many_of_the_best_they_have(
    cli: Callable[..., Answer], run: mmssl.Run, kind: str
) -> None:
    line = ("recommend", run.path, "--all", "--top", 10, "--data-dir", run.data_dir)
    assert cli(*line, "--out", "exact.parquet").code == 0
    answer = cli(*line, "--out", "found.parquet", "--search", kind)
    assert answer.code == 0, answer.err
    exact, found = (pd.read_parquet(f"{name}.parquet") for name in ("exact", "found"))
    assert found.dtypes.equals(exact.dtypes) and found["user"].equals(exact["user"])
    both = found.merge(exact, on=["user", "item"])
    assert f"finds {len(both) / len(exact):.1%} of a user's exact top 10" in answer.words
    assert len(both) >= 0.95 * len(exact)
    np.testing.assert_allclose(both["score_x"], both["score_y"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--search", "fais", "--all"], "There is no search 'fais'"),
        (["--search", "faiss", "--user", "user-0007"], "--search faiss is for --all"),
    ],
)
def test_a_search_that_does_not_fit_is_refused(
    cli: Callable[..., Answer], run: mmssl.Run, flags: list[str], words: str
) -> None:
    answer = cli("recommend", run.path, *flags, "--out", "recs.csv", "--data-dir", run.data_dir)
    assert answer.code == 2 and words in answer.words and not Path("recs.csv").exists()


def test_recommending_through_an_index_needs_faiss_and_scores_of_embeddings(
    cli: Callable[..., Answer], run: mmssl.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = ("--all", "--search", "hnsw", "--out", "recs.csv", "--data-dir", run.data_dir)
    pop = mmssl.train("pop", mmssl.load_dataset(run.data_dir / "demo"), runs_dir=tmp_path / "runs")
    answer = cli("recommend", pop.path, *line)
    assert answer.code == 2 and "has scores of its own; leave it out" in answer.words
    monkeypatch.setitem(sys.modules, "faiss", None)
    answer = cli("recommend", run.path, *line)
    assert answer.code == 2 and "--search hnsw needs faiss: pip install 'mmssl[ann]', or choose exact" in answer.words
    assert not Path("recs.csv").exists()


def test_modality_graphs_through_an_index_log_its_recall(
    cli: Callable[..., Answer], run: mmssl.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = ["train", "--dataset", "demo", "--model", "mmssl", "--epochs", 1, "--graph-search", "faiss"]
    line += ["--device", "cpu", "--data-dir", run.data_dir, "--runs-dir", tmp_path / "runs"]
    answer = cli(*line)
    assert answer.code == 0, answer.err
    [log] = (tmp_path / "runs").glob("*/log.jsonl")
    name = "diagnostics/recall of graph-search"
    recalls = [line[name] for line in map(json.loads, log.read_text().splitlines()) if name in line]
    assert len(recalls) == 1 and recalls[0] >= 0.99
    monkeypatch.setitem(sys.modules, "faiss", None)
    answer = cli(*line, "--seed", 7)
    assert answer.code == 2 and "--graph-search faiss needs faiss: pip install 'mmssl[ann]'" in answer.words


@pytest.fixture(scope="module")
def server(run: mmssl.Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of `mmssl serve` in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["serve", str(run.path), "--port", str(port), "--data-dir", str(run.data_dir)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mmssl_cli", *command],
        cwd=tmp_path_factory.mktemp("server"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        deadline = time.monotonic() + 180
        while True:
            try:
                client.get("/")
                break
            except httpx2.TransportError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        yield client
    process.terminate()
    assert process.wait(60) == 0  # it ends in no other way


def test_served_answers_are_those_of_the_run(server: httpx2.Client, run: mmssl.Run) -> None:
    answer = server.get("/recommend/user-0007", params={"k": 5})
    assert answer.status_code == 200 and answer.json()["user"] == "user-0007"
    expected = run.recommend("user-0007", k=5)
    assert [item["item"] for item in answer.json()["items"]] == expected["item"].tolist()
    np.testing.assert_allclose([item["score"] for item in answer.json()["items"]], expected["score"], rtol=1e-6)
    similar = server.get("/similar/item-0003", params={"k": 4}).json()["items"]
    assert [item["item"] for item in similar] == run.similar_items("item-0003", k=4)["item"].tolist()
    assert similar[0].keys() == answer.json()["items"][0].keys()
    assert len(server.get("/recommend/user-0007").json()["items"]) == 20


def test_a_port_that_is_taken_is_said_before_anything_is_served(cli: Callable[..., Answer], run: mmssl.Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = cli("serve", str(run.path), "--port", str(port), "--data-dir", str(run.data_dir))
    assert (answer.code, answer.out) == (1, "")
    assert f"Cannot listen on 127.0.0.1:{port}; choose another --port or --host." in answer.words


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/recommend/user-0007x", 404, "There is no user 'user-0007x'"),
        ("/recommend/../../etc/passwd", 404, ""),
        ("/similar/item-9", 404, "There is no item 'item-9'"),
        ("/recommend/user-0007?k=0", 422, "expected a whole number from 1 to 1000"),
        ("/recommend/user-0007?k=two", 422, "k is 'two'; expected a whole number from 1 to 1000."),
        ("/recommend/user-0007?top=3", 422, "There is no parameter 'top'; the number of items is k."),
        ("/", 404, ""),
        ("/docs", 404, ""),
        ("/openapi.json", 404, ""),
    ],
)
def test_nothing_else_is_served(server: httpx2.Client, address: str, status: int, sentence: str) -> None:
    answer = server.get(address)
    assert answer.status_code == status and sentence in answer.text


def test_writing_methods_are_refused(server: httpx2.Client) -> None:
    assert server.post("/recommend/user-0007").status_code == 405


def test_a_port_in_use_is_named(process: Callable[..., Answer], run: mmssl.Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = process("serve", run.path, "--port", port, "--data-dir", run.data_dir)
    assert answer.code == 1 and f"Cannot listen on 127.0.0.1:{port}" in answer.words
    assert "Traceback" not in answer.err
