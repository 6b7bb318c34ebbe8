"""Items without training interactions, ranked by content: planted, and must be found; through the real entry point."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mmssl_cli as mmssl
from mmssl_cli.config import SETTINGS, build_settings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.data.sampling import TripleSampler
from mmssl_cli.models.content import nearest_warm_items
from mmssl_cli.models.registry import build_model
from mmssl_cli.sparse.csr import CSR
from pipelines.prepared import read_prepared

Cli = Callable[..., Any]
GROUPS, USERS, ITEMS = 4, 80, 60


def shop(cli: Cli, *flags: object) -> None:
    """Users of a group choose items of that group alone, and an item's vector says its group."""
    random = np.random.default_rng(0)
    rows = [
        f"u{user},i{item}"
        for user in range(USERS)
        for item in random.choice(np.arange(user % GROUPS, ITEMS, GROUPS), 10, replace=False)
    ]
    Path("clicks.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    ids = [f"i{item}" for item in range(ITEMS + 4)]  # the last four are chosen by nobody
    vectors = np.eye(GROUPS)[np.arange(ITEMS + 4) % GROUPS] + 0.1 * random.standard_normal((ITEMS + 4, GROUPS))
    np.savez("vectors.npz", ids=np.array(ids), values=vectors.astype(np.float32))
    pd.DataFrame({"item": ids, "title": [f"Cup {name}" for name in ids]}).to_csv("items.csv", index=False)
    tables = ("--interactions", "clicks.csv", "--items", "items.csv", "--features", "visual=vectors.npz")
    answer = cli("prep", "shop", *tables, *flags)
    assert answer.code == 0, answer.words


def train(cli: Cli, model: str, *flags: object) -> dict[str, Any]:
    answer = cli("train", "--dataset", "shop", "--model", model, "--epochs", 15, "--lr", 0.02, "--json", *flags)
    assert answer.code == 0, answer.words
    result: dict[str, Any] = json.loads(answer.out)["runs"][0]
    return result


MODELS = ["mmssl", *(name for name, kind in SETTINGS.items() if kind.needs_content)]


@pytest.mark.parametrize("model", MODELS)
def test_content_ranks_items_that_were_never_trained(cli: Cli, model: str) -> None:
    shop(cli, "--split", "cold-items", "--k-core", 0)
    result = train(cli, model)
    data = read_prepared(Path("data/shop"))
    items = data.items["id"].to_numpy()
    trained = set(data.interactions.loc[data.interactions["split"] == "train", "item"])
    cold = {items[item] for item in range(len(items)) if item not in trained}
    assert {f"i{ITEMS + more}" for more in range(4)} <= cold and len(cold) >= 16
    kinds = result["warm_cold"]
    assert kinds["cold"]["interactions"] and 0 <= kinds["warm"]["metrics"]["recall@20"] <= 1

    everyone = [part for user in range(8) for part in ("--user", f"u{user}")]
    answer = cli("recommend", "latest", *everyone, "--top", 4, "--candidates", "cold", "--json")
    assert answer.code == 0, answer.words
    found = json.loads(answer.out)
    assert all({item["item"] for item in of["items"]} <= cold for of in found)
    hits = [int(item["item"][1:]) % GROUPS == int(of["user"][1:]) % GROUPS for of in found for item in of["items"]]
    assert len(hits) == 32 and np.mean(hits) > 0.6, f"{model}: {np.mean(hits)}, by chance {1 / GROUPS}"


def test_ids_alone_do_not_rank_cold_items(cli: Cli) -> None:
    shop(cli, "--split", "cold-items")
    result = train(cli, "mf", "--epochs", 2)
    assert set(result["warm_cold"]) == {"warm", "cold"}
    refused = cli("recommend", "latest", "--user", "u1", "--candidates", "cold")
    assert refused.code == 2 and "does not rank cold items" in refused.words and "--split cold-items" in refused.words
    assert "no candidates 'old': did you mean cold" in (
        cli("recommend", "latest", "--user", "u1", "--candidates", "old").words
    )
    data = read_prepared(Path("data/shop"))
    trained = set(data.interactions.loc[data.interactions["split"] == "train", "item"])
    warm = set(data.items["id"][sorted(trained)])
    answer = json.loads(cli("recommend", "latest", "--user", "u1", "--candidates", "warm", "--top", 30, "--json").out)
    assert {item["item"] for item in answer[0]["items"]} <= warm


@pytest.mark.usefixtures("inline_runs")
def test_warm_and_cold_figures_stand_in_every_place(cli: Cli) -> None:
    shop(cli, "--split", "cold-items")
    answer = cli("compare", "--dataset", "shop", "--models", "vbpr,mf", "--epochs", 2)
    assert answer.code == 0, answer.words
    assert "Warm and cold test items on shop" in answer.words and "Recall@20, cold" in answer.words
    [of_run] = [json.loads(cli("evaluate", "latest", "--json").out)]
    stored = json.loads(next(Path("runs").glob("*/result.json")).read_text())
    assert set(stored["warm_cold"]) == set(of_run["warm_cold"]) == {"warm", "cold"}
    shown = cli("evaluate", "latest").words
    assert "Warm items alone: " in shown and "Cold items (no training interaction) alone: " in shown
    run = mmssl.load_run("latest")
    found = mmssl.evaluate(run, "shop", ks=(20,), metrics=("recall",))
    again = mmssl.evaluate(lambda users: run.ranker.embeddings[0][users] @ run.ranker.embeddings[1].T, "shop", ks=(20,))
    assert found.warm_cold["cold"]["metrics"].keys() == {"recall@20"}
    for kind in ("warm", "cold"):
        expected = of_run["warm_cold"][kind]
        assert found.warm_cold[kind]["metrics"]["recall@20"] == pytest.approx(expected["metrics"]["recall@20"])
        assert again.warm_cold[kind]["metrics"]["recall@20"] == pytest.approx(expected["metrics"]["recall@20"])
        assert again.warm_cold[kind]["users"] == expected["users"]


def test_negatives_are_never_items_of_the_held_out(cli: Cli) -> None:
    shop(cli, "--split", "cold-items", "--k-core", 0)
    data = load_interactions(Path("data/shop"))
    assert data.new_items and int(data.cold.sum()) == 16
    sampler = TripleSampler(data.train, data.num_items, 64, "interaction", "uniform", trained_negatives=True)
    drawn = torch.cat([batch.negatives for batch in sampler.epoch(torch.Generator().manual_seed(0))])
    assert not data.cold[drawn].any() and len(drawn.unique()) > 40
    shop(cli, "--k-core", 1, "--force")
    assert not load_interactions(Path("data/shop")).new_items


def test_runs_do_not_count_where_items_have_become_new_ones(cli: Cli) -> None:
    shop(cli, "--k-core", 1)
    small = ("--dataset", "shop", "--model", "mf", "--epochs", 1, "--embedding-dim", 4)
    assert cli("train", *small).code == 0
    plan = ("compare", "--models", "mf", "--dry-run", *small[:2], *small[4:])
    assert "1 finished before" in cli(*plan).words
    manifest = Path("data/shop/manifest.json")
    text = manifest.read_text()
    assert text.count('"k_core": 1') == 1
    manifest.write_text(text.replace('"k_core": 1', '"k_core": 0'))  # what another --k-core leaves of the same files
    assert "1 to train" in cli(*plan).words


def test_the_mean_of_the_nearest_warm_items(cli: Cli) -> None:
    shop(cli, "--split", "cold-items", "--k-core", 0)
    data = load_interactions(Path("data/shop"))
    embeddings = torch.from_numpy(np.random.default_rng(1).standard_normal((data.num_items, 3)).astype(np.float32))
    found = (nearest_warm_items(data, k=5) @ embeddings).numpy()
    rows = data.features["visual"].numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cold = data.cold.numpy()
    for item in range(data.num_items):
        if not cold[item]:
            assert (found[item] == embeddings[item].numpy()).all()
            continue
        cosines = np.where(cold, -np.inf, rows @ rows[item])
        near = np.argsort(-cosines)[:5]
        expected = np.average(embeddings[near].numpy(), axis=0, weights=np.maximum(cosines[near], 0))
        np.testing.assert_allclose(found[item], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["mmssl", "bm3"])
def test_new_items_of_a_small_data_set_have_embeddings_by_default(name: str, cli: Cli) -> None:
    shop(cli, "--split", "cold-items", "--k-core", 0)
    settings = build_settings({"model": name, "embedding_dim": 8})
    data = load_interactions(Path("data/shop"), None, settings.feature_scaling, settings.feature_components)
    model = build_model(data, settings)
    model.begin_epoch(1)
    assert data.cold.sum() > 3 and model.represent()[1][data.cold].norm(dim=1).min() > 1e-3
    assert not model.warnings


def test_new_items_that_resemble_none_are_told() -> None:
    interactions, none = CSR.from_pairs([(0, 2), (1, 3)], 2), CSR.from_pairs([], 2)
    features = {"visual": torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [-1.0, 1.0], [-1.0, 2.0]])}
    present = {"visual": torch.tensor([True, False, True, True, True])}
    data = InteractionData("shop", 2, 5, interactions, none, none, features=features, present=present, new_items=True)
    model = build_model(data, build_settings({"model": "bm3", "embedding_dim": 8}))
    told = "2 of 3 new items have no content, or resemble no item with training interactions"
    assert model.warnings == [f"{told}; their embeddings are zeros."]


def test_fewer_near_items_than_asked_for_count_once_and_a_sum_of_cosines_chooses() -> None:
    """Item 0 is new. Item 1 has one modality, nearer than either of item 2's; the last item is near, the third not."""
    interactions = CSR.from_pairs([(0, 1), (0, 2), (0, 3), (1, 4)], 2)
    none = CSR.from_pairs([], 2)
    visual = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.5, 0.75**0.5], [-1.0, 0.0], [0.6, 0.8]])
    acoustic = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.75**0.5], [-1.0, 0.0], [0.0, 0.0]])
    features = {"visual": visual, "acoustic": acoustic}
    present = {"visual": torch.ones(5, dtype=torch.bool), "acoustic": acoustic.any(dim=1)}
    data = InteractionData("shop", 2, 5, interactions, none, none, features=features, present=present, new_items=True)
    weights = {k: (nearest_warm_items(data, k=k) @ torch.eye(5))[0] for k in (1, 2, 4)}
    torch.testing.assert_close(weights[1], torch.tensor([0, 0, 1.0, 0, 0]))
    torch.testing.assert_close(weights[2], torch.tensor([0, 0.8, 1.0, 0, 0]) / 1.8)
    torch.testing.assert_close(weights[4], torch.tensor([0, 0.8, 1.0, 0, 0.6]) / 2.4)
