"""A model of one's own: from the template, written by a newcomer, and named by a foreign run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest

from mmssl_cli.config import own_models, own_names
from tests.conftest import ROOT, Answer
from tests.helpers.own_model import EMBEDDINGS

pytestmark = pytest.mark.usefixtures("forgotten_models")

Cli = Callable[..., Answer]

#: As someone would write it who has read one page: NumPy, no settings, no sparse matrices.
NEWCOMER = """
import numpy as np
import torch
from mmssl_cli.models.base import Recommender


class ItemKNN(Recommender):
    def fit(self, data):
        ratings = np.zeros((data.num_users, data.num_items), dtype=np.float32)
        ratings[data.train.row_of_each(), data.train.indices] = 1
        both = ratings.T @ ratings
        norms = np.sqrt(np.outer(both.diagonal(), both.diagonal())) + 1e-9
        similar = both / norms
        np.fill_diagonal(similar, 0)
        self.scores = torch.from_numpy(ratings @ similar)

    def score(self, users):
        return self.scores[users]
"""
TRAINED = """
import torch
from pydantic import Field
from torch import nn
from mmssl_cli.config import TrainSettings
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.losses import bpr_loss


class BiasSettings(TrainSettings):
    lr: float = 0.01
    scale: float = Field(1.0, ge=0, description="Factor on the biases.")


class Biased(Recommender):
    settings: BiasSettings

    def __init__(self, data, settings):
        super().__init__(data, settings)
        self.users = nn.Parameter(torch.randn(data.num_users, 8) / 10)
        self.items = nn.Parameter(torch.randn(data.num_items, 8) / 10)
        self.bias = nn.Parameter(torch.zeros(data.num_items))

    def score(self, users):
        return self.users[users] @ self.items.T + self.settings.scale * self.bias

    def training_step(self, batch):
        u, p, n = self.users[batch.users], batch.positives, batch.negatives
        gain = (u * (self.items[p] - self.items[n])).sum(1) + self.settings.scale * (self.bias[p] - self.bias[n])
        return {"bpr": -nn.functional.logsigmoid(gain).mean()}
"""


def _forget(module: str) -> None:
    """Be another process, in which nobody has named the model."""
    os.environ[own_names.VARIABLE] = ""
    del sys.modules[module]


@pytest.mark.usefixtures("inline_runs")
def test_the_template_trains_evaluates_recommends_and_stands_in_a_comparison(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    assert cli("models", "--template", "my_first.py").code == 0
    assert cli("models", "--template", "my_first.py").code == 2  # it exists

    trained = cli("train", "--model", "my_first:MyModel", "--shrinkage", "3", *place, "--json")
    assert trained.code == 0, trained.err
    [run] = json.loads(trained.out)["runs"]
    assert run["test"]["recall@20"] > 0.05
    [config] = Path("runs").glob("*/config.toml")
    assert "shrinkage = 3.0" in config.read_text()

    _forget("my_first")
    refused = cli("evaluate", "latest", *place)
    assert refused.code != 0
    assert "is code outside of mmssl" in refused.words and "--import my_first:MyModel" in refused.words
    assert "my_first" not in sys.modules
    found = cli("--import", "my_first:MyModel", "evaluate", "latest", *place, "--json")
    assert json.loads(found.out)["metrics"]["recall@20"] == pytest.approx(run["test"]["recall@20"])

    answer = cli("--import", "my_first:MyModel", "recommend", "latest", "--all", "--out", "all.csv", *place)
    assert answer.code == 0, answer.err
    assert len(pd.read_csv("all.csv")) == 600 * 20
    new = cli("--import", "my_first:MyModel", "recommend", "latest", "--like", "item-0003", *place, "--json")
    assert len(json.loads(new.out)[0]["items"]) == 20
    compared = cli("compare", "--models", "my_first:MyModel,pop", "--shrinkage", "3", *place)
    assert compared.code == 0, compared.err
    assert "my_first:MyModel" in compared.out
    listed = cli("models", "my_first:MyModel", "--json")
    assert "shrinkage" in {row["setting"] for row in json.loads(listed.out)}


def test_a_model_as_a_newcomer_writes_it_and_one_that_is_trained(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_knn.py").write_text(NEWCOMER)
    Path("my_bias.py").write_text(TRAINED)
    assert cli("train", "--model", "my_knn:ItemKNN", *place).code == 0
    assert cli("--import", "my_knn:ItemKNN", "recommend", "latest", "--user", "user-0007", *place).code == 0
    names = "my_knn:ItemKNN,my_bias:Biased"
    compared = cli("compare", "--models", names, "--epochs", "2", "--scale", "0.5", *place)
    assert compared.code == 0, compared.err
    assert "my_bias:Biased" in compared.out and "my_knn:ItemKNN" in compared.out
    for name in ("my_bias", "my_knn"):
        _forget(name)
    listed = cli("runs")
    assert listed.code == 0
    assert "my_bias:Biased" in listed.words


def test_an_import_that_is_no_model_is_refused(cli: Cli) -> None:
    for name, wrong in (("my_model",) * 2, ("my-model:M",) * 2, ("a:A,b", "b"), (":M",) * 2):
        answer = cli("--import", name, "runs")
        assert answer.code == 2 and f"--import cannot be {wrong!r}: expected MODULE:CLASS" in answer.words


def test_runs_of_code_that_has_changed_do_not_count(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    name, compare = "my_knn:ItemKNN", ("compare", "--models", "my_knn:ItemKNN", "--dataset", "demo", "--dry-run")
    Path("my_knn.py").write_text(NEWCOMER)
    assert cli("train", "--model", name, *place).code == 0
    assert "1 finished before" in cli(*compare, *place).words
    Path("my_knn.py").write_text(NEWCOMER.replace("+ 1e-9", "+ 1e-3"))
    assert "1 finished before" in cli(*compare, *place).words  # what this process has imported is the code of the run
    _forget("my_knn")
    changed = cli(*compare, *place)
    assert "1 to train" in changed.words and "The code of my_knn:ItemKNN has changed since run" in changed.words
    evaluated = cli("evaluate", "latest", *place)
    assert evaluated.code == 0 and "Its weights are used with the code as it is now." in evaluated.words
    assert cli("train", "--resume", "latest", *place).code == 0  # nothing is trained, so it stays a run of the old code
    assert "1 to train" in cli(*compare, *place).words


def test_the_code_is_that_of_the_file_that_defines_the_class_and_its_bases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(own_names.VARIABLE, name := "my_package:ItemKNN")
    Path("my_package").mkdir()
    Path("my_package/__init__.py").write_text("from my_package.model import ItemKNN\n")
    Path("my_package/base.py").write_text(
        "from mmssl_cli.models.base import Recommender\nclass Base(Recommender): ...\n"
    )
    model = NEWCOMER.replace("mmssl_cli.models.base import Recommender", "my_package.base import Base")
    Path("my_package/model.py").write_text(model.replace("(Recommender)", "(Base)"))

    def digest() -> str | None:
        for module in [each for each in sys.modules if each.startswith("my_package")]:
            del sys.modules[module]
        return own_models.code_digest(name)

    seen = {digest()}
    for file in ("my_package/model.py", "my_package/base.py"):
        Path(file).write_text(Path(file).read_text() + "# another code\n")
        seen.add(digest())
    assert len(seen - {None}) == 3
    assert digest() in seen


def test_a_class_of_the_running_script_is_a_model(demo: Path, tmp_path: Path) -> None:
    script = NEWCOMER + (
        f"import mmssl_cli\nrun = mmssl_cli.train('__main__:ItemKNN', {str(demo)!r}, runs_dir='runs')\n"
        "print(run.test['recall@20'])"
    )
    (tmp_path / "script.py").write_text(script)
    for words in (["script.py"], ["-c", script]):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0.05


def test_a_run_of_two_codes_is_of_neither_and_a_search_is_of_one(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_bias.py").write_text(TRAINED)
    Path("ranges.toml").write_text("lr = [0.01, 0.02]\n")
    name, more = "my_bias:Biased", ("--dataset", "demo", "--epochs", 2, *place)
    tune = ("tune", name, "--ranges", "ranges.toml", "--trials", 1, "--seeds", 1, *more)
    assert cli("train", "--model", name, "--dataset", "demo", "--epochs", 1, *place).code == 0
    assert cli(*tune).code == 0
    Path("my_bias.py").write_text(TRAINED + "\n# other code\n")
    _forget("my_bias")
    assert cli("--import", name, "train", "--resume", "latest", "--epochs", 2, *place).code == 0
    assert "1 to train" in cli("compare", "--models", name, "--dry-run", *more).words
    again = cli(*tune)
    assert again.code == 1 and "code of the model" in again.words


def test_settings_found_for_a_model_of_ones_own_train_it(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_bias.py").write_text(TRAINED)
    Path("ranges.toml").write_text("lr = [0.01, 0.02]\n")
    name, small = "my_bias:Biased", ("--trials", 2, "--finalists", 1, "--seeds", 1, "--epochs", 1)
    found = cli("tune", name, "--dataset", "demo", "--ranges", "ranges.toml", *small, *place)
    assert found.code == 0, found.err
    assert Path("tuning/my_bias-Biased-demo.toml").is_file()
    [line] = [line for line in (found.out + found.err).splitlines() if "train with it: mmssl " in line]
    words = line.partition("train with it: mmssl ")[2].split()
    assert words[:2] == ["--import", name]
    _forget("my_bias")
    assert cli(*words, *place).code == 0
    _forget("my_bias")
    assert cli("compare", "--models", name, "--dataset", "demo", "--config", "tuning", *place).code == 0


def test_a_closed_pipe_does_not_blame_the_model(cli: Cli, demo: Path) -> None:
    Path("my_knn.py").write_text(NEWCOMER)
    assert cli("train", "--model", "my_knn:ItemKNN", "--data-dir", demo.parent).code == 0
    reader, writer = os.pipe()
    os.close(reader)
    command = ["--import", "my_knn:ItemKNN", "evaluate", "latest", "--data-dir", str(demo.parent)]
    done = subprocess.run(
        [sys.executable, "-m", "mmssl_cli", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert "Error" not in done.stderr and "sys.exit" not in done.stderr


def test_the_command_that_resumes_names_the_model_for_import(cli: Cli, demo: Path) -> None:
    Path("my_model.py").write_text(
        EMBEDDINGS + "    def begin_epoch(self, epoch):\n        if epoch == 2:\n            raise KeyboardInterrupt\n"
    )
    stopped = cli("train", "--model", "my_model:M", "--epochs", 3, "--data-dir", demo.parent)
    assert stopped.code == 130
    [words] = [
        line.partition("Resume with: mmssl ")[2].split() for line in stopped.err.splitlines() if "Resume" in line
    ]
    assert words[:3] == ["--import", "my_model:M", "train"]
    Path("my_model.py").write_text(EMBEDDINGS + "    pass\n")
    _forget("my_model")
    assert cli(*words).code == 0


def test_a_run_does_not_import_what_its_config_names(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    assert cli("train", "--model", "pop", *place).code == 0
    [config] = Path("runs").glob("*/config.toml")
    Path("my_evil.py").write_text("open('owned', 'w').close()")
    config.write_text(config.read_text().replace('model = "pop"', 'model = "my_evil:Pop"'))
    for command in (("evaluate", "latest"), ("recommend", "latest", "--user", "user-0007"), ("runs",), ("report",)):
        answer = cli(*command, *(place if command[0] != "runs" else ()))
        assert not Path("owned").exists()
        assert "bug in mmssl" not in answer.words


def test_a_run_of_a_model_that_is_gone_names_its_module(cli: Cli, demo: Path) -> None:
    place = ("--data-dir", demo.parent)
    Path("my_gone.py").write_text(NEWCOMER)
    assert cli("train", "--model", "my_gone:ItemKNN", *place).code == 0
    _forget("my_gone")
    Path("my_gone.py").unlink()
    answer = cli("--import", "my_gone:ItemKNN", "evaluate", "latest", *place)
    assert answer.code == 1
    assert "cannot be read without its model. Model 'my_gone:ItemKNN' cannot be imported" in answer.words
    assert "there is no module 'my_gone' in" in answer.words


def test_a_fitted_model_may_have_a_setting_that_training_in_steps_has(cli: Cli, demo: Path) -> None:
    head = "from mmssl_cli.config import FittedSettings\nclass S(FittedSettings):\n    embedding_dim: int = 8\n"
    quiet = subprocess.run([sys.executable, "-W", "error", "-c", head], cwd=ROOT, capture_output=True, text=True)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    Path("my_dim.py").write_text(head + NEWCOMER.replace("    def fit", "    settings: S\n\n    def fit"))
    answer = cli("train", "--model", "my_dim:ItemKNN", "--embedding-dim", "9", "--data-dir", demo.parent)
    assert answer.code == 0, answer.err
    [config] = Path("runs").glob("*/config.toml")
    assert "embedding-dim = 9" in config.read_text()


def test_an_installed_model_that_cannot_be_imported_is_left_out(
    cli: Cli, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint("broken", "my_broken:Model", own_names.GROUP)]
    monkeypatch.setattr(own_names, "entry_points", lambda group: points)
    Path("my_broken.py").write_text("import nothing_of_this_name")
    for cached in (own_names.installed, own_models.importable):
        cached.cache_clear()
    try:
        listed = cli("models", "--json")
        assert listed.code == 0
        assert "broken" not in {row["model"] for row in json.loads(listed.out)}
        assert listed.err.count("Model 'broken' cannot be imported: ModuleNotFoundError") == 1
        assert cli("train", "--model", "pop", "--data-dir", demo.parent).code == 0
        refused = cli("train", "--model", "broken", "--data-dir", demo.parent)
        assert refused.code == 2 and "cannot be imported" in refused.words
    finally:
        for cached in (own_names.installed, own_models.importable):
            cached.cache_clear()


def test_an_installed_model_is_known_by_its_name(cli: Cli, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop_models.py").write_text(NEWCOMER)
    points = [EntryPoint("shop-knn", "shop_models:ItemKNN", own_names.GROUP)]
    monkeypatch.setattr(own_names, "entry_points", lambda group: points)
    own_names.installed.cache_clear()
    try:
        place = ("--data-dir", demo.parent)
        assert "shop-knn" in {row["model"] for row in json.loads(cli("models", "--json").out)}
        assert cli("train", "--model", "shop-knn", *place).code == 0
        assert cli("evaluate", "latest", *place).code == 0
    finally:
        own_names.installed.cache_clear()
