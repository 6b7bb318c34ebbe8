"""A run from settings to result: what it writes, what it selects, how it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmssl_cli.console.training import Reporter
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate, evaluate_ranking
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.training.loading import load_model
from mmssl_cli.training.loop import DivergedError, TrainingLoop
from mmssl_cli.training.trainer import RunResult, resume_run, train_run
from pipelines.errors import InputError, MmsslError, UsageError
from pipelines.prepared import read_prepared, write_prepared
from pipelines.prepared.dataset import PreparedDataset
from tests.helpers.model_cases import write_toy
from tests.helpers.training_cases import numbers, toy_settings

Train = Callable[..., RunResult]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "data")


@pytest.fixture
def train(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train on the toy data set; the curves, which take the longest, are left out."""
    monkeypatch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)

    def run(runs_dir: str = "runs", data: Path = data_dir, reporter: Reporter | None = None, **values: Any) -> Any:
        return train_run(toy_settings(**values), data, tmp_path / runs_dir, reporter=reporter or Reporter())

    return run


def test_a_run_leaves_every_file_of_a_run(tmp_path: Path, data_dir: Path) -> None:
    result = train_run(toy_settings("mmssl"), data_dir, tmp_path / "runs", reporter=Reporter())

    names = {path.name for path in result.folder.iterdir()}
    tables = {"metrics.parquet", "per_user.parquet"}
    assert names == tables | {"config.toml", "result.json", "model.safetensors", "state.pt", "log.jsonl"} | {
        "curves.png",
        "curves.svg",
        "lock",
    }
    assert json.loads((result.folder / "result.json").read_text()) == result.record
    run = RunFolder.open(result.folder)
    assert run.settings() == toy_settings("mmssl")
    metrics = run.read_metrics()
    assert metrics["epoch"].tolist() == [1, 2, 3]
    assert {"lr", "seconds", "loss/bpr", "loss/contrast", "loss/adversarial", "loss/total"} <= set(metrics)
    assert {f"validation/{name}@{k}" for name in ("recall", "precision", "ndcg") for k in (3, 5)} <= set(metrics)
    events = [json.loads(line)["event"] for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert events == ["start", "epoch", "epoch", "epoch", "finish"]
    assert not run.is_locked()


@pytest.mark.parametrize("model", ["mf", "lightgcn", "mmssl"])
def test_the_model_of_a_run_has_its_metrics(train: Train, data_dir: Path, model: str) -> None:
    result = train(model=model, epochs=4)
    loaded, data, settings = load_model(result.folder, data_dir)
    with torch.no_grad():
        users, items = loaded.represent()

    assert not loaded.training and settings.model == model
    for split in ("validation", "test"):
        means, per_user = evaluate(users, items, data.train, getattr(data, split), settings.all_ks)
        assert means == result.record[split]
    pd.testing.assert_frame_equal(RunFolder.open(result.folder).read_per_user(), per_user)


def test_the_selected_epoch_is_the_first_of_the_best_validation_score(train: Train) -> None:
    result = train(epochs=8, lr=0.2, select_on="ndcg@3")
    scores = RunFolder.open(result.folder).read_metrics()["validation/ndcg@3"].to_numpy()
    assert result.record["best_epoch"] == int(np.argmax(scores)) + 1 < 8
    assert result.record["validation"]["ndcg@3"] == scores.max()
    assert (result.record["status"], result.record["epochs"]) == ("finished", 8)


def _scores(monkeypatch: pytest.MonkeyPatch, scores: Iterable[float]) -> None:
    """Let the evaluations of a run find these metrics, one after another."""
    left = iter(scores)

    def told(*given: Any, **named: Any) -> tuple[dict[str, float], pd.DataFrame]:
        means, table = evaluate_ranking(*given, **named)
        return dict.fromkeys(means, next(left)), table

    monkeypatch.setattr("mmssl_cli.training.epochs.evaluate_ranking", told)


def test_of_equal_scores_the_first_is_selected_and_nothing_is_a_score_too(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    _scores(monkeypatch, [0.1, 0.3, 0.3, 0.2, 0.5])
    result = train(epochs=4)
    assert (result.record["best_epoch"], result.record["validation"]["recall@5"]) == (2, 0.3)
    assert result.record["test"]["recall@5"] == 0.5
    _scores(monkeypatch, [0.0] * 4)
    assert train(epochs=3).record["best_epoch"] == 1


@pytest.mark.parametrize(
    ("patience", "every", "epochs"),
    [(3, 1, 4), (1, 1, 2), (2, 3, 6), (4, 3, 9), (50, 1, 10)],
)
def test_training_stops_when_patience_ends(
    train: Train, monkeypatch: pytest.MonkeyPatch, patience: int, every: int, epochs: int
) -> None:
    _scores(monkeypatch, np.linspace(1, 0.1, 12))
    result = train(epochs=10, patience=patience, evaluate_every=every)
    assert result.record["epochs"] == epochs
    assert result.record["best_epoch"] == every
    assert result.record["status"] == ("finished" if epochs == 10 else "stopped")
    validated = RunFolder.open(result.folder).read_metrics()["validation/recall@5"].notna()
    assert validated.tolist() == [epoch % every == 0 or epoch == 10 for epoch in range(1, epochs + 1)]


def test_the_last_epoch_is_validated_whatever_the_interval(train: Train) -> None:
    assert train(epochs=2, evaluate_every=5).record["best_epoch"] == 2


@pytest.mark.parametrize("model", ["lightgcn", "mmssl"])
def test_held_out_pairs_on_disk_do_not_reach_training(train: Train, tmp_path: Path, model: str) -> None:
    other = write_toy(tmp_path / "other", held_out_seed=2)
    one, two = (read_prepared(folder / "toy") for folder in (tmp_path / "data", other))
    assert one.pairs("train").tolist() == two.pairs("train").tolist()
    assert one.pairs("validation").tolist() != two.pairs("validation").tolist()
    assert one.pairs("test").tolist() != two.pairs("test").tolist()

    runs = [RunFolder.open(train(model=model, data=folder).folder) for folder in (tmp_path / "data", other)]

    first, second = (run.read_metrics() for run in runs)
    losses = [name for name in first if name.startswith("loss/")]
    assert losses and first[losses].equals(second[losses])
    assert not first.filter(like="validation/").equals(second.filter(like="validation/"))
    states = [run.read_state()["model"] for run in runs]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_two_runs_of_one_seed_are_the_same_and_of_another_are_not(train: Train) -> None:
    tables = [
        numbers(RunFolder.open(train(model="mmssl", seed=seed, runs_dir=name).folder).read_metrics())
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_a_reporter_hears_of_every_epoch(train: Train) -> None:
    class Listener(Reporter):
        heard: list[tuple[str, Any]] = []  # noqa: RUF012

        def epoch(self, record: Any) -> None:
            self.heard.append((record["epoch"], record["best"]))

        def finish(self, result: Any) -> None:
            self.heard.append(("finish", result["best_epoch"]))

    listener = Listener()
    result = train(reporter=listener, epochs=3)
    best = result.record["best_epoch"]
    assert [epoch for epoch, _ in listener.heard] == [1, 2, 3, "finish"]
    assert max(epoch for epoch, was_best in listener.heard[:-1] if was_best) == best == listener.heard[-1][1]
    assert listener.info["epochs"] == 3 and listener.info["run"] == result.folder.name


def test_a_huge_learning_rate_ends_with_the_epoch_the_term_and_what_is_left(train: Train, tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        train(lr=1e30)
    sentence = str(caught.value)
    assert "loss term 'bpr' became nan in epoch 1" in sentence
    assert "there is no good checkpoint yet." in sentence
    [folder] = (tmp_path / "runs").iterdir()
    result = RunFolder.open(folder).read_result()
    assert (result["status"], result["epochs"], result["best_epoch"], result["test"]) == ("diverged", 0, None, {})


def test_divergence_later_on_names_the_last_good_checkpoint(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TrainingLoop._step

    def poisoned(loop: TrainingLoop, batch: Any) -> Any:
        terms = real(loop, batch)
        return terms | ({"contrast": terms["contrast"] + torch.inf} if loop.epoch == 3 else {})

    monkeypatch.setattr(TrainingLoop, "_step", poisoned)
    with pytest.raises(DivergedError) as caught:
        train(model="mmssl", epochs=5)
    [folder] = (tmp_path / "runs").iterdir()
    assert "loss term 'contrast' became inf in epoch 3" in str(caught.value)
    assert str(caught.value).endswith(f"the last good checkpoint is that of epoch 2, in {folder}.")
    run = RunFolder.open(folder)
    assert run.read_result()["status"] == "diverged" and run.read_state()["epoch"] == 2
    assert all(tensor.isfinite().all() for tensor in run.load_model().values())


_OVERFLOW = (
    r"^After epoch 1 the embeddings are so large \(a score may reach \S+\) that scores overflow; "
    r"a smaller --lr usually helps, and there is no good checkpoint yet\.$"
)


def test_scores_that_overflow_are_divergence_too(train: Train, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=_OVERFLOW):
        train(lr=1e20, batch_size=1000)
    [folder] = (tmp_path / "runs").iterdir()
    assert RunFolder.open(folder).read_result()["status"] == "diverged"


def test_a_data_set_or_setting_that_does_not_fit_leaves_nothing_behind(train: Train, tmp_path: Path) -> None:
    cases: list[tuple[type[MmsslError], str, dict[str, Any]]] = [
        (
            UsageError,
            "has only 25 items; choose a smaller K, such as --ks 5,10,20.",
            {"ks": (5, 26)},
        ),
        (UsageError, "choose a smaller K, such as --select-on recall@20.", {"select_on": "recall@30"}),
        (
            UsageError,
            "no modality 'visul' for --modalities: did you mean visual",
            {"model": "mmssl", "modalities": ("visul",)},
        ),
        (UsageError, "--precision tf32 needs a CUDA GPU", {"precision": "tf32"}),
        (InputError, "other", {"dataset": "other"}),
    ]
    for kind, sentence, values in cases:
        with pytest.raises(kind, match=sentence):
            train(**values)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_empty_split_is_refused_before_training(
    train: Train, tmp_path: Path, data_dir: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read_prepared(data_dir / "toy")
    kept = data.interactions[data.interactions["split"] != split].reset_index(drop=True)
    with pytest.raises(InputError, match=f"{split} split is empty"):
        write_prepared(PreparedDataset(**(vars(data) | {"interactions": kept})), data_dir / "toy")

    def without(*given: Any) -> InteractionData:
        whole = load_interactions(*given)
        return replace(whole, **{split: CSR.from_pairs([], whole.num_users)})

    monkeypatch.setattr("mmssl_cli.training.loading.load_interactions", without)
    with pytest.raises(InputError, match=f"The {split} split of data set 'toy' is empty"):
        train()
    assert not (tmp_path / "runs").exists()


def test_k_may_be_as_large_as_the_items(train: Train) -> None:
    result = train(ks=(25,), epochs=1)
    assert result.record["test"]["recall@25"] == 1.0


def test_a_place_for_runs_that_is_a_file_is_refused(train: Train, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("taken")
    with pytest.raises(InputError, match="runs"):
        train()
    assert (tmp_path / "runs").read_text() == "taken"


@pytest.mark.parametrize("kept", [0, 20, 300])
def test_truncated_weights_are_a_sentence(train: Train, data_dir: Path, kept: int) -> None:
    folder = train(epochs=1).folder
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"model\.safetensors is damaged or truncated"):
        load_model(folder, data_dir)


def test_weights_of_another_data_set_are_a_sentence(train: Train, data_dir: Path) -> None:
    folder = train(epochs=1).folder
    data = read_prepared(data_dir / "toy")
    more = pd.concat([data.users, pd.DataFrame({"user": np.array([30], np.int32), "id": ["u30"]})], ignore_index=True)
    write_prepared(PreparedDataset(**(vars(data) | {"users": more})), data_dir / "toy")
    with pytest.raises(InputError, match="trained on another preparation of data set 'toy'"):
        load_model(folder, data_dir)


def test_weights_that_do_not_fit_the_saved_settings_are_a_sentence(train: Train, data_dir: Path) -> None:
    folder = train(epochs=1).folder
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(re.sub(r"(?m)^embedding-dim = .*$", "embedding-dim = 12", config))
    with pytest.raises(InputError, match=r"model\.safetensors does not fit the settings"):
        load_model(folder, data_dir)


def test_a_resumed_run_cannot_have_fewer_epochs_than_it_trained(train: Train, data_dir: Path) -> None:
    folder = train(epochs=2).folder
    with pytest.raises(UsageError, match="has trained 2"):
        resume_run(folder, {"epochs": 1}, data_dir=data_dir, reporter=Reporter())
    assert "epochs = 2" in (folder / "config.toml").read_text()


def test_a_finished_run_that_goes_on_has_no_result_until_it_is_over(
    train: Train, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(epochs=1, patience=9).folder
    assert (folder / "result.json").exists()

    def interrupted(self: TrainingLoop) -> dict[str, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingLoop, "run_epoch", interrupted)
        resume_run(folder, {"epochs": 3}, data_dir=data_dir, reporter=Reporter())
    assert not (folder / "result.json").exists()
    assert resume_run(folder, {}, data_dir=data_dir, reporter=Reporter()).record["epochs"] == 3
