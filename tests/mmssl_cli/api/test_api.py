"""The Python API on the demo and one short run: its examples, its numbers, its errors, and what importing it costs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import mmssl_cli as mmssl
from mmssl_cli.evaluation.ranking import rank_topk
from tests.conftest import ROOT
from tests.helpers.inline_pool import train_inline


def _examples() -> Iterator[doctest.DocTest]:
    for name in mmssl.__all__:
        public = getattr(mmssl, name)
        module = importlib.import_module(public.__module__)
        if module.__name__.startswith("mmssl_cli.api"):
            yield from (one for one in doctest.DocTestFinder().find(public, name, module) if one.examples)


@pytest.mark.parametrize("example", list(_examples()), ids=lambda one: one.name)
def test_examples(
    example: doctest.DocTest, data: mmssl.Dataset, run: mmssl.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_inline(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(data.data_dir)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / run.id).symlink_to(run.path)
    if example.name == "prepare":
        (tmp_path / "data").unlink()
    example.globs.update(mmssl=mmssl, data=data, run=run, np=np, pd=pd, Path=Path)
    said: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed
    assert not failed, "".join(said)


def test_every_public_name_has_an_example_and_every_method_a_docstring() -> None:
    tested = {example.name for example in _examples()}
    for name in mmssl.__all__:
        public = getattr(mmssl, name)
        if isinstance(public, type) and issubclass(public, Exception):
            continue
        assert name in tested
        for method, value in vars(public).items() if isinstance(public, type) else ():
            if inspect.isfunction(value) and not method.startswith("_"):
                assert inspect.getdoc(value), method


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    for name in mmssl.__all__:
        assert f"::: {getattr(mmssl, name).__module__}.{name}\n" in text, name


def test_importing_it_imports_nothing_heavy() -> None:
    script = (
        "import json, sys; before = set(sys.modules); import mmssl_cli; dir(mmssl_cli); "
        "print(json.dumps([name.partition('.')[0] for name in set(sys.modules) - before]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "mmssl_cli" in loaded
    assert not loaded & {"torch", "pandas", "numpy", "pyarrow", "pydantic", "typer", "rich", "pipelines"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = mmssl.trian  # type: ignore[attr-defined]


def test_recommendations_are_those_of_the_embeddings(run: mmssl.Run, data: mmssl.Dataset) -> None:
    users, items = run.embeddings()
    assert (users.ids, items.ids) == (data.user_ids, data.item_ids)
    assert users.values.dtype == np.float32
    best = rank_topk(
        torch.from_numpy(users.values), torch.from_numpy(items.values), torch.tensor([7, 3]), 5, run.ranker.train
    )
    found = run.recommend(["user-0007", "user-0003"], k=5)
    assert found.columns.tolist() == ["user", "rank", "item", "score"]
    assert found["item"].tolist() == [items.ids[item] for item in best.flatten().tolist()]
    assert found["user"].unique().tolist() == ["user-0007", "user-0003"]
    assert len(run.recommend(k=5)["user"].unique()) == data.num_users
    assert run.recommend([]).empty


def test_a_new_user_and_similar_items_against_plain_numpy(run: mmssl.Run) -> None:
    _, items = run.embeddings()
    directions = items.values / np.linalg.norm(items.values, axis=1, keepdims=True)
    scores = items.values @ directions[[3, 9]].mean(0)
    scores[[3, 9]] = -np.inf
    found = run.recommend_for(["item-0003", "item-0009"], k=10)
    assert found["item"].tolist() == [items.ids[item] for item in np.argsort(-scores)[:10]]
    np.testing.assert_allclose(found["score"], np.sort(scores)[::-1][:10], rtol=1e-4)

    cosines = directions @ directions[3]
    cosines[3] = -np.inf
    similar = run.similar_items("item-0003", k=4)
    assert similar["item"].tolist() == [items.ids[item] for item in np.argsort(-cosines)[:4]]
    assert similar["rank"].tolist() == [1, 2, 3, 4]


def test_candidates_by_their_ids_for_known_and_new_users(run: mmssl.Run) -> None:
    few = ["item-0001", "item-0011", "item-0021"]
    everything = run.recommend("user-0007", k=400)
    expected = everything[everything["item"].isin(few)]["item"].tolist()
    assert run.recommend("user-0007", candidates=few)["item"].tolist() == expected != []
    everything = run.recommend_for("item-0003", k=400)
    expected = everything[everything["item"].isin(few)]["item"].tolist()
    assert run.recommend_for("item-0003", candidates=few)["item"].tolist() == expected
    assert len(expected) == 3


@pytest.mark.parametrize("model", ["itemknn", "rp3beta", "ease", "gfcf"])
def test_models_of_item_weights_score_a_new_user_as_one_with_these_items(
    data: mmssl.Dataset, tmp_path: Path, model: str
) -> None:
    run = mmssl.train(model, data, device="cpu", runs_dir=tmp_path)
    table = data.interactions()
    liked = table[(table["user"] == "user-0007") & (table["split"] == "train")]["item"].tolist()
    known = run.recommend("user-0007", k=30)
    new = run.recommend_for(liked, k=30)
    assert new["item"].tolist() == known["item"].tolist()
    np.testing.assert_allclose(new["score"], known["score"], rtol=1e-5)
    similar = run.similar_items(liked[0], k=5)
    assert similar.equals(run.recommend_for(liked[:1], k=5))
    assert (similar["score"] > 0).all()


def test_a_model_that_knows_no_items_of_a_user_has_no_similar_ones(data: mmssl.Dataset, tmp_path: Path) -> None:
    run = mmssl.train("pop", data, device="cpu", runs_dir=tmp_path)
    for call in (lambda: run.similar_items("item-0003"), lambda: run.recommend_for("item-0003")):
        with pytest.raises(mmssl.UsageError, match="Pop has no embeddings and does not score items from items"):
            call()


def test_ranked_lists_evaluate_as_the_run_that_made_them(run: mmssl.Run, data: mmssl.Dataset) -> None:
    expected = mmssl.evaluate(run, data, ks=(5, 20))
    best = run.recommend(k=20)
    in_order = best.drop(columns=["rank", "score"])
    shuffled = best.sample(frac=1, random_state=0)
    for lists in (shuffled.drop(columns="rank"), shuffled.drop(columns="score"), in_order):
        assert mmssl.evaluate(lists, data, ks=(5, 20)) == pytest.approx(expected)
    scored = shuffled.assign(score=shuffled["score"].where(shuffled["rank"] <= 5, -np.inf))
    short = mmssl.evaluate(best[best["rank"] <= 5], data, ks=(5, 20))
    assert mmssl.evaluate(scored, data, ks=(5, 20)) == short
    assert short["recall@5"] == pytest.approx(expected["recall@5"]) and short["recall@20"] == short["recall@5"]
    assert expected.per_user["id"].tolist() == [data.user_ids[user] for user in expected.per_user["user"]]


def test_whole_numbers_and_masks_of_scores_count(run: mmssl.Run, data: mmssl.Dataset) -> None:
    times = 1_700_000_000 + np.random.default_rng(0).permutation(data.num_items) * 60
    matrix = np.tile(times, (data.num_users, 1))
    expected = mmssl.evaluate(matrix.astype(np.float64), data)
    assert mmssl.evaluate(matrix, data) == expected == mmssl.evaluate(torch.from_numpy(matrix), data)
    masked = np.ma.masked_array(matrix, mask=False)
    masked[:, :350] = np.ma.masked
    left_out = matrix.astype(np.float64)
    left_out[:, :350] = -np.inf
    assert mmssl.evaluate(masked, data) == mmssl.evaluate(left_out, data) != expected
    for same in (left_out.astype(">f8"), left_out.astype(np.longdouble)):
        assert mmssl.evaluate(same, data) == mmssl.evaluate(left_out, data)


def test_runs_and_data_sets_hold_in_another_working_directory(
    run: mmssl.Run, data: mmssl.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent.parent)
    places = {"runs_dir": run.path.parent.name, "data_dir": os.path.relpath(data.data_dir)}
    opened, dataset = mmssl.load_run(run.id, **places), mmssl.Dataset(os.path.relpath(data.path))
    monkeypatch.chdir(tmp_path)
    assert opened.result == run.result and opened.recommend("user-0007").shape == (20, 4)
    assert dataset.user_ids == data.user_ids


def test_a_run_its_scores_and_a_function_of_them_evaluate_alike(run: mmssl.Run, data: mmssl.Dataset) -> None:
    users, items = run.embeddings()
    scores = users.values @ items.values.T
    kept = scores.copy()
    names = ("recall", "precision", "ndcg")
    found = mmssl.evaluate(run, data, metrics=names)
    assert dict(found) == pytest.approx({name: run.test[name] for name in found})
    for other in (scores, torch.from_numpy(scores), lambda rows: scores[rows]):
        own = mmssl.evaluate(other, data, metrics=names)
        assert own == pytest.approx(found)
        assert own.per_user["user"].tolist() == found.per_user["user"].tolist()
    np.testing.assert_array_equal(scores, kept)  # training items are struck out of a copy
    assert mmssl.evaluate(run, data, split="validation", ks=[20]) != mmssl.evaluate(run, data, ks=[20])


def test_one_cut_off_metric_or_id_stands_for_a_list_of_it(data: mmssl.Dataset, run: mmssl.Run, tmp_path: Path) -> None:
    found = mmssl.evaluate(run, data, ks=20, metrics="recall")
    assert found == mmssl.evaluate(run, data, ks=np.array([20]), metrics=["recall"])
    assert mmssl.train("mf", data, epochs=1, ks=20, device="cpu", runs_dir=tmp_path).settings["ks"] == (20,)
    named = run.recommend("user-0007", candidates=np.array(["item-0003", "item-0009"]))
    assert named.equals(run.recommend("user-0007", candidates=["item-0003", "item-0009"]))


def test_it_is_quiet_unless_told_otherwise(
    data: mmssl.Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "device": "cpu", "runs_dir": tmp_path}
    mmssl.train("mf", data, **settings)
    assert capfd.readouterr() == ("", "")
    mmssl.train("mf", data, verbose=True, **settings)
    assert "Training mf on demo" in capfd.readouterr().err


def test_users_without_a_list_are_said_and_lists_of_nobody_refused(data: mmssl.Dataset, run: mmssl.Run) -> None:
    lists = run.recommend(k=20)
    some = lists[lists["user"] != lists["user"][0]]
    with pytest.warns(UserWarning, match=r"1 of the \d+ users with test items have no list"):
        mmssl.evaluate(some, data, ks=(20,))
    with pytest.raises(mmssl.InputError, match="The lists are of none of the"):
        mmssl.evaluate(lists.head(0), data, ks=(20,))
    with pytest.raises(mmssl.InputError, match="1 pairs of user and item more than once"):
        mmssl.evaluate(pd.concat([lists, lists[:1]]), data, ks=(20,))
    with pytest.raises(mmssl.InputError, match=r"The scores are the text 'recs\.parquet'; expected an array"):
        mmssl.evaluate("recs.parquet", data)  # type: ignore[arg-type]
    with pytest.raises(mmssl.UsageError, match="A data set cannot be a DataFrame: expected its name or path"):
        mmssl.train("mf", lists)  # type: ignore[arg-type]


def test_training_leaves_the_random_state_as_it_was(data: mmssl.Dataset, run: mmssl.Run, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = torch.rand(1)
    mmssl.train("mf", data, epochs=1, embedding_dim=8, runs_dir=tmp_path)
    mmssl.load_run(run).recommend(k=1)
    mmssl.evaluate(run, data, ks=5)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_scores_and_ranks_that_contradict_each_other_are_refused(data: mmssl.Dataset, run: mmssl.Run) -> None:
    lists = run.recommend(k=20)
    assert mmssl.evaluate(lists, data, ks=20) == mmssl.evaluate(run, data, ks=20)
    with pytest.raises(mmssl.InputError, match="score and rank of the lists contradict each other"):
        mmssl.evaluate(lists.assign(score=-lists["score"]), data, ks=20)
    assert mmssl.evaluate(pa.Table.from_pandas(lists), data, ks=20) == mmssl.evaluate(lists, data, ks=20)


def test_a_run_that_is_not_over_says_so(data: mmssl.Dataset, run: mmssl.Run, tmp_path: Path) -> None:
    copy = tmp_path / "begun"
    shutil.copytree(run.path, copy)
    (copy / "result.json").unlink()
    with pytest.raises(mmssl.InputError, match=r"Run begun is not over: .* resume it by `mmssl train --resume begun`"):
        _ = mmssl.load_run(copy, data_dir=data.data_dir).test
