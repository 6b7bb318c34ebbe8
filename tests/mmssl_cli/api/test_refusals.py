"""Wrong input in Python: the sentence that the command line would print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import mmssl_cli as mmssl
from tests.helpers.ranked_lists import ranked_lists


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (
            lambda data, run: mmssl.evaluate(run, data, metrics=["recal"]),
            "Usage",
            "no metric 'recal': did you mean rec",
        ),
        (lambda data, run: mmssl.evaluate(run, data, split="tset"), "Usage", "There is no split 'tset' to evaluate on"),
        (lambda data, run: mmssl.evaluate(run, data, ks=(0,)), "Usage", r"ks cannot be \(0,\)"),
        (lambda data, run: mmssl.evaluate(run, data, ks=(401,)), "Usage", "K is 401, but the data set has 400 items"),
        (
            lambda data, run: mmssl.evaluate(np.ones((2, 3)), data),
            "Input",
            r"the shape \[2, 3\]; expected \[users, items\] = ",
        ),
        (lambda data, run: mmssl.evaluate(lambda users: np.ones(3), data), "Input", "have the shape"),
        (lambda data, run: mmssl.evaluate(np.full((600, 400), np.nan), data), "Input", "hold NaN"),
        (lambda data, run: mmssl.train("mff", data), "Usage", "There is no model 'mff': did you mean"),
        (lambda data, run: mmssl.train("mf", data, epoch=1), "Usage", "There is no setting 'epoch'"),
        (lambda data, run: mmssl.train("mf", data, epochs=0), "Usage", "epochs cannot be 0"),
        (lambda data, run: mmssl.train("mf", data, dataset="demo"), "Usage", "leave out dataset"),
        (lambda data, run: mmssl.compare(data, ["mf"], model="mf"), "Usage", "leave out model"),
        (lambda data, run: mmssl.train("mf", data, **{"l2-weight": 1}), "Usage", "'l2-weight': write l2_weight"),
        (lambda data, run: mmssl.evaluate(pd.DataFrame(np.ones((600, 400))), data), "Input", "given as to_numpy"),
        (
            lambda data, run: mmssl.evaluate(ranked_lists(user=["x"] * 2), data),
            "Input",
            "1 users that the data set lacks",
        ),
        (
            lambda data, run: mmssl.evaluate(ranked_lists(item=["item-0003"] * 2), data),
            "Input",
            "1 pairs of user and item",
        ),
        (
            lambda data, run: mmssl.evaluate(ranked_lists(score=[1, None]), data),
            "Input",
            "column score of the lists holds",
        ),
        (lambda data, run: mmssl.evaluate(sp.csr_matrix((600, 400)), data), "Input", r"a csr_matrix; give its toarray"),
        (
            lambda data, run: mmssl.evaluate(torch.ones(600, 400).to_sparse(), data),
            "Input",
            r"tensor; give its to_dense",
        ),
        (lambda data, run: mmssl.evaluate(np.full((600, 400), 2**60, np.uint64), data), "Input", r"beyond 2\^53"),
        (lambda data, run: mmssl.evaluate(np.ma.ones((600, 400), int) * 2**60, data), "Input", r"beyond 2\^53"),
        (lambda data, run: mmssl.evaluate(np.ma.ones((600, 400), complex), data), "Input", "array of real numbers"),
        (
            lambda data, run: mmssl.evaluate(ranked_lists(score=[1, np.inf]), data),
            "Input",
            "column score of the lists holds",
        ),
        (lambda data, run: mmssl.evaluate(lambda: 3, data), "Input", "cannot be called with the numbers of users"),
        (lambda data, run: mmssl.evaluate(np.full((600, 400), 2**60), data), "Input", r"whole numbers beyond 2\^53"),
        (lambda data, run: mmssl.prepare(Path("x")), "Usage", "A data set cannot be PosixPath.*expected its name"),
        (lambda data, run: mmssl.Dataset(None), "Usage", "path cannot be None"),
        (lambda data, run: mmssl.train("mf", data, runs_dir=""), "Usage", "runs_dir cannot be ''"),
        (lambda data, run: run.recommend(pd.DataFrame({"user": ["user-0007"]})), "Usage", "give one of its columns"),
        (lambda data, run: run.recommend(b"user-0007"), "Usage", "Ids cannot be b'user-0007'"),
        (lambda data, run: mmssl.evaluate(lambda users: None, data), "Input", "a NoneType of object"),
        (lambda data, run: mmssl.evaluate(np.ones((600, 400), complex), data), "Input", "expected an array of real"),
        (lambda data, run: mmssl.load_dataset(""), "Usage", "A data set cannot be ''"),
        (lambda data, run: mmssl.load_dataset(3), "Usage", "A data set cannot be 3"),
        (lambda data, run: mmssl.load_run(3), "Usage", "A run cannot be 3"),
        (lambda data, run: mmssl.load_run("latest", runs_dir=3), "Usage", "runs_dir cannot be 3: expected a path"),
        (lambda data, run: mmssl.load_dataset("demo", data_dir=3), "Usage", "data_dir cannot be 3: expected a path"),
        (lambda data, run: mmssl.train("mf", data, config=3), "Usage", "config cannot be 3: expected a path"),
        (lambda data, run: mmssl.compare(data, ["mf"], runs_dir=3), "Usage", "runs_dir cannot be 3: expected a path"),
        (lambda data, run: run.recommend([["user-0007"]]), "Usage", "Ids cannot be .*user-0007"),
        (lambda data, run: mmssl.prepare("x", interactions=np.eye(2)), "Usage", "a ndarray: expected a table"),
        (lambda data, run: mmssl.compare(data, ["mf"], layers=1), "Usage", "Model 'mf' has no setting 'layers'"),
        (lambda data, run: mmssl.compare(data, []), "Usage", "at least one model"),
        (lambda data, run: data.features(3), "Usage", "A modality cannot be 3: expected its name"),
        (lambda data, run: mmssl.compare(data, "mf", **{"l2-weight": 1}), "Usage", "'l2-weight': write l2_weight"),
        (lambda data, run: mmssl.controls(data, **{"feature-control": "noise"}), "Usage", "write feature_control"),
        (lambda data, run: mmssl.tune("mf", data, ranges=[1, 2]), "Usage", "expected a dict of settings and values"),
        (lambda data, run: mmssl.tune("mf", data, lr=0.1, ranges={"lr": [1.0]}), "Usage", "lr has a value and a range"),
        (
            lambda data, run: mmssl.tune("mf", data, ranges={"embedding-dim": [4], "embedding_dim": [8]}),
            "Usage",
            "two ranges for 'embedding_dim', with dashes and with underscores",
        ),
        (
            lambda data, run: mmssl.tune("mf", data, ranges={"lr": [1e-3], "starts": [{1: 2}]}),
            "Usage",
            "cannot be of 1: expected names of settings",
        ),
        (lambda data, run: mmssl.tune("mf", data, ks=(500,)), "Usage", "K is 500, but data set 'demo' has only 400"),
        (lambda data, run: data.features("visul"), "Usage", "no modality 'visul': did you mean visual"),
        (lambda data, run: mmssl.ablate(data, "w/o-XY"), "Usage", "There is no variant 'w/o-XY'"),
        (lambda data, run: mmssl.ablate(data, variant="w/o-CL"), "Usage", "use the argument variants"),
        (lambda data, run: mmssl.ablate(data, modalities=()), "Usage", "work on modalities"),
        (lambda data, run: mmssl.controls(data, "mf"), "Usage", "'mf' uses no item features to control"),
        (lambda data, run: mmssl.controls(data, feature_control="noise"), "Usage", "is what is compared here"),
        (lambda data, run: mmssl.compare(data, "mf", reference="pop"), "Usage", "'pop' is none of the compared models"),
        (lambda data, run: mmssl.compare(data, "mf", reference="pip"), "Usage", "There is no model 'pip'"),
        (lambda data, run: mmssl.plugin(data, "mf"), "Usage", "Nothing can be plugged into 'mf'"),
        (lambda data, run: mmssl.plugin(data, asl=True), "Usage", "asl is what is compared here; leave it out"),
        (lambda data, run: mmssl.sparsity(data, metric="recal@20"), "Usage", "There is no metric 'recal@20'"),
        (lambda data, run: mmssl.sparsity(data, metric=20), "Usage", "metric cannot be 20"),
        (lambda data, run: mmssl.sparsity(data, "mf", metric="mrr@20"), "Usage", "not measured by default"),
        (lambda data, run: mmssl.sparsity(data, buckets="0,4"), "Usage", "expected whole numbers that rise"),
        (lambda data, run: mmssl.sparsity(data, buckets=(4, 0)), "Usage", "at least two whole numbers that rise"),
        (lambda data, run: mmssl.sparsity(data, "mf", buckets=(900, 999)), "Input", "in the buckets 900,999"),
        (lambda data, run: mmssl.sweep(data, {}), "Usage", "expected settings and values"),
        (lambda data, run: mmssl.sweep(data, {"layers": []}), "Usage", "layers has no values"),
        (lambda data, run: mmssl.sweep(data, {"layrs": [1]}), "Usage", "no setting 'layrs' to sweep: did you"),
        (lambda data, run: mmssl.sweep(data, {"seed": [1]}), "Usage", "seed cannot be swept"),
        (lambda data, run: mmssl.sweep(data, {"layers": [-1]}), "Usage", "layers"),
        (lambda data, run: mmssl.tune("mf", data, ranges={1: [2]}), "Usage", "expected names of settings"),
        (lambda data, run: mmssl.tune("mf", data, ranges={"lrr": [2]}), "Usage", "no setting of mf"),
        (lambda data, run: mmssl.tune("mf", data, ranges={"lr": 2}), "Input", "range of 'lr' is not one"),
        (lambda data, run: mmssl.compare(data, ["mf"], jobs=0), "Usage", "jobs cannot be 0"),
        (lambda data, run: mmssl.load_run("nosuch", runs_dir="x"), "Usage", "There is no run 'nosuch'"),
        (lambda data, run: mmssl.load_run(Path("nosuch")), "Input", "There is no run folder nosuch"),
        (lambda data, run: mmssl.load_dataset("nosuch"), "Usage", "There is no data set 'nosuch'"),
        (lambda data, run: mmssl.load_dataset("tiktok"), "Input", "Data set 'tiktok' is not prepared in data; run"),
        (lambda data, run: mmssl.load_dataset(Path("nosuch")), "Input", "nosuch"),
        (lambda data, run: mmssl.prepare("demo", k_cor=2), "Usage", "There is no option 'k_cor' of prepare: did you"),
        (
            lambda data, run: mmssl.prepare("demo", k_core="x"),
            "Usage",
            "--k-core cannot be 'x': expected a whole number",
        ),
        (lambda data, run: run.recommend("user-7"), "Usage", "There is no user 'user-7'"),
        (lambda data, run: run.recommend_for([]), "Usage", "at least one item"),
        (lambda data, run: run.recommend("user-0007", candidates="hot"), "Usage", "There are no candidates 'hot'"),
        (lambda data, run: run.recommend("user-0007", candidates=[]), "Usage", "expected the id of at least one item"),
        (lambda data, run: run.recommend_for("item-0003", candidates=["x"]), "Usage", "There is no item 'x'"),
        (lambda data, run: run.similar_items("item-3"), "Usage", "There is no item 'item-3'"),
        (
            lambda data, run: run.similar_items("item-0003", k=0),
            "Usage",
            "K is 0: expected a whole number",
        ),
        (lambda data, run: run.recommend("user-0007", k="3"), "Usage", "K is '3': expected a whole number"),
        (
            lambda data, run: run.recommend(5.5),
            "Usage",
            "Ids cannot be 5.5: expected original ids of users",
        ),
        (lambda data, run: run.recommend(True), "Usage", "Ids cannot be True: expected original ids of users"),
        (lambda data, run: run.recommend_for(5), "Usage", "There is no item '5'"),
        (lambda data, run: mmssl.evaluate(run, data, ks=2.5), "Usage", "ks cannot be 2.5: expected whole numbers"),
        (lambda data, run: mmssl.evaluate(run, data, metrics=5), "Usage", "There is no metric 5: choose from"),
        (lambda data, run: mmssl.train(5, data), "Usage", "A model cannot be 5: expected its name"),
        (lambda data, run: mmssl.compare(data, 5), "Usage", "A model cannot be 5: expected its name"),
        (lambda data, run: mmssl.compare(data, ["mf"], config="."), "Usage", "has no settings for mf on demo"),
        (lambda data, run: mmssl.tune("mff", data), "Usage", "There is no model 'mff': did you mean"),
        (lambda data, run: mmssl.tune("mf", data, trials=0), "Usage", "trials cannot be 0: expected the number of"),
        (lambda data, run: mmssl.tune("mf", data, minutes="x"), "Usage", "minutes cannot be 'x': expected processor"),
        (
            lambda data, run: mmssl.tune("mf", data, search_seed=-1),
            "Usage",
            "search_seed cannot be -1: expected a whole",
        ),
        (lambda data, run: mmssl.tune("mf", data, layers=1), "Usage", "has no setting 'layers'"),
        (lambda data, run: mmssl.tune("mf", data, ranges="none.toml"), "Input", "There is no file of ranges none.toml"),
        (lambda data, run: mmssl.tune("pop", data), "Usage", "'pop' has no settings to search"),
        (
            lambda data, run: mmssl.compare(data, ["mf"], runs="2"),
            "Usage",
            "runs cannot be '2': expected the",
        ),
    ],
)
def test_wrong_input_raises_the_sentence_of_the_command_line(
    data: mmssl.Dataset,
    run: mmssl.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Any,
    kind: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(getattr(mmssl, f"{kind}Error"), match=sentence):
        call(data, run)
    assert not list(tmp_path.iterdir())
